/* layer_norm.h   y = (x - mean_r) * rstd_r * gamma_c + beta_c, statistics over the last axis.
 *
 * x, y, dx, dy (rows, channels) in `dtype`; gamma, beta, dgamma, dbeta (channels) f32; mean, rstd (rows) f32.
 * rstd = 1 / sqrt(biased variance + eps); every size is at least 1. With xh = (x - mean) rstd:
 *   dbeta_c = sum dy,   dgamma_c = sum dy xh      over rows
 *   dx = rstd * (gamma dy - m1 - xh m2),   m1, m2 = means of gamma dy and gamma dy xh over the row
 * Source: Ba, Kiros & Hinton 2016, equations 3 and 4.
 */
#ifndef RETORT_LAYER_NORM_H
#define RETORT_LAYER_NORM_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes y, mean and rstd. y may be x. */
rt_status rt_layer_norm_forward(const void* x, const float* gamma, const float* beta, void* y, float* mean,
                                float* rstd, int64_t rows, int64_t channels, double eps, int32_t dtype);

/* Writes dx, dgamma and dbeta, each unless it is NULL. dx may be dy. */
rt_status rt_layer_norm_backward(const void* x, const void* dy, const float* gamma, const float* mean,
                                 const float* rstd, void* dx, float* dgamma, float* dbeta, int64_t rows,
                                 int64_t channels, int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
