/* reduction.h   sums over some axes, and the transpose: repeating a small array along them.
 *
 * The large array has the shape (k0, d0, k1, d1, k2, d2), the small one (k0, k1, k2); every d is summed away. The sum of
 * (N, H, W, C) over H and W is (1, 1, N, HW, C, 1), the sum of everything (1, 1, 1, 1, 1, NHWC).
 *
 *   sum                out_k  = scale sum_d x_kd
 *   sum_of_products    out_k  = scale sum_d x_kd y_kd
 *   expand             out_kd = scale small_k
 *
 * Accumulation is float64 in an order that depends on the shape only: the same bits on any number of threads.
 */
#ifndef RETORT_REDUCTION_H
#define RETORT_REDUCTION_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* x is `dtype`, out is `out_dtype` */
rt_status rt_sum(const void* x, void* out, double scale, int64_t k0, int64_t d0, int64_t k1, int64_t d1, int64_t k2,
                 int64_t d2, int32_t dtype, int32_t out_dtype);

/* x and y are `dtype`, out is `out_dtype` */
rt_status rt_sum_of_products(const void* x, const void* y, void* out, double scale, int64_t k0, int64_t d0, int64_t k1,
                             int64_t d1, int64_t k2, int64_t d2, int32_t dtype, int32_t out_dtype);

/* small is `dtype`, out is `out_dtype` */
rt_status rt_expand(const void* small, void* out, double scale, int64_t k0, int64_t d0, int64_t k1, int64_t d1,
                    int64_t k2, int64_t d2, int32_t dtype, int32_t out_dtype);

#ifdef __cplusplus
}
#endif

#endif
