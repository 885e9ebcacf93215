/* group_norm.h   y = (x - mean_g) * rstd_g * gamma_c + beta_c, optionally followed by SiLU.
 *
 * x, y, dx, dy (n, positions, channels) in `dtype`; gamma, beta, dgamma, dbeta (channels) f32;
 * mean, rstd (n, groups) f32. Group g holds the channels [g * channels / groups, (g + 1) * channels / groups);
 * its statistics run over these channels and all positions of one sample: rstd = 1 / sqrt(biased variance + eps).
 * groups == channels is instance norm. channels is a multiple of groups; every size is at least 1.
 *
 * With xh = (x - mean) rstd, u = xh gamma + beta, and du = dy, or dy silu'(u) with SiLU:
 *   dbeta_c = sum du,   dgamma_c = sum du xh      over samples and positions
 *   dx = rstd * (gamma du - m1 - xh m2),   m1, m2 = means of gamma du and gamma du xh over the group
 * Source: Wu & He 2018, equation 7; Ulyanov et al. 2016 for instance norm.
 */
#ifndef RETORT_GROUP_NORM_H
#define RETORT_GROUP_NORM_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes y, mean and rstd. `silu` is 0 or 1. y may be x. */
rt_status rt_group_norm_forward(const void* x, const float* gamma, const float* beta, void* y, float* mean,
                                float* rstd, int64_t n, int64_t positions, int64_t channels, int64_t groups,
                                double eps, int32_t silu, int32_t dtype);

/* Writes dx, dgamma and dbeta, each unless it is NULL. dx must not overlap x or dy. */
rt_status rt_group_norm_backward(const void* x, const void* dy, const float* gamma, const float* beta,
                                 const float* mean, const float* rstd, void* dx, float* dgamma, float* dbeta,
                                 int64_t n, int64_t positions, int64_t channels, int64_t groups, int32_t silu,
                                 int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
