// log.h   ln x in float32, without branches so that a loop over it vectorises
// formula   x = 2^e m, m in [sqrt(1/2), sqrt(2)): ln x = e ln 2 + ln(1 + f), f = m - 1; ln(1 + f) = f - f^2/2 + f^3 P(f)
// numerics  within 2 ulp; 0 is -inf, negative is NaN, inf and NaN stay; subnormal arguments count as the value they have
// source    Cephes logf (Moshier 1992) for P and the split of ln 2
#pragma once

#include "math/hd.h"

// For normal positive x only.
RT_HD float rt_log_normal(float x) {
  // Exponent counted from sqrt(1/2), so that m lies around 1 and f is small.
  const std::uint32_t offset = rt_bits(x) - 0x3f3504f3u;
  const float e = static_cast<float>(static_cast<std::int32_t>(offset) >> 23);
  const float f = rt_float((offset & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  const float z = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  return f + (p * f * z + e * -2.12194440e-4f - 0.5f * z) + e * 0.693359375f;
}

RT_HD float rt_log(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float finite = rt_log_normal(tiny ? x * 8388608.0f : x) - (tiny ? 15.9423851f : 0.0f);
  const float infinite = x == 0.0f ? -rt_float(0x7f800000u) : x;
  const float ordinary = x > 0.0f && x < rt_float(0x7f800000u) ? finite : infinite;
  return x < 0.0f ? rt_float(0x7fc00000u) : ordinary;
}

// ln(1 + x) for x in [0, 1]: the rounding of 1 + x is put back to first order.
RT_HD float rt_log1p(float x) {
  const float u = 1.0f + x;
  return rt_log_normal(u) + (x - (u - 1.0f)) / u;
}
