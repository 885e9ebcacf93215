/* pool.h   mean or maximum over windows that lie inside the image.
 *
 * x, dx (n, height, width, channels), y, dy (n, oh, ow, channels) in `dtype`; oh = (height - kernel) / stride + 1 and
 * ow alike, rounded down; kernel >= 1, stride >= 1, kernel <= height, width.
 *   avg: y = mean of the kernel x kernel window at (stride i, stride j);  dx adds dy / kernel^2 to each of its pixels
 *   max: y = maximum of the window, NaN if it has one;  dx adds dy to the first pixel, in reading order, that has it
 */
#ifndef RETORT_POOL_H
#define RETORT_POOL_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

rt_status rt_avg_pool_forward(const void* x, void* y, int64_t n, int64_t height, int64_t width, int64_t channels,
                              int64_t kernel, int64_t stride, int32_t dtype);

rt_status rt_avg_pool_backward(const void* dy, void* dx, int64_t n, int64_t height, int64_t width,
                               int64_t channels, int64_t kernel, int64_t stride, int32_t dtype);

rt_status rt_max_pool_forward(const void* x, void* y, int64_t n, int64_t height, int64_t width, int64_t channels,
                              int64_t kernel, int64_t stride, int32_t dtype);

/* Finds the maxima again instead of reading saved positions. */
rt_status rt_max_pool_backward(const void* x, const void* dy, void* dx, int64_t n, int64_t height, int64_t width,
                               int64_t channels, int64_t kernel, int64_t stride, int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
