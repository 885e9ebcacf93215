/* mmd.h   squared maximum mean discrepancy between two samples, with its gradient, without the kernel matrix.
 *
 *   mmd2 = sum_ij a_uu k(u_i, u_j) + sum_ij a_vv k(v_i, v_j) - 2 / (n m) sum_ij k(u_i, v_j)
 *   biased (V-statistic, never negative)         a_uu = 1 / n^2          over all i, j
 *   unbiased (U-statistic, mean 0 for one law)   a_uu = 1 / (n (n - 1))  over i != j; a_vv likewise with m
 *   gradient[i] = d mmd2 / d u_i                 v is data and has no gradient
 *
 * kernel          k(x, y)                                            numbers (float64)
 * RT_LINEAR       x . y, evaluated as a difference of means          none
 * RT_RBF          sum_q exp(-|x - y|^2 / (factor_q b))               factor_q > 0, any count >= 1
 * RT_POLYNOMIAL   (scale x . y + offset)^degree                      degree (whole, >= 1), scale, offset
 * RT_ENERGY       -|x - y|: mmd2 is the energy distance              none
 *
 * The bandwidth b is the mean of |z_i - z_j|^2 over the ordered pairs i != j of the joint sample z = (u, v), N = n + m:
 *   b = 2 (N sum_i |z_i|^2 - |sum_i z_i|^2) / (N (N - 1))
 * It is a constant of the gradient ("detached"). If all points coincide b is 0 and every kernel value is its value at
 * distance 0. The gradient of |x - y| at x = y is taken as 0.
 *
 * shapes  u (n, d)   v (m, d)   loss () float32   gradient (n, d) float32, or NULL for the value alone (half the work)
 * types   u and v have the storage type `dtype`; arithmetic is float32, sums of kernel values and means float64
 * limits  n, m, d >= 1; n, m >= 2 if unbiased
 * Source: Gretton et al. 2012, eq. 3 and 5; polynomial kernel as in KID: Binkowski et al. 2018; energy distance as an
 *         MMD: Sejdinovic et al. 2013.
 */
#ifndef RETORT_MMD_H
#define RETORT_MMD_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RT_LINEAR = 0, RT_RBF = 1, RT_POLYNOMIAL = 2, RT_ENERGY = 3 };

rt_status rt_mmd(const void* u, const void* v, float* loss, float* gradient, int64_t n, int64_t m, int64_t d,
                 int32_t kernel, const double* numbers, int64_t count, int32_t unbiased, int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
