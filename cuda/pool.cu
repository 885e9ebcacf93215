// pool.cu   mean or maximum over kernel x kernel windows at distance stride, windows inside the image, and their gradients
// shapes    x,dx (N,H,W,C), y,dy (N,OH,OW,C)
// launch    common/lines.cuh over the lines of what is written, a thread 16 bytes of channels
// numerics  f32 sums in a fixed order; a gradient is gathered: each pixel asks the windows that hold it, in reading order
// traffic   forward reads x and writes y, the mean's gradient reads dy and writes dx: memory-bound, (1 + 1/stride^2) times
//           x's bytes at 3.0 TB/s on an H100, expected 85%. The maximum's gradient reads x, dy and writes dx, and to do
//           so kernel^2 pixels of each of the (kernel/stride)^2 windows that hold a pixel, all but one from L1: memory-bound
//           for kernel 2 and stride 2, bound by L1 for overlapping windows
// measured  not measured yet
// spills    none
// limits    those of common/lines.cuh; element-wise accesses where C is no multiple of 16 bytes or a pointer not aligned
// source    retort/pool.h

#include "common/lines.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

struct Windows {
  rt_extents x, y;
  int kernel, stride;
};

// Windows along one axis that hold a pixel.
struct Holders {
  int first, last;
};

// K is kernel and stride, or 0 where only s tells; constants spare a thread its divisions.
template <int K>
__device__ __forceinline__ int kernel_of(const Windows& s) {
  return K > 0 ? K : s.kernel;
}

template <int K>
__device__ __forceinline__ int stride_of(const Windows& s) {
  return K > 0 ? K : s.stride;
}

template <int K>
__device__ __forceinline__ Holders holders(int position, int windows, const Windows& s) {
  const unsigned kernel = static_cast<unsigned>(kernel_of<K>(s));
  const unsigned stride = static_cast<unsigned>(stride_of<K>(s));
  const unsigned at = static_cast<unsigned>(position);
  const int last = static_cast<int>(at / stride);
  return {at < kernel ? 0 : static_cast<int>((at - kernel) / stride) + 1, last < windows ? last : windows - 1};
}

// The first pixel of a window.
template <int K>
__device__ __forceinline__ rt_pixel corner_of(const rt_pixel& window, const Windows& s) {
  const int stride = stride_of<K>(s);
  return {window.image, window.row * stride, window.column * stride, window.channel};
}

// Whether a maximum prefers a to b: the larger, but a NaN before all.
__device__ __forceinline__ bool beats(float a, float b) { return a > b || (a != a && b == b); }

template <int N, int K, class T>
__device__ __forceinline__ void mean(const T* __restrict__ x, T* __restrict__ y, const Windows& s) {
  const int kernel = kernel_of<K>(s);
  const float share = 1.0f / (static_cast<float>(kernel) * static_cast<float>(kernel));
  rt_for_pixels<N>(s.y, [&](const rt_pixel& to) {
    const T* line = x + corner_of<K>(to, s).in(s.x);
    float sum[N] = {};
    for (int i = 0; i < kernel; i++, line += s.x.width * s.x.channels) {
      for (int k = 0; k < kernel; k++) {
        float v[N];
        rt_load(line + k * s.x.channels, v);
#pragma unroll
        for (int j = 0; j < N; j++) {
          sum[j] += v[j];
        }
      }
    }
#pragma unroll
    for (int j = 0; j < N; j++) {
      sum[j] *= share;
    }
    rt_store(y + to.in(s.y), sum);
  });
}

template <int N, int K, class T>
__device__ __forceinline__ void mean_gradient(const T* __restrict__ dy, T* __restrict__ dx, const Windows& s) {
  const int kernel = kernel_of<K>(s);
  const float share = 1.0f / (static_cast<float>(kernel) * static_cast<float>(kernel));
  rt_for_pixels<N>(s.x, [&](const rt_pixel& to) {
    const Holders down = holders<K>(to.row, s.y.height, s);
    const Holders across = holders<K>(to.column, s.y.width, s);
    float sum[N] = {};
#pragma unroll 1
    for (int row = down.first; row <= down.last; row++) {
#pragma unroll 1
      for (int column = across.first; column <= across.last; column++) {
        float g[N];
        rt_load(dy + rt_pixel{to.image, row, column, to.channel}.in(s.y), g);
#pragma unroll
        for (int j = 0; j < N; j++) {
          sum[j] += g[j];
        }
      }
    }
#pragma unroll
    for (int j = 0; j < N; j++) {
      sum[j] *= share;
    }
    rt_store(dx + to.in(s.x), sum);
  });
}

template <int N, int K, class T>
__device__ __forceinline__ void maximum(const T* __restrict__ x, T* __restrict__ y, const Windows& s) {
  const int kernel = kernel_of<K>(s);
  rt_for_pixels<N>(s.y, [&](const rt_pixel& to) {
    const T* line = x + corner_of<K>(to, s).in(s.x);
    float best[N];
    rt_load(line, best);
    for (int i = 0; i < kernel; i++, line += s.x.width * s.x.channels) {
      for (int k = 0; k < kernel; k++) {
        float v[N];
        rt_load(line + k * s.x.channels, v);
#pragma unroll
        for (int j = 0; j < N; j++) {
          best[j] = beats(v[j], best[j]) ? v[j] : best[j];
        }
      }
    }
    rt_store(y + to.in(s.y), best);
  });
}

