// augment.cu   colour, affine warp and cutout of a batch, the same for every image
// shapes    x,y,dx,dy (N,H,W,C)
// launch    colour: grid N, block 32 to 1024 threads, one block per image; warp and cutout: common/lines.cuh, a thread 4
//           channels of a pixel, or a pack of a line that cutout sees as one pixel
// numerics  source coordinates and interpolation weights in f64, so that both directions and the CPU choose the same pixels;
//           sums in f32. The gradient of a warp is gathered: a pixel looks at the outputs around its preimage, in reading
//           order, and takes those whose sample used it; no atomics
// traffic   reads x and writes y once (colour reads x twice, the second time from L1): 8 B an element in f32; at 3.0 TB/s on
//           an H100 2.1 us for 256 images 32x32x3, about what a launch takes. The gradient of a warp computes 9 to 16
//           coordinates a pixel, some 200 instructions: as long again; bound by f64 where that is 1/64 of f32 (sm_120)
// measured  not measured yet
// spills    none
// limits    those of common/lines.cuh. Made for images of 1 to 4 channels that one block's caches hold; a map without an
//           inverse makes every pixel look at the whole image
// source    retort/augment.h

#include "common/lines.cuh"
#include "common/reduce.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kChannels = 4;  // of a pixel that a thread samples at once

// Where output pixel (row, column) takes its sample.
struct Map {
  double a00, a01, a02, a10, a11, a12;

  __device__ __forceinline__ double column(int row, int column) const { return a00 * column + a01 * row + a02; }
  __device__ __forceinline__ double row(int row, int column) const { return a10 * column + a11 * row + a12; }
};

// The linear part of the way back, and how far from a pixel's preimage outputs can lie that use it.
struct Inverse {
  double i00, i01, i10, i11, columns, rows;
};

// Share of the pixel in a sample taken at this distance from it.
__device__ __forceinline__ float share(double down, double across) {
  const double vertical = fabs(down);
  const double horizontal = fabs(across);
  return vertical < 1.0 && horizontal < 1.0 ? static_cast<float>((1.0 - vertical) * (1.0 - horizontal)) : 0.0f;
}

// Up to four channels of a pixel, all at once where they are aligned.
template <class T>
__device__ __forceinline__ void load_channels(const T* p, int count, bool packed, float (&v)[kChannels]) {
  if (packed) {
    rt_load(p, v);
  } else {
#pragma unroll
    for (int j = 0; j < kChannels; j++) {
      v[j] = j < count ? rt_load(p + j) : 0.0f;
    }
  }
}

template <class T>
__device__ __forceinline__ void store_channels(T* p, int count, bool packed, const float (&v)[kChannels]) {
  if (packed) {
    rt_store(p, v);
  } else {
#pragma unroll
    for (int j = 0; j < kChannels; j++) {
      if (j < count) {
        rt_store(p + j, v[j]);
      }
    }
  }
}

template <class T>
__device__ __forceinline__ void warp(const T* __restrict__ x, T* __restrict__ y, const Map& map, float fill,
                                     const rt_extents& s) {
  const bool packed = s.channels % kChannels == 0 && rt_aligned(x, y);
  rt_for_pixels<kChannels>(s, [&](const rt_pixel& to) {
    const double column = map.column(to.row, to.column);
    const double row = map.row(to.row, to.column);
    const double left = floor(column);
    const double top = floor(row);
    float sum[kChannels] = {};
    float inside = 0.0f;
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const double at_row = top + k / 2;
      const double at_column = left + k % 2;
      const float weight = share(row - at_row, column - at_column);
      if (weight != 0.0f && at_row >= 0.0 && at_column >= 0.0 && at_row < s.height && at_column < s.width) {
        const rt_pixel from{to.image, static_cast<int>(at_row), static_cast<int>(at_column), to.channel};
        float v[kChannels];
        load_channels(x + from.in(s), s.channels - to.channel, packed, v);
#pragma unroll
        for (int j = 0; j < kChannels; j++) {
          sum[j] += weight * v[j];
        }
        inside += weight;
      }
    }
#pragma unroll
    for (int j = 0; j < kChannels; j++) {
      sum[j] += (1.0f - inside) * fill;
    }
    store_channels(y + to.in(s), s.channels - to.channel, packed, sum);
  });
}

