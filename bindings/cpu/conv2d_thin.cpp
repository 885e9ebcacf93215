// conv2d_thin.cpp   with k = (a, b, c) over taps and thin channels, p over wide pixels, q(p, k) the thin pixel:
//                   thin[q(p, k), c] += sum_v weight[v, k] wide[p, v]
//                   dweight[v, k]     = sum_p thin[q(p, k), c] wide[p, v]
// tail      scale * (thin + shift + residual) with the bias, before rounding
// shapes    wide (N, Hv, Wv, V), thin (N, Ht, Wt, C) f32 or bf16; both inner matrices (k, p) and (k, v) f32
// numerics  float32 products and sums; images of the weight gradient in at most 16 groups, added in order: the same
//           on any thread count
// traffic   2 N p k v FLOP in one matrix product an image, plus k row copies of p floats, which stay in L2
// measured  2 cores Zen 5, 3x3, batch 64, 28x28 f32: 32->1 forward 0.20 ms, weights 0.17; 1->32 data 0.21, weights 0.26
//           (112-172 GFLOP/s; oneDNN 1.13, 1.06, 1.08, 0.97); batch 32, 32x32: 64->3 forward 0.43, 3->64 data 0.41
// limits    stride 1, one group, any kernel and padding
// source    the product is an im2col GEMM with the patches on the thin side, k x p, so that every copy is a whole row
#include "cpu/conv2d_thin.h"

#include <algorithm>
#include <functional>

#include "cpu/dtype.h"
#include "cpu/gemm.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace rt {
namespace {

constexpr std::int64_t kThinChannels = 4;
constexpr std::int64_t kMostTaps = 128;  // beyond it the patches outgrow the cache
constexpr std::int64_t kGroups = 16;     // of images whose weight gradients are summed apart

// One thread's working memory for one image.
struct Buffers {
  float* planes;   // (C, Ht, Wt) thin image, channel by channel
  float* patches;  // (k, p)
  float* wide;     // (p, V) if the image is stored in bfloat16

  static std::int64_t floats(const ThinConv& conv) {
    const std::int64_t pixels = conv.wide_h * conv.wide_w;
    return padded(conv.thin_c * conv.thin_h * conv.thin_w) + padded(conv.taps() * pixels) +
           (conv.dtype == RT_F32 ? 0 : padded(pixels * conv.wide_c));
  }
  static std::int64_t padded(std::int64_t floats) { return (floats + 15) / 16 * 16; }

  Buffers(const ThinConv& conv, float* base)
      : planes(base),
        patches(planes + padded(conv.thin_c * conv.thin_h * conv.thin_w)),
        wide(patches + padded(conv.taps() * conv.wide_h * conv.wide_w)) {}
};

// Calls visit(row of planes, row of patches, length) for every pair of rows that tap by tap lie on each other.
template <class Visit>
void for_each_row(const ThinConv& conv, const Buffers& buffers, Visit&& visit) {
  float* patch = buffers.patches;
  for (std::int64_t a = 0; a < conv.kh; ++a) {
    for (std::int64_t b = 0; b < conv.kw; ++b) {
      const std::int64_t down = conv.direction * (a - conv.padding);
      const std::int64_t right = conv.direction * (b - conv.padding);
      const std::int64_t first = std::max<std::int64_t>(0, -right);
      const std::int64_t length = std::min(conv.wide_w, conv.thin_w - right) - first;
      for (std::int64_t c = 0; c < conv.thin_c; ++c) {
        float* plane = buffers.planes + c * conv.thin_h * conv.thin_w;
        for (std::int64_t i = 0; i < conv.wide_h; ++i, patch += conv.wide_w) {
          const std::int64_t row = i + down;
          if (row >= 0 && row < conv.thin_h && length > 0) {
            visit(plane + row * conv.thin_w + first + right, patch + first, length);
          }
        }
      }
    }
  }
}

// The wide image `image` as float32: in place, or widened into the buffer.
const float* wide_image(const ThinConv& conv, const void* wide, std::int64_t image, const Buffers& buffers) {
  const std::int64_t elements = conv.wide_h * conv.wide_w * conv.wide_c;
  if (conv.dtype == RT_F32) {
    return static_cast<const float*>(wide) + image * elements;
  }
  const bf16* source = static_cast<const bf16*>(wide) + image * elements;
#pragma omp simd
  for (std::int64_t i = 0; i < elements; ++i) {
    buffers.wide[i] = load(source + i);
  }
  return buffers.wide;
}

template <class T>
void store_planes(const ThinConv& conv, const Buffers& buffers, const float* bias, const ConvTail& tail,
                  std::int64_t image, T* images) {
  const std::int64_t pixels = conv.thin_h * conv.thin_w;
  const float* const shift = tail.shift_of(image, conv.thin_c);
  const T* const residual = tail.residual_of<T>(image, pixels * conv.thin_c);
  T* const thin = images + image * pixels * conv.thin_c;
  for (std::int64_t c = 0; c < conv.thin_c; ++c) {
    const float offset = (bias == nullptr ? 0.0f : bias[c]) + (shift == nullptr ? 0.0f : shift[c]);
    const float* plane = buffers.planes + c * pixels;
    for (std::int64_t p = 0; p < pixels; ++p) {
      const std::int64_t at = p * conv.thin_c + c;
      store(thin + at, tail.scale * (plane[p] + offset + (residual == nullptr ? 0.0f : load(residual + at))));
    }
  }
}

template <class T>
void load_planes(const ThinConv& conv, const Buffers& buffers, const T* thin) {
  const std::int64_t pixels = conv.thin_h * conv.thin_w;
  for (std::int64_t c = 0; c < conv.thin_c; ++c) {
    float* plane = buffers.planes + c * pixels;
    for (std::int64_t p = 0; p < pixels; ++p) {
      plane[p] = load(thin + p * conv.thin_c + c);
    }
  }
}

// Calls visit(weight in the convolution's order, entry of the (k, v) matrix) for every weight.
template <class Weight, class Visit>
void for_each_weight(const ThinConv& conv, Weight* weight, float* matrix, Visit&& visit) {
  const std::int64_t area = conv.kh * conv.kw;
  const bool thin_is_input = conv.direction > 0;
  for (std::int64_t tap = 0; tap < area; ++tap) {
    for (std::int64_t c = 0; c < conv.thin_c; ++c) {
      for (std::int64_t v = 0; v < conv.wide_c; ++v) {
        const std::int64_t pair = thin_is_input ? v * conv.thin_c + c : c * conv.wide_c + v;
        visit(weight[pair * area + tap], matrix[(tap * conv.thin_c + c) * conv.wide_c + v]);
      }
    }
  }
}

int team(const ThinConv& conv) {
  const std::int64_t work = conv.n * conv.wide_h * conv.wide_w * conv.taps();
  return work > RT_PARALLEL_MIN ? static_cast<int>(std::min<std::int64_t>(team_size(), conv.n)) : 1;
}

}  // namespace

