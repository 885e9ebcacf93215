// vec_bf16.h   bfloat16 in memory as vectors of floats, and a sigmoid fit for bfloat16
//
// A pair holds, of 2 LANES neighbours, the numbers at even places in one vector and those at odd places in the other: taking a word apart and
// putting it together are shifts and masks then, where keeping the order would cost a shuffle each way. What meets a pair
// (numbers of a channel, say) is split the same way once, outside the loop.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "cpu/dtype.h"
#include "cpu/vec.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace rt {

constexpr int PAIR = 2 * LANES;

struct Pair {
  vec even;
  vec odd;
};

inline Pair load_pair(const bf16* p) {
  uvec words;
  std::memcpy(&words, p, sizeof words);
  return {reinterpret_cast<vec>(words << 16), reinterpret_cast<vec>(words & 0xffff0000u)};
}

// As rt::store does, lane by lane, in the upper half of each.
inline uvec rounded_upper(vec v) {
  const uvec bits = reinterpret_cast<uvec>(v);
  const uvec rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return v != v ? bits | 0x400000u : rounded;
}

inline uvec pair_words(Pair value) {
  return (rounded_upper(value.even) >> 16) | (rounded_upper(value.odd) & 0xffff0000u);
}

inline void store_pair(bf16* p, Pair value) {
  const uvec words = pair_words(value);
  std::memcpy(p, &words, sizeof words);
}

// LANES neighbours in their order. GCC 12 widens and narrows in halves where it has to find the instruction itself.
inline vec load_vec(const bf16* p) {
#if defined(__AVX512F__)
  const __m512i words = _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return reinterpret_cast<vec>(reinterpret_cast<uvec>(words) << 16);
#else
  using halves [[gnu::vector_size(LANES * 2)]] = std::uint16_t;
  halves bits;
  std::memcpy(&bits, p, sizeof bits);
  return reinterpret_cast<vec>(__builtin_convertvector(bits, uvec) << 16);
#endif
}

inline void store_vec(bf16* p, vec v) {
  const uvec words = rounded_upper(v) >> 16;
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_maskz_cvtepi32_epi16(0xffff, reinterpret_cast<__m512i>(words)));
#else
  using halves [[gnu::vector_size(LANES * 2)]] = std::uint16_t;
  const halves narrow = __builtin_convertvector(words, halves);
  std::memcpy(p, &narrow, sizeof narrow);
#endif
}

// Lanes first, first + 2, ... of two vectors behind each other; or, joining, lanes of their halves in turn.
template <int first, bool joining>
consteval std::array<std::int32_t, LANES> pair_lanes() {
  std::array<std::int32_t, LANES> lanes{};
  for (int lane = 0; lane < LANES; ++lane) {
    lanes[lane] = joining ? first + lane / 2 + lane % 2 * LANES : first + 2 * lane;
  }
  return lanes;
}

template <int first, bool joining>
inline vec shuffled(vec a, vec b) {
  static constexpr auto lanes = pair_lanes<first, joining>();
  ivec chosen;
  std::memcpy(&chosen, lanes.data(), sizeof chosen);
  return __builtin_shuffle(a, b, chosen);
}

// The same split of PAIR floats.
inline Pair load_pair(const float* p) {
  const vec a = load_vec(p);
  const vec b = load_vec(p + LANES);
  return {shuffled<0, false>(a, b), shuffled<1, false>(a, b)};
}

inline void store_pair(float* p, Pair value) {
  store_vec(p, shuffled<0, true>(value.even, value.odd));
  store_vec(p + LANES, shuffled<LANES / 2, true>(value.even, value.odd));
}

// 1 / (1 + e^-x), relative error below 2e-4 where it is above 1e-37: rounding to bfloat16 errs by up to 4e-3.
//
// 2^t = 2^floor(t) 2^f, f in [0, 1).
inline vec coarse_sigmoid(vec x) {
  const vec t = x * -1.44269504f;
#if defined(__AVX512DQ__)
  constexpr __mmask16 kAll = 0xffff;  // GCC 12 takes the unmasked forms for reads of uninitialised registers
  const vec f = _mm512_maskz_reduce_ps(kAll, t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  // Least relative error of degree 3 that is exact at both ends: 1.0e-04.
  vec p = broadcast(7.82679701e-02f);
  p = p * f + 2.26307682e-01f;
  p = p * f + 6.95424348e-01f;
  p = p * f + 1.0f;
  return _mm512_maskz_rcp14_ps(kAll, 1.0f + vec(_mm512_maskz_scalef_ps(kAll, p, t)));
#else
  return 1.0f / (1.0f + exp2_vec(t > 126.0f ? broadcast(126.0f) : t));
#endif
}

}  // namespace rt