// Whole numbers in [middle - reach, middle + reach] and [0, extent).
struct Range {
  int first, end;
};

__device__ __forceinline__ Range around(double middle, double reach, int extent) {
  const double first = fmin(fmax(ceil(middle - reach), 0.0), static_cast<double>(extent));
  const double last = fmin(floor(middle + reach), static_cast<double>(extent) - 1.0);
  return {static_cast<int>(first), static_cast<int>(fmax(last, -1.0)) + 1};
}

template <class T>
__device__ __forceinline__ void warp_gradient(const T* __restrict__ dy, T* __restrict__ dx, const Map& map,
                                              const Inverse& inverse, const rt_extents& s) {
  const bool packed = s.channels % kChannels == 0 && rt_aligned(dy, dx);
  rt_for_pixels<kChannels>(s, [&](const rt_pixel& to) {
    const double across = to.column - map.a02;
    const double down = to.row - map.a12;
    const Range rows = around(inverse.i10 * across + inverse.i11 * down, inverse.rows, s.height);
    const Range columns = around(inverse.i00 * across + inverse.i01 * down, inverse.columns, s.width);
    float sum[kChannels] = {};
    for (int row = rows.first; row < rows.end; row++) {
      for (int column = columns.first; column < columns.end; column++) {
        const float weight = share(map.row(row, column) - to.row, map.column(row, column) - to.column);
        if (weight != 0.0f) {
          float g[kChannels];
          load_channels(dy + rt_pixel{to.image, row, column, to.channel}.in(s), s.channels - to.channel, packed, g);
#pragma unroll
          for (int j = 0; j < kChannels; j++) {
            sum[j] += weight * g[j];
          }
        }
      }
    }
    store_channels(dx + to.in(s), s.channels - to.channel, packed, sum);
  });
}

// Sum of the block's image, the same in every thread.
template <class T>
__device__ __forceinline__ float image_sum(const T* image, std::int64_t elements) {
  constexpr int N = RT_WIDTH<T>;
  const std::int64_t packs = rt_aligned(image) ? elements / N : 0;
  float sum = 0.0f;
  for (std::int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
    float v[N];
    rt_load(image + i * N, v);
#pragma unroll
    for (int j = 0; j < N; j++) {
      sum += v[j];
    }
  }
  for (std::int64_t i = packs * N + threadIdx.x; i < elements; i += blockDim.x) {
    sum += rt_load(image + i);
  }
  return rt_block_sum(sum);
}

// What recolouring does to a value of a pixel.
struct Recolor {
  float saturation, contrast, mean, shift;

  __device__ __forceinline__ float operator()(float value, float grey) const {
    return contrast * (saturation * (value - grey) + (grey - mean)) + shift;
  }
};

// One pixel; all its channels are read before one is written, since y may be x.
template <class T>
__device__ __forceinline__ void recolor(const T* x, T* y, int channels, bool packed, const Recolor& map) {
  if (channels <= kChannels) {
    float v[kChannels];
    load_channels(x, channels, packed, v);
    const float grey = (v[0] + v[1] + v[2] + v[3]) / static_cast<float>(channels);
#pragma unroll
    for (int j = 0; j < kChannels; j++) {
      v[j] = map(v[j], grey);
    }
    store_channels(y, channels, packed, v);
  } else {
    float grey = 0.0f;
    for (int c = 0; c < channels; c++) {
      grey += rt_load(x + c);
    }
    grey /= static_cast<float>(channels);
    for (int c = 0; c < channels; c++) {
      rt_store(y + c, map(rt_load(x + c), grey));
    }
  }
}

