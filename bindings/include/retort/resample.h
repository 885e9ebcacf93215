/* resample.h   halves or doubles an image with a separable FIR filter, as EDM's networks do.
 *
 * f1 = filter / sum(filter) with k taps, p = (k - 1) / 2 rounded down. Per axis, and the same for rows and columns:
 *   down: y[o] = sum_t f1[t] x[2 o + t - p],            o < (size + 2 p - k) / 2 + 1  (rounded down)
 *   up:   y[2 i + t - p] += 2 f1[t] x[i],               2 (size - 1) - 2 p + k outputs
 * with zeroes outside. {1, 1} down is the mean of 2 x 2 pixels, up repeats a pixel. Backward is the adjoint.
 * x (n, height, width, channels), y with the output sizes, both in `dtype`; height and width are those of x.
 * Source: Karras et al. 2022 (EDM), network blocks; Karras et al. 2019 for the filters.
 */
#ifndef RETORT_RESAMPLE_H
#define RETORT_RESAMPLE_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `up` is 0 (halve) or 1 (double); `filter` has `taps` entries with a sum other than 0. */
rt_status rt_resample_forward(const void* x, void* y, const double* filter, int64_t taps, int32_t up, int64_t n,
                              int64_t height, int64_t width, int64_t channels, int32_t dtype);

rt_status rt_resample_backward(const void* dy, void* dx, const double* filter, int64_t taps, int32_t up, int64_t n,
                               int64_t height, int64_t width, int64_t channels, int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
