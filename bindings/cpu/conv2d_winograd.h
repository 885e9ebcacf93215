// conv2d_winograd.h   3x3 convolutions with a quarter of the multiplications; see conv2d_winograd.cpp.
#pragma once

#include <cstdint>

#include "cpu/conv2d_tail.h"

namespace rt {

// A 3x3 convolution with stride 1 and padding 1 in one group: images (N, H, W, in) become (N, H, W, out).
struct WinogradConv {
  std::int64_t n, h, w, in, out;
  std::int32_t dtype;
};

enum class WinogradPass { images, weight_gradient };  // images: forward and data gradient

// Whether a convolution is of this kind and worth it; never where RETORT_CONVOLUTION=direct is set in the environment.
bool winograd_pays(WinogradPass pass, const WinogradConv& conv, std::int64_t kernel_h, std::int64_t kernel_w,
                   std::int64_t stride, std::int64_t padding, std::int64_t groups);

// Tiles of a batch of images.
std::int64_t winograd_tiles(const WinogradConv& conv);

// Floats of the points of a weight, and these from weight (out, in, 3, 3), for one pass or the other.
std::int64_t winograd_points(const WinogradConv& conv);
void winograd_pack_forward(const WinogradConv& conv, const float* weight, float* points);
void winograd_pack_data(const WinogradConv& conv, const float* weight, float* points);

// y = x * weight + bias and its tail; weight (out, in, 3, 3) float32, its points or null, bias (out) or null.
void winograd_forward(const WinogradConv& conv, const void* x, const float* weight, const float* points,
                      const float* bias, const ConvTail& tail, void* y);

// dx from dy for the same weight (out, in, 3, 3), whose points may be null.
void winograd_data_gradient(const WinogradConv& conv, const void* dy, const float* weight, const float* points,
                            void* dx);

// dweight (out, in, 3, 3), overwritten.
void winograd_weight_gradient(const WinogradConv& conv, const void* x, const void* dy, float* dweight);

}  // namespace rt