// y may be x: the sum is complete when the first thread writes, and then a pixel has one thread.
template <class T>
__device__ __forceinline__ void color(const T* x, T* y, std::int64_t positions, std::int64_t channels, float brightness,
                                      float saturation, float contrast) {
  const std::int64_t elements = positions * channels;
  const T* const image = x + blockIdx.x * elements;
  T* const out = y + blockIdx.x * elements;
  const bool packed = channels == kChannels && rt_aligned(x, y);
  const float mean = image_sum(image, elements) / static_cast<float>(elements);
  const Recolor map{saturation, contrast, mean, mean + brightness};
#pragma unroll 1
  for (std::int64_t p = threadIdx.x; p < positions; p += blockDim.x) {
    recolor(image + p * channels, out + p * channels, static_cast<int>(channels), packed, map);
  }
}

// A rectangle of elements of a line: [first, end) in lines [top, bottom).
struct Hole {
  std::int64_t top, bottom, first, end;
};

template <int N, class T>
__device__ __forceinline__ void cut(const T* x, T* y, const Hole& hole, float fill, const rt_extents& line) {
  rt_for_pixels<N>(line, [&](const rt_pixel& to) {
    const bool through = to.row >= hole.top && to.row < hole.bottom;
    float v[N];
    rt_load(x + to.in(line), v);
#pragma unroll
    for (int j = 0; j < N; j++) {
      v[j] = through && to.channel + j >= hole.first && to.channel + j < hole.end ? fill : v[j];
    }
    rt_store(y + to.in(line), v);
  });
}

// y may be x.
template <class T>
__device__ __forceinline__ void cutout(const T* x, T* y, const Hole& hole, float fill, const rt_extents& line) {
  constexpr int N = RT_WIDTH<T>;
  if (line.channels % N == 0 && rt_aligned(x, y)) {
    cut<N>(x, y, hole, fill, line);
  } else {
    cut<1>(x, y, hole, fill, line);
  }
}

}  // namespace

#define RT_AUGMENT(suffix, T)                                                                                 \
  RT_KERNEL_BOUNDS(rt_augment_color_##suffix, 1024,                                                           \
                   (const T* x, T* y, std::int64_t positions, std::int64_t channels, float brightness,        \
                    float saturation, float contrast)) {                                                      \
    color(x, y, positions, channels, brightness, saturation, contrast);                                       \
  }                                                                                                           \
  RT_KERNEL(rt_augment_warp_##suffix,                                                                         \
            (const T* __restrict__ x, T* __restrict__ y, std::int64_t height, std::int64_t width,             \
             std::int64_t channels, double a00, double a01, double a02, double a10, double a11, double a12,   \
             float fill)) {                                                                                   \
    warp(x, y, Map{a00, a01, a02, a10, a11, a12}, fill, rt_extents_of(height, width, channels));              \
  }                                                                                                           \
  RT_KERNEL_OCCUPANCY(rt_augment_warp_gradient_##suffix, 256, 4,                                              \
                      (const T* __restrict__ dy, T* __restrict__ dx, std::int64_t height, std::int64_t width, \
                       std::int64_t channels, double a00, double a01, double a02, double a10, double a11,     \
                       double a12, double i00, double i01, double i10, double i11, double columns,            \
                       double rows)) {                                                                        \
    warp_gradient(dy, dx, Map{a00, a01, a02, a10, a11, a12}, Inverse{i00, i01, i10, i11, columns, rows},      \
                  rt_extents_of(height, width, channels));                                                    \
  }                                                                                                           \
  RT_KERNEL(rt_augment_cutout_##suffix,                                                                       \
            (const T* x, T* y, std::int64_t height, std::int64_t line, std::int64_t top, std::int64_t bottom, \
             std::int64_t first, std::int64_t end, float fill)) {                                             \
    cutout(x, y, Hole{top, bottom, first, end}, fill, rt_extents_of(height, 1, line));                        \
  }

RT_AUGMENT(f32, float)
RT_AUGMENT(bf16, rt_bf16)