// Clears first[j] where the pixel with the values `own` is not the first maximum of the window that begins at `corner`;
// `position` is its place in the window, in reading order.
template <int N, int K, class T>
__device__ __forceinline__ void keep_maxima(const T* __restrict__ corner, int position, const float (&own)[N],
                                            bool (&first)[N], const Windows& s) {
  const int kernel = kernel_of<K>(s);
  for (int i = 0, t = 0; i < kernel; i++) {
    for (int k = 0; k < kernel; k++, t++) {
      float v[N];
      rt_load(corner + s.x.offset(i, k), v);
#pragma unroll
      for (int j = 0; j < N; j++) {
        first[j] = first[j] && (t < position ? beats(own[j], v[j]) : !beats(v[j], own[j]));
      }
    }
  }
}

template <int N, int K, class T>
__device__ __forceinline__ void maximum_gradient(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx,
                                                 const Windows& s) {
  const int kernel = kernel_of<K>(s);
  rt_for_pixels<N>(s.x, [&](const rt_pixel& to) {
    const Holders down = holders<K>(to.row, s.y.height, s);
    const Holders across = holders<K>(to.column, s.y.width, s);
    const std::int64_t here = to.in(s.x);
    float own[N];
    rt_load(x + here, own);
    float sum[N] = {};
#pragma unroll 1
    for (int row = down.first; row <= down.last; row++) {
#pragma unroll 1
      for (int column = across.first; column <= across.last; column++) {
        const rt_pixel window{to.image, row, column, to.channel};
        const rt_pixel corner = corner_of<K>(window, s);
        bool first[N];
#pragma unroll
        for (int j = 0; j < N; j++) {
          first[j] = true;
        }
        keep_maxima<N, K>(x + corner.in(s.x), (to.row - corner.row) * kernel + to.column - corner.column, own, first, s);
        float g[N];
        rt_load(dy + window.in(s.y), g);
#pragma unroll
        for (int j = 0; j < N; j++) {
          sum[j] += first[j] ? g[j] : 0.0f;
        }
      }
    }
    rt_store(dx + here, sum);
  });
}

// Calls body with the pack and, for a halving, kernel and stride as constants.
template <class T, class Body>
__device__ __forceinline__ void with_constants(const Windows& s, bool aligned, Body body) {
  constexpr int N = RT_WIDTH<T>;
  const bool packed = aligned && s.x.channels % N == 0;
  if (packed && s.kernel == 2 && s.stride == 2) {
    body(std::integral_constant<int, N>{}, std::integral_constant<int, 2>{});
  } else if (packed) {
    body(std::integral_constant<int, N>{}, std::integral_constant<int, 0>{});
  } else {
    body(std::integral_constant<int, 1>{}, std::integral_constant<int, 0>{});
  }
}

}  // namespace

// Four blocks on a multiprocessor: 64 registers, without which ptxas spills for the sake of more blocks.
#define RT_POOL_KERNEL(name, parameters) RT_KERNEL_OCCUPANCY(name, 256, 4, parameters)

#define RT_POOL_SIZES                                                                                      \
  std::int64_t height, std::int64_t width, std::int64_t channels, std::int64_t rows, std::int64_t columns, \
      std::int32_t kernel, std::int32_t stride

// height and width are those of x, rows and columns those of y.
#define RT_POOL(suffix, T)                                                                                           \
  RT_POOL_KERNEL(rt_avg_pool_##suffix, (const T* __restrict__ x, T* __restrict__ y, RT_POOL_SIZES)) {                \
    const Windows s{rt_extents_of(height, width, channels), rt_extents_of(rows, columns, channels), kernel, stride}; \
    with_constants<T>(s, rt_aligned(x, y), [&](auto n, auto k) { mean<n.value, k.value>(x, y, s); });                \
  }                                                                                                                  \
  RT_POOL_KERNEL(rt_avg_pool_gradient_##suffix, (const T* __restrict__ dy, T* __restrict__ dx, RT_POOL_SIZES)) {     \
    const Windows s{rt_extents_of(height, width, channels), rt_extents_of(rows, columns, channels), kernel, stride}; \
    with_constants<T>(s, rt_aligned(dy, dx), [&](auto n, auto k) { mean_gradient<n.value, k.value>(dy, dx, s); });   \
  }                                                                                                                  \
  RT_POOL_KERNEL(rt_max_pool_##suffix, (const T* __restrict__ x, T* __restrict__ y, RT_POOL_SIZES)) {                \
    const Windows s{rt_extents_of(height, width, channels), rt_extents_of(rows, columns, channels), kernel, stride}; \
    with_constants<T>(s, rt_aligned(x, y), [&](auto n, auto k) { maximum<n.value, k.value>(x, y, s); });             \
  }                                                                                                                  \
  RT_POOL_KERNEL(rt_max_pool_gradient_##suffix,                                                                      \
                 (const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx, RT_POOL_SIZES)) {           \
    const Windows s{rt_extents_of(height, width, channels), rt_extents_of(rows, columns, channels), kernel, stride}; \
    with_constants<T>(s, rt_aligned(x, dy, dx),                                                                      \
                      [&](auto n, auto k) { maximum_gradient<n.value, k.value>(x, dy, dx, s); });                    \
  }

RT_POOL(f32, float)
RT_POOL(bf16, rt_bf16)
