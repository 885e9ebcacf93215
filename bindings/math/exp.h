// exp.h   e^x, the logistic function and SiLU in float32, without branches so that a loop over them vectorises
// formula   e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln(2) / 2; e^r = 1 + r + r^2 P(r), P of degree 5
// numerics  at most 1 ulp, with and without fused multiply-add; overflow is inf, below 2^-125.5 is 0, NaN stays NaN
// source    Cephes expf (Moshier 1992) for P and the split of ln 2
#pragma once

#include "math/hd.h"

RT_HD float rt_exp(float x) {
  // Clamps to [-87.5, 88.73] by integer minima on the bits (negative floats are the large unsigned numbers): outside, the
  // result is 0 or inf anyway. A float comparison here would make GCC carry both outcomes through the whole formula.
  const std::int32_t high = static_cast<std::int32_t>(rt_bits(x));
  const std::uint32_t below = static_cast<std::uint32_t>(high < 0x42b175c3 ? high : 0x42b175c3);
  const float c = rt_float(below < 0xc2af0000u ? below : 0xc2af0000u);
  // Adding 1.5 * 2^23 rounds to an integer, which then sits in the low mantissa bits.
  const float shifted = c * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float r = (c - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // 2 e^r 2^(n-1): n = 128 stays representable and n = -126 becomes zero instead of a wrapped exponent.
  const float y = (p + p) * rt_float((rt_bits(shifted) << 23) + 0x3f000000u);
  return x == x ? y : x;
}

RT_HD float rt_sigmoid(float x) { return 1.0f / (1.0f + rt_exp(-x)); }

// x sigmoid(x)
RT_HD float rt_silu(float x) { return x / (1.0f + rt_exp(-x)); }

// d/dx silu(x) = s (1 + x (1 - s)), s = sigmoid(x)
RT_HD float rt_silu_gradient(float x) {
  const float s = rt_sigmoid(x);
  return s * (1.0f + x * (1.0f - s));
}
