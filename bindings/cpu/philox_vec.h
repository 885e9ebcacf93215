// philox_vec.h   a Philox stream in vectors of blocks, bit for bit the words and numbers of math/philox.h
// how       a block is a 64-bit lane. Its product with a round's constant holds both halves a round wants, so a round is two
//           products, two shifts and two sums modulo 2: what a shift leaves in upper halves no product reads. Words 0 and 2
//           of a block become one vector and words 1 and 3 another, which is what Box-Muller pairs, and putting the four
//           numbers of a block side by side again is one shuffle a vector
// traffic   vector operations for 2 LANES words: 60 of rounds, 10 of packing; Box-Muller about 50 more: compute-bound
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/vec.h"
#include "math/philox.h"

namespace rt {

using lvec [[gnu::vector_size(LANES * 4)]] = std::uint64_t;

constexpr int PHILOX_RUN = 256;  // numbers that one call of [normals] or [uniforms] makes: several vectors of blocks

constexpr std::int64_t PHILOX_ELEMENTS = std::int64_t{1} << 34;   // of a stream
constexpr std::int64_t PHILOX_PARALLEL = RT_PARALLEL_MIN / 2;    // numbers from which waking other threads pays

// 64-bit products of the lower halves.
inline lvec multiply_low(lvec a, lvec b) {
#if defined(__AVX512F__)
  return reinterpret_cast<lvec>(_mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<lvec>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return reinterpret_cast<lvec>(_mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#endif
}

// Of the 2 LANES words of LANES / 2 blocks: 0 and 2 of each, and 1 and 3.
struct WordPairs {
  uvec first, second;
};

// Lane pairs (2j, 2j + 1) hold blocks j and j + LANES / 4: the order [in_order] undoes.
inline lvec block_lanes() {
  lvec lanes;
  for (int j = 0; j < LANES / 2; ++j) {
    lanes[j] = static_cast<std::uint64_t>(j / 2 + j % 2 * (LANES / 4));
  }
  return lanes;
}

inline WordPairs philox_words(rt_philox_key key, lvec block) {
  const lvec m0 = lvec{} + 0xD2511F53u;
  const lvec m1 = lvec{} + 0xCD9E8D57u;
  lvec c0 = block;
  lvec c1 = lvec{} + key.tag;
  lvec c2 = lvec{} + key.step_low;
  lvec c3 = lvec{} + key.step_high;
  std::uint32_t k0 = key.seed_low;
  std::uint32_t k1 = key.seed_high;
#pragma GCC unroll 9
  for (int round = 0; round < 9; round++) {
    const lvec p0 = multiply_low(m0, c0);
    const lvec p1 = multiply_low(m1, c2);
    c0 = (p1 >> 32) ^ c1 ^ (lvec{} + k0);
    c1 = p1;
    c2 = (p0 >> 32) ^ c3 ^ (lvec{} + k1);
    c3 = p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const lvec p0 = multiply_low(m0, c0);
  const lvec p1 = multiply_low(m1, c2);
  const lvec low = lvec{} + 0xffffffffu;
  const lvec w0 = (p1 >> 32) ^ ((c1 ^ (lvec{} + k0)) & low);
  const lvec w2 = (p0 & ~low) ^ ((c3 ^ (lvec{} + k1)) << 32);
  return {reinterpret_cast<uvec>(w0 | w2), reinterpret_cast<uvec>((p1 & low) | (p0 << 32))};
}

// Two vectors of numbers, split as in [WordPairs], in the order of the stream.
inline void in_order(vec first, vec second, vec* low, vec* high) {
#if defined(__AVX512F__)
  const auto one = reinterpret_cast<__m512>(first);
  const auto two = reinterpret_cast<__m512>(second);
  *low = reinterpret_cast<vec>(_mm512_maskz_unpacklo_ps(0xffff, one, two));
  *high = reinterpret_cast<vec>(_mm512_maskz_unpackhi_ps(0xffff, one, two));
#elif defined(__AVX2__)
  const auto one = reinterpret_cast<__m256>(first);
  const auto two = reinterpret_cast<__m256>(second);
  *low = reinterpret_cast<vec>(_mm256_unpacklo_ps(one, two));
  *high = reinterpret_cast<vec>(_mm256_unpackhi_ps(one, two));
#else
  const auto one = reinterpret_cast<__m128>(first);
  const auto two = reinterpret_cast<__m128>(second);
  *low = reinterpret_cast<vec>(_mm_unpacklo_ps(one, two));
  *high = reinterpret_cast<vec>(_mm_unpackhi_ps(one, two));
#endif
}

// PHILOX_RUN numbers of the stream from block `block` on; `make` turns two words into two numbers.
template <class Make>
inline void philox_run(rt_philox_key key, std::uint32_t block, float* numbers, const Make& make) {
  constexpr int HALF = PHILOX_RUN / 2;
  alignas(64) std::uint32_t first[HALF];
  alignas(64) std::uint32_t second[HALF];
  alignas(64) float one[HALF];
  alignas(64) float two[HALF];
  const lvec lanes = block_lanes() + block;
  for (int i = 0; i < HALF; i += LANES) {
    const WordPairs words = philox_words(key, lanes + static_cast<std::uint64_t>(i / 2));
    std::memcpy(first + i, &words.first, sizeof words.first);
    std::memcpy(second + i, &words.second, sizeof words.second);
  }
#pragma omp simd
  for (int i = 0; i < HALF; i++) {
    const rt_pair pair = make(first[i], second[i]);
    one[i] = pair.first;
    two[i] = pair.second;
  }
  for (int i = 0; i < HALF; i += LANES) {
    vec low;
    vec high;
    in_order(load_vec(one + i), load_vec(two + i), &low, &high);
    store_vec(numbers + 2 * i, low);
    store_vec(numbers + 2 * i + LANES, high);
  }
}

// PHILOX_RUN standard normals from block `block` on.
inline void normals(rt_philox_key key, std::uint32_t block, float* numbers) {
  philox_run(key, block, numbers, [](std::uint32_t a, std::uint32_t b) { return rt_normal_pair(a, b); });
}

// PHILOX_RUN uniforms in [0, 1) from block `block` on.
inline void uniforms(rt_philox_key key, std::uint32_t block, float* numbers) {
  philox_run(key, block, numbers, [](std::uint32_t a, std::uint32_t b) { return rt_pair{rt_uniform(a), rt_uniform(b)}; });
}

// Calls use(numbers, i, count) for runs of the stream that cover its elements first + [0, n) once each; `fill` is
// [normals] or [uniforms].
template <class Fill, class Use>
void for_stream(rt_philox_key key, std::int64_t first, std::int64_t n, const Fill& fill, const Use& use) {
  if (first < 0 || n > PHILOX_ELEMENTS - first) {
    fail("random: elements must lie in [0, 2^34), got first %ld and count %ld", first, n);
  }
  const std::int64_t skipped = first % 4;
  const std::int64_t runs = (skipped + n + PHILOX_RUN - 1) / PHILOX_RUN;
#pragma omp parallel for schedule(static) if (n > PHILOX_PARALLEL)
  for (std::int64_t r = 0; r < runs; r++) {
    alignas(64) float numbers[PHILOX_RUN];
    fill(key, static_cast<std::uint32_t>(first / 4 + r * (PHILOX_RUN / 4)), numbers);
    const std::int64_t begin = std::max<std::int64_t>(0, r * PHILOX_RUN - skipped);
    const std::int64_t end = std::min(n, (r + 1) * PHILOX_RUN - skipped);
    use(numbers + (begin + skipped - r * PHILOX_RUN), begin, end - begin);
  }
}

inline rt_philox_key philox_key(std::int64_t seed, std::int32_t tag, std::int64_t step) {
  const auto s = static_cast<std::uint64_t>(seed);
  const auto t = static_cast<std::uint64_t>(step);
  return {static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(s >> 32), static_cast<std::uint32_t>(tag),
          static_cast<std::uint32_t>(t), static_cast<std::uint32_t>(t >> 32)};
}

}  // namespace rt
