// conv2d_tail.h   what a convolution does with its sums before they are forgotten: y = scale * (y + shift + residual).
#pragma once

#include <cstdint>

#include "cpu/dtype.h"
#include "cpu/vec_bf16.h"

namespace rt {

// The tail of a forward convolution; shift (N, Cout) and residual, shaped like y and of its type, may be null for none.
struct ConvTail {
  const float* shift = nullptr;
  const void* residual = nullptr;
  float scale = 1.0f;

  bool any() const { return shift != nullptr || residual != nullptr || scale != 1.0f; }

  // The same seen from image `first` on, of so many elements and channels.
  const float* shift_of(std::int64_t first, std::int64_t channels) const {
    return shift == nullptr ? nullptr : shift + first * channels;
  }
  template <class T>
  const T* residual_of(std::int64_t first, std::int64_t elements) const {
    return residual == nullptr ? nullptr : static_cast<const T*>(residual) + first * elements;
  }
};

// y_i = scale * (y_i + shift_i + residual_i) for a row of n numbers; null adds nothing.
template <class T>
void finish_row(const float* shift, const T* residual, float scale, std::int64_t n, T* y) {
  std::int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    vec sum = load_vec(y + i);
    if (shift != nullptr) {
      sum += load_vec(shift + i);
    }
    if (residual != nullptr) {
      sum += load_vec(residual + i);
    }
    store_vec(y + i, scale * sum);
  }
  for (; i < n; ++i) {
    const float sum = load(y + i) + (shift == nullptr ? 0.0f : load(shift + i)) +
                      (residual == nullptr ? 0.0f : load(residual + i));
    store(y + i, scale * sum);
  }
}

// The tail of images [first, first + count) of y (N, pixels, channels), whose sums are there already.
inline void finish_images(const ConvTail& tail, std::int32_t dtype, std::int64_t first, std::int64_t count,
                          std::int64_t pixels, std::int64_t channels, void* y) {
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const std::int64_t elements = pixels * channels;
    for (std::int64_t image = first; image < first + count; ++image) {
      const float* const shift = tail.shift_of(image, channels);
      const T* const residual = tail.residual_of<T>(image, elements);
      T* const out = static_cast<T*>(y) + image * elements;
      const std::int64_t row = shift == nullptr ? elements : channels;
      for (std::int64_t at = 0; at < elements; at += row) {
        finish_row(shift, residual == nullptr ? nullptr : residual + at, tail.scale, row, out + at);
      }
    }
  });
}

}  // namespace rt
