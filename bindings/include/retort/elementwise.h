/* elementwise.h   each output element from the input elements in the same place.
 *
 * All arrays have n elements of `dtype` unless said otherwise; an output may be one of the inputs, but may not
 * overlap one partly. Arithmetic is float32.
 *
 * Broadcast: the large arrays a and out have the shape (k0, d0, k1, d1, k2, d2), the small array b has
 * (k0, k1, k2) and is repeated along every d. A bias (C) on (N, H, W, C) is (1, 1, 1, NHW, C, 1): unused
 * groups come first.
 */
#ifndef RETORT_ELEMENTWISE_H
#define RETORT_ELEMENTWISE_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  RT_RELU = 0,       /* max(x, 0) */
  RT_LEAKY_RELU = 1, /* x > 0 ? x : slope x */
  RT_SILU = 2,       /* x / (1 + e^-x) */
  RT_GELU_TANH = 3,  /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
  RT_GELU = 4,       /* x/2 (1 + erf(x / sqrt 2)) */
  RT_SIGMOID = 5,    /* 1 / (1 + e^-x) */
  RT_TANH = 6,
  RT_SOFTPLUS = 7, /* ln(1 + e^x) */
  RT_EXP = 8,
  RT_LOG = 9,
  RT_SQUARE = 10,
  RT_SQRT = 11,
  RT_ABS = 12
};

enum {
  RT_BROADCAST_ADD = 0,
  RT_BROADCAST_MULTIPLY = 1
};

/* out = alpha x + beta y */
rt_status rt_axpby(double alpha, const void* x, double beta, const void* y, void* out, int64_t n, int32_t dtype);

/* into += x; into is float32, x is `dtype` */
rt_status rt_accumulate(const void* x, float* into, int64_t n, int32_t dtype);

/* out = scale x + shift */
rt_status rt_affine(const void* x, double scale, double shift, void* out, int64_t n, int32_t dtype);

/* out = a b */
rt_status rt_multiply(const void* a, const void* b, void* out, int64_t n, int32_t dtype);

/* y = f(x), f one of the functions above */
rt_status rt_activation_forward(const void* x, void* y, int32_t function, double slope, int64_t n, int32_t dtype);

/* gx = gy f'(x); the derivative at a kink is the one from the left, of |x| it is 0 */
rt_status rt_activation_backward(const void* x, const void* gy, void* gx, int32_t function, double slope, int64_t n,
                                 int32_t dtype);

/* out = x, from dtype to out_dtype */
rt_status rt_cast(const void* x, void* out, int64_t n, int32_t dtype, int32_t out_dtype);

/* out = a + b or a b, b repeated; a and out are `dtype`, b is `b_dtype` */
rt_status rt_broadcast(const void* a, const void* b, void* out, int32_t kind, int64_t k0, int64_t d0, int64_t k1,
                       int64_t d1, int64_t k2, int64_t d2, int32_t dtype, int32_t b_dtype);

#ifdef __cplusplus
}
#endif

#endif
