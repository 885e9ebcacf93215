// conv2d_thin.h   convolutions between a wide image and a thin one of a few channels, at stride 1.
#pragma once

#include <cstdint>

#include "cpu/conv2d_tail.h"

namespace rt {

// Geometry: tap (a, b) joins pixel (i, j) of the wide image with pixel
// (i + direction * (a - padding), j + direction * (b - padding)) of the thin one.
//
// direction = +1: thin is the input and wide the output of the convolution; -1: the other way round.
struct ThinConv {
  std::int64_t n, wide_h, wide_w, wide_c, thin_h, thin_w, thin_c, kh, kw, padding;
  std::int64_t direction;
  std::int32_t dtype;

  std::int64_t taps() const { return kh * kw * thin_c; }
};

// Whether this way is worth it: one side so thin that a vector of its channels would be mostly empty.
bool thin_pays(std::int64_t thin_c, std::int64_t kh, std::int64_t kw, std::int64_t stride, std::int64_t groups);

// thin = bias + the taps' sum over wide channels, and its tail: the forward pass towards few channels, the data gradient
// from few channels. `weight` as the convolution stores it (Cout, Cin, kh, kw); `bias` may be null.
void thin_from_wide(const ThinConv& conv, const void* wide, const float* weight, const float* bias,
                    const ConvTail& tail, void* thin);

// The weight gradient, (Cout, Cin, kh, kw), overwritten.
void thin_weight_gradient(const ThinConv& conv, const void* wide, const void* thin, float* dweight);

}  // namespace rt
