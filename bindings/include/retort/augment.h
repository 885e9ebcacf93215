/* augment.h   differentiable augmentations that treat every image of a batch alike.
 *
 * x, y (n, height, width, channels) in `dtype`. Each map is affine in x; the gradient with respect to x is the
 * adjoint of its linear part.
 *   color   y = contrast (saturation (x - m) + m - M) + M + brightness,
 *           m = mean over the channels of the pixel, M = mean of the image
 *   warp    y[v, u] = bilinear sample of x at column a00 u + a01 v + a02, row a10 u + a11 v + a12;
 *           samples outside the image have the value `fill`
 *   cutout  y = fill inside rows [top, bottom) and columns [left, right), x elsewhere
 * Source: Zhao & Bilen 2021, "Dataset condensation with differentiable siamese augmentation".
 */
#ifndef RETORT_AUGMENT_H
#define RETORT_AUGMENT_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The linear part (brightness 0) is its own adjoint: backward is the same call on dy. y may be x. */
rt_status rt_augment_color(const void* x, void* y, int64_t n, int64_t positions, int64_t channels,
                           double brightness, double saturation, double contrast, int32_t dtype);

rt_status rt_augment_warp_forward(const void* x, void* y, int64_t n, int64_t height, int64_t width,
                                  int64_t channels, double a00, double a01, double a02, double a10, double a11,
                                  double a12, double fill, int32_t dtype);

rt_status rt_augment_warp_backward(const void* dy, void* dx, int64_t n, int64_t height, int64_t width,
                                   int64_t channels, double a00, double a01, double a02, double a10, double a11,
                                   double a12, int32_t dtype);

/* Backward is the same call on dy with fill 0. y may be x. */
rt_status rt_augment_cutout(const void* x, void* y, int64_t n, int64_t height, int64_t width, int64_t channels,
                            int64_t top, int64_t left, int64_t bottom, int64_t right, double fill, int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
