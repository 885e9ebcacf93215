/* score_difference.h   EDM noising and preconditioning, and the losses of score distillation. Float32 throughout.
 *
 * Shapes: images x, f, d, y, r (N, P) with P = H*W*C elements a sample; sigma (N); loss (1). sd = sigma_data.
 *   add_noise   out = x + sigma_n * z, z the standard normals 0 to N P - 1 of a stream of random.h
 *   edm_input   out = x / sqrt(sd^2 + sigma^2)                                        c_in
 *   edm_output  out = sd^2/(sigma^2+sd^2) x + sigma sd/sqrt(sigma^2+sd^2) f           c_skip x + c_out f
 *   edm_loss    w = (sigma^2 + sd^2)/(sigma sd)^2 = sigma^-2 + sd^-2
 *               loss = sum w (d - y)^2 / divisor, gradient = 2 w (d - y) / divisor;  divisor N*P (mean) or N (sum)
 *   score_difference, with real and fake denoised images r, f of a noised x:
 *     dmd       g = (f - r) / max(mean_P |x - r|, eps);  loss = sum g^2 / (2 N P);  gradient = g / (N P)
 *     di        g = f - r;                               loss = sum g^2 / (2 N);    gradient = g / N
 *   sid         w = max(mean_P |x - r|, eps) held constant;
 *               loss = sum (r - f) ((r - x) - alpha (r - f)) / w / N, gradients for x, r and f
 * Sources: EDM, Karras et al. 2022, table 1 and eq. 8; DMD, Yin et al. 2023, eq. 7-8; Diff-Instruct, Luo et al. 2023,
 * eq. 8; SiD, Zhou et al. 2024, eq. 23.
 */
#ifndef RETORT_SCORE_DIFFERENCE_H
#define RETORT_SCORE_DIFFERENCE_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `out` may be `x`; N P <= 2^34. */
rt_status rt_add_noise(const float* x, const float* sigma, float* out, int64_t n, int64_t p, int64_t seed, int32_t tag,
                       int64_t step);

/* Also its own backward: the gradient of x is the same scaling of the gradient of out. */
rt_status rt_edm_input(const float* x, const float* sigma, float* out, int64_t n, int64_t p, double sd);

rt_status rt_edm_output(const float* x, const float* f, const float* sigma, float* out, int64_t n, int64_t p,
                        double sd);

/* dx or df may be null. */
rt_status rt_edm_output_backward(const float* dout, const float* sigma, float* dx, float* df, int64_t n,
                                 int64_t p, double sd);

/* `gradient` is that of d for a unit gradient of the loss. */
rt_status rt_edm_loss(const float* d, const float* y, const float* sigma, float* loss, float* gradient,
                      int64_t n, int64_t p, double sd, int32_t mean);

/* form 0 dmd, 1 di. */
rt_status rt_score_difference(const float* x, const float* r, const float* f, float* loss, float* gradient,
                              int64_t n, int64_t p, int32_t form, double eps);

rt_status rt_sid(const float* x, const float* r, const float* f, float* loss, float* dx, float* dr, float* df,
                 int64_t n, int64_t p, double alpha, double eps);

#ifdef __cplusplus
}
#endif

#endif