bool thin_pays(std::int64_t thin_c, std::int64_t kh, std::int64_t kw, std::int64_t stride, std::int64_t groups) {
  return thin_c <= kThinChannels && kh * kw * thin_c <= kMostTaps && stride == 1 && groups == 1;
}

void thin_from_wide(const ThinConv& conv, const void* wide, const float* weight, const float* bias,
                    const ConvTail& tail, void* thin) {
  const std::int64_t pixels = conv.wide_h * conv.wide_w;
  const std::int64_t thin_elements = conv.thin_h * conv.thin_w * conv.thin_c;
  const std::int64_t matrix_floats = Buffers::padded(conv.taps() * conv.wide_c);
  const int threads = team(conv);
  float* matrix = scratch(matrix_floats + threads * Buffers::floats(conv));
  for_each_weight(conv, weight, matrix, [](float value, float& entry) { entry = value; });
  parallel(threads, threads, [&](std::int64_t thread) {
    const Buffers buffers(conv, matrix + matrix_floats + thread * Buffers::floats(conv));
    for (std::int64_t image = conv.n * thread / threads; image < conv.n * (thread + 1) / threads; ++image) {
      gemm(Transpose::no, Transpose::yes, conv.taps(), pixels, conv.wide_c, 1.0f, matrix, conv.wide_c,
           wide_image(conv, wide, image, buffers), conv.wide_c, 0.0f, buffers.patches, pixels);
      std::fill_n(buffers.planes, thin_elements, 0.0f);
      for_each_row(conv, buffers, [](float* plane, const float* patch, std::int64_t length) {
#pragma omp simd
        for (std::int64_t j = 0; j < length; ++j) {
          plane[j] += patch[j];
        }
      });
      dispatch(conv.dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        store_planes(conv, buffers, bias, tail, image, static_cast<T*>(thin));
      });
    }
  });
}

void thin_weight_gradient(const ThinConv& conv, const void* wide, const void* thin, float* dweight) {
  const std::int64_t pixels = conv.wide_h * conv.wide_w;
  const std::int64_t thin_elements = conv.thin_h * conv.thin_w * conv.thin_c;
  const std::int64_t matrix_floats = Buffers::padded(conv.taps() * conv.wide_c);
  const std::int64_t groups = std::min(kGroups, conv.n);
  const int threads = static_cast<int>(std::min<std::int64_t>(team(conv), groups));
  float* matrices = scratch(groups * matrix_floats + threads * Buffers::floats(conv));
  parallel(threads, threads, [&](std::int64_t thread) {
    const Buffers buffers(conv, matrices + groups * matrix_floats + thread * Buffers::floats(conv));
    // Patches over the edge stay zero from image to image: the same entries are written each time.
    std::fill_n(buffers.patches, conv.taps() * pixels, 0.0f);
    for (std::int64_t group = groups * thread / threads; group < groups * (thread + 1) / threads; ++group) {
      const std::int64_t first = conv.n * group / groups;
      for (std::int64_t image = first; image < conv.n * (group + 1) / groups; ++image) {
        dispatch(conv.dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          load_planes(conv, buffers, static_cast<const T*>(thin) + image * thin_elements);
        });
        for_each_row(conv, buffers, [](const float* plane, float* patch, std::int64_t length) {
          std::copy_n(plane, length, patch);
        });
        gemm(Transpose::no, Transpose::no, conv.taps(), conv.wide_c, pixels, 1.0f, buffers.patches, pixels,
             wide_image(conv, wide, image, buffers), conv.wide_c, image == first ? 0.0f : 1.0f,
             matrices + group * matrix_floats, conv.wide_c);
      }
    }
  });
  for (std::int64_t group = 1; group < groups; ++group) {
    const float* other = matrices + group * matrix_floats;
    std::transform(other, other + conv.taps() * conv.wide_c, matrices, matrices, std::plus<>());
  }
  for_each_weight(conv, dweight, matrices, [](float& value, float entry) { value = entry; });
}

}  // namespace rt
