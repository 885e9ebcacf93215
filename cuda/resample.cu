// resample.cu   images halved or doubled with a separable FIR filter w: down y[o] = sum_t w[t] x[2 o + t - p], up transposed
// shapes    fine (N,H,W,C), coarse (N,h,w,C); down reads fine and writes coarse, up the other way; w has k taps, p = (k-1)/2
// launch    common/lines.cuh over the lines of what is written, a thread 16 bytes of channels
// numerics  f32 sums of at most k^2 products in a fixed order; a pixel outside is not read, so nothing there spreads
// traffic   reads the one image and writes the other: 1.25 times the fine image's bytes, memory-bound at 3.0 TB/s on an H100.
//           Taps of neighbouring pixels come from L1: 1 (up) and 4 (down) loads for 2 taps, 4 and 16 for 4 taps, at most
//           3.4 times the bytes of DRAM, where L1 has about 9 times its bandwidth
// measured  not measured yet
// spills    none
// limits    those of common/lines.cuh; element-wise accesses where C is no multiple of 16 bytes or a pointer not aligned;
//           filters that have neither 2 nor 4 taps come from memory and take plain loops
// source    retort/resample.h: the gradient of down is up with the same w and the other way round

#include "common/lines.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

// K taps in registers; chosen, not indexed, or they would lie in local memory.
template <int K>
struct Filter {
  static constexpr int kUnrolled = K;
  float weight[K];
  __device__ __forceinline__ int taps() const { return K; }
  __device__ __forceinline__ float operator[](int t) const {
    float chosen = weight[0];
#pragma unroll
    for (int i = 1; i < K; i++) {
      chosen = t == i ? weight[i] : chosen;
    }
    return chosen;
  }
};

// Any number of taps in memory.
template <>
struct Filter<0> {
  static constexpr int kUnrolled = 1;
  const float* weight;
  int count;
  __device__ __forceinline__ int taps() const { return count; }
  __device__ __forceinline__ float operator[](int t) const { return weight[t]; }
};

// sum += weight x; a pixel that is not inside is not read.
template <int N, class T>
__device__ __forceinline__ void add_pixel(const T* __restrict__ x, bool inside, float weight, float (&sum)[N]) {
  float v[N] = {};
  if (inside) {
    rt_load(x, v);
  }
#pragma unroll
  for (int j = 0; j < N; j++) {
    sum[j] += weight * v[j];
  }
}

__device__ __forceinline__ bool within(int i, int extent) { return i >= 0 && i < extent; }

template <int N, class F, class T>
__device__ __forceinline__ void down(const T* __restrict__ x, T* __restrict__ y, const F& filter, const rt_extents& fine,
                                     const rt_extents& coarse) {
  const int taps = filter.taps();
  const int pad = (taps - 1) / 2;
  rt_for_pixels<N>(coarse, [&](const rt_pixel& to) {
    const int top = 2 * to.row - pad;
    const int left = 2 * to.column - pad;
    const T* line = x + rt_pixel{to.image, top, left, to.channel}.in(fine);
    float sum[N] = {};
#pragma unroll F::kUnrolled == 2 ? 2 : 1
    for (int s = 0; s < taps; s++, line += fine.offset(1, 0)) {
      const bool in_line = within(top + s, fine.height);
      float across[N] = {};
#pragma unroll F::kUnrolled
      for (int t = 0; t < taps; t++) {
        add_pixel(line + fine.offset(0, t), in_line && within(left + t, fine.width), filter[t], across);
      }
#pragma unroll
      for (int j = 0; j < N; j++) {
        sum[j] += filter[s] * across[j];
      }
    }
    rt_store(y + to.in(coarse), sum);
  });
}

template <int N, class F, class T>
__device__ __forceinline__ void up(const T* __restrict__ x, T* __restrict__ y, const F& filter, const rt_extents& coarse,
                                   const rt_extents& fine) {
  const int taps = filter.taps();
  const int pad = (taps - 1) / 2;
  rt_for_pixels<N>(fine, [&](const rt_pixel& to) {
    // Pixel i meets tap `to + pad - 2 i`: those of one parity, the nearest pixel the first.
    const int odd_row = (to.row + pad) & 1;
    const int odd_column = (to.column + pad) & 1;
    float sum[N] = {};
#pragma unroll F::kUnrolled
    for (int s = 0; 2 * s < taps; s++) {
      const int row = (to.row + pad) / 2 - s;
      const bool in_line = within(row, coarse.height) && 2 * s + odd_row < taps;
#pragma unroll F::kUnrolled
      for (int t = 0; 2 * t < taps; t++) {
        const int column = (to.column + pad) / 2 - t;
        const bool inside = in_line && within(column, coarse.width) && 2 * t + odd_column < taps;
        const float weight = inside ? filter[2 * s + odd_row] * filter[2 * t + odd_column] : 0.0f;
        add_pixel(x + rt_pixel{to.image, row, column, to.channel}.in(coarse), inside, weight, sum);
      }
    }
    rt_store(y + to.in(fine), sum);
  });
}

// A filter as it is passed: two or four taps by value, others in memory.
struct Taps {
  const float* weights;
  float w0, w1, w2, w3;
  int count;
};

// Calls body with the pack and the filter.
template <class T, class Body>
__device__ __forceinline__ void with_filter(const Taps& taps, bool aligned, int channels, Body body) {
  constexpr int N = RT_WIDTH<T>;
  constexpr std::integral_constant<int, N> whole;
  constexpr std::integral_constant<int, 1> one;
  const bool packed = aligned && channels % N == 0;
  if (packed && taps.count == 2) {
    body(whole, Filter<2>{{taps.w0, taps.w1}});
  } else if (packed && taps.count == 4) {
    body(whole, Filter<4>{{taps.w0, taps.w1, taps.w2, taps.w3}});
  } else if (taps.count == 2) {
    body(one, Filter<2>{{taps.w0, taps.w1}});
  } else if (taps.count == 4) {
    body(one, Filter<4>{{taps.w0, taps.w1, taps.w2, taps.w3}});
  } else if (packed) {
    body(whole, Filter<0>{taps.weights, taps.count});
  } else {
    body(one, Filter<0>{taps.weights, taps.count});
  }
}

}  // namespace

// x and y are what is read and what is written.
#define RT_RESAMPLE(direction, suffix, T)                                                                            \
  RT_KERNEL_OCCUPANCY(rt_resample_##direction##_##suffix, 256, 4,                                                    \
                      (const T* __restrict__ x, T* __restrict__ y, const float* __restrict__ weights, float w0,      \
                       float w1, float w2, float w3, std::int32_t taps, std::int64_t x_height, std::int64_t x_width, \
                       std::int64_t y_height, std::int64_t y_width, std::int64_t channels)) {                        \
    const rt_extents from = rt_extents_of(x_height, x_width, channels);                                              \
    const rt_extents to = rt_extents_of(y_height, y_width, channels);                                                \
    with_filter<T>(Taps{weights, w0, w1, w2, w3, taps}, rt_aligned(x, y), from.channels,                             \
                   [&](auto n, const auto& filter) { direction<n.value>(x, y, filter, from, to); });                 \
  }

RT_RESAMPLE(down, f32, float)
RT_RESAMPLE(down, bf16, rt_bf16)
RT_RESAMPLE(up, f32, float)
RT_RESAMPLE(up, bf16, rt_bf16)
