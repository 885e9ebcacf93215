/* embedding.h   vectors for numbers and for table indices.
 *
 *   sinusoid   f_k = max_positions^(-k / (half - endpoint)), a = c f_k: y (n, 2 half) = (cos a, sin a) or (sin a, cos a)
 *   fourier    a = 2 pi f_k c:                                          y (n, 2 half) = (cos a, sin a)
 *   lookup     y_i = table[ids_i]
 *
 * All arrays are float32, ids int64. Angles are float64: at sigma noise levels they reach hundreds of radians.
 */
#ifndef RETORT_EMBEDDING_H
#define RETORT_EMBEDDING_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* c (n); endpoint 0 or 1, half > endpoint; sin_first 0 or 1 */
rt_status rt_sinusoid_forward(const float* c, float* y, int64_t n, int64_t half, double max_positions, int32_t endpoint,
                              int32_t sin_first);

/* gy (n, 2 half), gc (n) */
rt_status rt_sinusoid_backward(const float* c, const float* gy, float* gc, int64_t n, int64_t half,
                               double max_positions, int32_t endpoint, int32_t sin_first);

/* c (n), frequencies (half) */
rt_status rt_fourier_forward(const float* c, const float* frequencies, float* y, int64_t n, int64_t half);

/* gy (n, 2 half), gc (n) */
rt_status rt_fourier_backward(const float* c, const float* frequencies, const float* gy, float* gc, int64_t n,
                              int64_t half);

/* table (k, d), ids (n), y (n, d); RT_INVALID if an id is not in [0, k) */
rt_status rt_lookup_forward(const float* table, const int64_t* ids, float* y, int64_t k, int64_t d, int64_t n);

/* gtable (k, d): row j is the sum of gy_i over ids_i = j, in the order of i */
rt_status rt_lookup_backward(const int64_t* ids, const float* gy, float* gtable, int64_t k, int64_t d, int64_t n);

#ifdef __cplusplus
}
#endif

#endif
