// vec.h   the machine's vector of floats as a value: arithmetic by operators, any address, one source for three ISAs.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace rt {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

using vec [[gnu::vector_size(LANES * 4)]] = float;
using ivec [[gnu::vector_size(LANES * 4)]] = std::int32_t;
using uvec [[gnu::vector_size(LANES * 4)]] = std::uint32_t;
using vec_unaligned [[gnu::vector_size(LANES * 4), gnu::aligned(4), gnu::may_alias]] = float;

inline vec load_vec(const float* p) { return *reinterpret_cast<const vec_unaligned*>(p); }

inline void store_vec(float* p, vec v) { *reinterpret_cast<vec_unaligned*>(p) = v; }

// Past the caches, which need not read a line first to write it; p is a multiple of a vector. A fence has to follow before
// another thread reads.
inline void stream_vec(float* p, vec v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, v);
#elif defined(__AVX__)
  _mm256_stream_ps(p, v);
#else
  _mm_stream_ps(p, v);
#endif
}

inline vec broadcast(float value) { return vec{} + value; }

// The larger lane by lane; b where either is NaN.
inline vec larger(vec a, vec b) { return a > b ? a : b; }

// 2^x for x < 127 with relative error below 1.2e-7; below -126 the result is 2^-126, a NaN stays one.
//
// x = n + f with n whole: adding 1.5 * 2^23 rounds to n and leaves n in the low bits, to be moved to the exponent.
// Always inlined: a call would save every register around it, and GCC makes one in large kernels.
[[gnu::always_inline]] inline vec exp2_vec(vec x) {
  x = larger(broadcast(-126.0f), x);
  const vec shifted = x + 12582912.0f;
  const vec f = x - (shifted - 12582912.0f);
  // Minimax on [-1/2, 1/2].
  vec p = broadcast(1.535336188319500e-4f);
  p = p * f + 1.339887440266574e-3f;
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  p = p * f + 1.0f;
  return reinterpret_cast<vec>(reinterpret_cast<ivec>(p) + (reinterpret_cast<ivec>(shifted) << 23));
}

// 1 / (1 + e^-x), relative error below 4e-7 where it is above 2e-38.
inline vec sigmoid_vec(vec x) {
  x = x < -87.0f ? broadcast(-87.0f) : x;
  const vec t = x * -1.44269502f;
#if defined(__AVX512DQ__)
  constexpr __mmask16 kAll = 0xffff;  // GCC 12 takes the unmasked forms for reads of uninitialised registers
  const vec n = _mm512_maskz_roundscale_ps(kAll, t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const vec f = (x * -1.44269502f - n) + x * -1.92596303e-8f;  // one rounding each, by fused products
  // Least relative error of degree 5 on [-1/2, 1/2] that is exact at 0: 9.1e-8.
  vec p = broadcast(1.32647269e-3f);
  p = p * f + 9.67151266e-3f;
  p = p * f + 5.55073374e-2f;
  p = p * f + 2.40222421e-1f;
  p = p * f + 6.93146978e-1f;
  p = p * f + 1.0f;
  const vec d = 1.0f + vec(_mm512_maskz_scalef_ps(kAll, p, n));
  const vec y = _mm512_maskz_rcp14_ps(kAll, d);
  return y + y * (1.0f - d * y);
#else
  return 1.0f / (1.0f + exp2_vec(t));
#endif
}

}  // namespace rt
