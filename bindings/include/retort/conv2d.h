/* conv2d.h   two-dimensional cross-correlation of channels-last images, and its two gradients.
 *
 *   y[n,i,j,o] = bias[o] + sum_{a,b,c} x[n, i*stride + a - padding, j*stride + b - padding, g*Cin/groups + c]
 *                                      * weight[o,a,b,c],         g = o / (Cout/groups), x = 0 outside
 *
 * and, if wanted, with a tail: scale * (y + shift[n,o] + residual[n,i,j,o]), shift (N, Cout), residual (N, Ho, Wo, Cout).
 *
 * x (N, H, W, Cin), y (N, Ho, Wo, Cout), weight (Cout, Cin/groups, kh, kw), bias (Cout),
 * Ho = (H + 2 padding - kh) / stride + 1, Wo likewise. The same stride and padding on both axes.
 * x, y, residual and the gradients of x and y have the type `dtype`; weight, bias, their gradients and shift are
 * float32. In bfloat16 the weights may be rounded for the product, sums are float32. 3x3 kernels with stride 1 and padding 1 may be computed by
 * Winograd's F(4x4, 3x3), whose errors are about ten times float32's; RETORT_CONVOLUTION=direct in the environment of
 * the process switches that off. In bfloat16 the sums may be rounded once before the tail. No argument may be null but
 * `packed`, `bias`, `shift`, `residual` and `dbias`.
 */
#ifndef RETORT_CONV2D_H
#define RETORT_CONV2D_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which function reads a weight. */
enum { RT_CONV2D_FORWARD = 0, RT_CONV2D_DATA = 1 };

/* How a call of these extents lays out its weights before it reads them: layout[0] is a number for the layout, equal
 * for equal ones, layout[1] the bytes of a block of rt_conv2d_pack. The number is 0 where the call reads them as they
 * are, and where laying them out is too small a part of it to be worth the memory. */
rt_status rt_conv2d_layout(int64_t n, int64_t h, int64_t w, int64_t c_in, int64_t c_out, int64_t kh, int64_t kw,
                           int64_t stride, int64_t padding, int64_t groups, int32_t dtype, int32_t pass,
                           int64_t* layout);

/* Lays weights out in a block for all calls whose layout has the number `layout`, this call's. */
rt_status rt_conv2d_pack(const float* weight, void* packed, int64_t layout, int64_t n, int64_t h, int64_t w,
                         int64_t c_in, int64_t c_out, int64_t kh, int64_t kw, int64_t stride, int64_t padding,
                         int64_t groups, int32_t dtype, int32_t pass);

/* y from x; `bias`, `shift` and `residual` may be null for none, a scale of 1 changes nothing. `y` may not overlap any.
 * `packed` is the same weight from rt_conv2d_pack, or null; one that is laid out otherwise is not read. */
rt_status rt_conv2d_forward(const void* x, const float* weight, const void* packed, const float* bias,
                            const float* shift, const void* residual, double scale, void* y, int64_t n, int64_t h,
                            int64_t w, int64_t c_in, int64_t c_out, int64_t kh, int64_t kw, int64_t stride,
                            int64_t padding, int64_t groups, int32_t dtype);

/* dx, overwritten, from dy; `packed` as above. */
rt_status rt_conv2d_backward_data(const void* dy, const float* weight, const void* packed, void* dx, int64_t n,
                                  int64_t h, int64_t w, int64_t c_in, int64_t c_out, int64_t kh, int64_t kw,
                                  int64_t stride, int64_t padding, int64_t groups, int32_t dtype);

/* dweight and dbias, overwritten, from x and dy; `dbias` may be null if it is not wanted. */
rt_status rt_conv2d_backward_weights(const void* x, const void* dy, float* dweight, float* dbias, int64_t n,
                                     int64_t h, int64_t w, int64_t c_in, int64_t c_out, int64_t kh, int64_t kw,
                                     int64_t stride, int64_t padding, int64_t groups, int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
