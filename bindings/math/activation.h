// activation.h   pointwise nonlinearities and their derivatives, one functor each
//
// A functor has value(x) and slope(x) = d value / dx. At a kink the derivative is the one from the left (relu'(0) = 0).
// numerics  float32; value within a few ulp of its largest term; slopes are computed from x, never from the output
// source    GELU: Hendrycks & Gimpel 2016, exact and tanh form; SiLU: Elfwing et al. 2017; erf: njuffa's two-range minimax
#pragma once

#include "math/exp.h"
#include "math/log.h"

RT_HD float rt_abs(float x) { return rt_float(rt_bits(x) & 0x7fffffffu); }

// The magnitude of `x` with the sign of `sign`.
RT_HD float rt_copysign(float x, float sign) {
  return rt_float((rt_bits(x) & 0x7fffffffu) | (rt_bits(sign) & 0x80000000u));
}

// Below 5/8 the odd polynomial of Cephes tanhf, above 1 - 2 / (e^2|x| + 1).
RT_HD float rt_tanh(float x) {
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const float near = p * z * x + x;
  const float far = rt_copysign(1.0f - 2.0f / (rt_exp(2.0f * rt_abs(x)) + 1.0f), x);
  return rt_abs(x) < 0.625f ? near : far;
}

// Below 475/512 an odd polynomial, above 1 - e^-P(|x|).
RT_HD float rt_erf(float x) {
  const float t = rt_abs(x) < 10.0f ? rt_abs(x) : 10.0f;
  const float s = t * t;
  const float high = -1.72853470e-5f * t + 3.83197126e-4f;
  const float low = -3.88396438e-3f * t + 2.42546219e-2f;
  float q = high * s + low;
  q = q * t - 1.06777847e-1f;
  q = q * t - 6.34846687e-1f;
  q = q * t - 1.28717512e-1f;
  q = q * t - t;
  const float far = rt_copysign(1.0f - rt_exp(q), x);
  float p = -5.96761703e-4f;
  p = p * s + 4.99119423e-3f;
  p = p * s - 2.67681349e-2f;
  p = p * s + 1.12819925e-1f;
  p = p * s - 3.76125336e-1f;
  p = p * s + 1.28379166e-1f;
  const float near = p * x + x;
  return x != x ? x : (rt_abs(x) > 0.927734375f ? far : near);
}

struct rt_relu_f {
  RT_HD float value(float x) const { return x > 0.0f ? x : 0.0f; }
  RT_HD float slope(float x) const { return x > 0.0f ? 1.0f : 0.0f; }
};

struct rt_leaky_relu_f {
  float negative;
  RT_HD float value(float x) const { return (x > 0.0f ? x : 0.0f) + negative * (x > 0.0f ? 0.0f : x); }
  RT_HD float slope(float x) const { return x > 0.0f ? 1.0f : negative; }
};

struct rt_silu_f {
  RT_HD float value(float x) const { return rt_silu(x); }
  RT_HD float slope(float x) const { return rt_silu_gradient(x); }
};

// x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3)
struct rt_gelu_tanh_f {
  RT_HD float inner(float x) const { return 0.797884561f * x * (1.0f + 0.044715f * x * x); }
  RT_HD float value(float x) const { return 0.5f * x * (1.0f + rt_tanh(inner(x))); }
  RT_HD float slope(float x) const {
    const float t = rt_tanh(inner(x));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.797884561f * (1.0f + 0.134145f * x * x);
  }
};

// x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2; slope Phi(x) + x phi(x)
struct rt_gelu_f {
  RT_HD float cumulative(float x) const { return 0.5f * (1.0f + rt_erf(0.707106781f * x)); }
  RT_HD float value(float x) const { return x * cumulative(x); }
  RT_HD float slope(float x) const { return cumulative(x) + x * 0.398942280f * rt_exp(-0.5f * x * x); }
};

struct rt_sigmoid_f {
  RT_HD float value(float x) const { return rt_sigmoid(x); }
  RT_HD float slope(float x) const {
    const float s = rt_sigmoid(x);
    return s * (1.0f - s);
  }
};

struct rt_tanh_f {
  RT_HD float value(float x) const { return rt_tanh(x); }
  RT_HD float slope(float x) const {
    const float t = rt_tanh(x);
    return 1.0f - t * t;
  }
};

// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)
struct rt_softplus_f {
  RT_HD float value(float x) const { return (x > 0.0f ? x : 0.0f) + rt_log1p(rt_exp(-rt_abs(x))); }
  RT_HD float slope(float x) const { return rt_sigmoid(x); }
};

struct rt_exp_f {
  RT_HD float value(float x) const { return rt_exp(x); }
  RT_HD float slope(float x) const { return rt_exp(x); }
};

struct rt_log_f {
  RT_HD float value(float x) const { return rt_log(x); }
  RT_HD float slope(float x) const { return 1.0f / x; }
};

struct rt_square_f {
  RT_HD float value(float x) const { return x * x; }
  RT_HD float slope(float x) const { return 2.0f * x; }
};

struct rt_sqrt_f {
  RT_HD float value(float x) const { return __builtin_sqrtf(x); }
  RT_HD float slope(float x) const { return 0.5f / __builtin_sqrtf(x); }
};

struct rt_abs_f {
  RT_HD float value(float x) const { return rt_abs(x); }
  RT_HD float slope(float x) const { return x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : 0.0f); }
};
