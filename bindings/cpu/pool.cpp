// pool.cpp   mean or maximum over kernel x kernel windows at distance stride, windows inside the image
// shapes    x,dx (N,H,W,C), y,dy (N,OH,OW,C) f32 or bf16
// how       mean: a separable sparse map (axis_map.h), backward is its transpose. Maximum: vectors over channels; backward
//           finds the first maximum of each window again (nothing saved) and adds in f32, one task an image, so that
//           overlapping windows need no atomics.
// numerics  f32 sums in a fixed order; comparisons are exact
// traffic   forward reads x, writes y; backward of the maximum reads x and dy, writes dx: memory-bound
// measured  2 cores Zen 5, 32x32x32x128 f32, window 2: mean 0.15 ms either way (21 MB from L3), maximum forward 0.40 ms,
//           backward 0.9 ms (42 GB/s)
// limits    1 <= kernel <= H, W; stride >= 1
#include "retort/pool.h"

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "cpu/axis_map.h"
#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/registry.h"

namespace {

using std::int64_t;

constexpr int64_t WIDTH = 64;  // channels at once: their maxima and positions stay in L1

int64_t windows(int64_t extent, int64_t kernel, int64_t stride) { return (extent - kernel) / stride + 1; }

std::vector<rt::AxisMap::Entry> mean_entries(int64_t extent, int64_t kernel, int64_t stride) {
  std::vector<rt::AxisMap::Entry> entries;
  for (int64_t out = 0; out < windows(extent, kernel, stride); ++out) {
    for (int64_t t = 0; t < kernel; ++t) {
      entries.push_back({out, out * stride + t, 1.0f / static_cast<float>(kernel)});
    }
  }
  return entries;
}

rt::AxisMap mean_map(int64_t extent, int64_t kernel, int64_t stride) {
  return {extent, windows(extent, kernel, stride), mean_entries(extent, kernel, stride)};
}

rt::AxisMap mean_adjoint(int64_t extent, int64_t kernel, int64_t stride) {
  return rt::AxisMap::transposed(extent, windows(extent, kernel, stride), mean_entries(extent, kernel, stride));
}

struct Windows {
  int64_t n, height, width, channels, kernel, stride;

  int64_t rows() const { return windows(height, kernel, stride); }
  int64_t columns() const { return windows(width, kernel, stride); }
  int64_t work() const { return n * rows() * columns() * channels * kernel * kernel; }
};

// Maximum of `count` <= WIDTH channels over one window and the tap where it first stands; a NaN wins and stays.
template <class T>
void window_maximum(const Windows& s, const T* corner, int64_t count, float* best, int32_t* position) {
  for (int64_t j = 0; j < count; ++j) {
    best[j] = rt::load(corner + j);
    position[j] = 0;
  }
  int32_t t = 0;
  for (int64_t row = 0; row < s.kernel; ++row) {
    const T* tap = corner + row * s.width * s.channels;
    for (int64_t column = 0; column < s.kernel; ++column, ++t, tap += s.channels) {
      for (int64_t j = 0; j < count; ++j) {
        const float value = rt::load(tap + j);
        const bool wins = (value > best[j]) | ((value != value) & (best[j] == best[j]));
        best[j] = wins ? value : best[j];
        position[j] = wins ? t : position[j];
      }
    }
  }
}

template <class T>
void max_forward(const Windows& s, const T* x, T* y) {
  const int64_t rows = s.n * s.rows();
#pragma omp parallel for schedule(static) if (s.work() > RT_PARALLEL_MIN)
  for (int64_t row = 0; row < rows; ++row) {
    float best[WIDTH];
    int32_t position[WIDTH];
    const T* const line = x + (row / s.rows() * s.height + row % s.rows() * s.stride) * s.width * s.channels;
    for (int64_t column = 0; column < s.columns(); ++column) {
      for (int64_t c = 0; c < s.channels; c += WIDTH) {
        const int64_t count = std::min(WIDTH, s.channels - c);
        window_maximum(s, line + column * s.stride * s.channels + c, count, best, position);
        for (int64_t j = 0; j < count; ++j) {
          rt::store(y + (row * s.columns() + column) * s.channels + c + j, best[j]);
        }
      }
    }
  }
}

// Adds dy of every window of one image to `gradient` (H, W, C).
template <class T>
void scatter(const Windows& s, const T* x, const T* dy, float* gradient) {
  float best[WIDTH];
  int32_t position[WIDTH];
  for (int64_t row = 0; row < s.rows(); ++row) {
    for (int64_t column = 0; column < s.columns(); ++column) {
      for (int64_t c = 0; c < s.channels; c += WIDTH) {
        const int64_t count = std::min(WIDTH, s.channels - c);
        const int64_t corner = (row * s.stride * s.width + column * s.stride) * s.channels + c;
        const T* const out = dy + (row * s.columns() + column) * s.channels + c;
        window_maximum(s, x + corner, count, best, position);
        int32_t t = 0;
        for (int64_t i = 0; i < s.kernel; ++i) {
          float* tap = gradient + corner + i * s.width * s.channels;
          for (int64_t k = 0; k < s.kernel; ++k, ++t, tap += s.channels) {
#pragma GCC ivdep
            for (int64_t j = 0; j < count; ++j) {
              tap[j] += position[j] == t ? rt::load(out + j) : 0.0f;
            }
          }
        }
      }
    }
  }
}

template <class T>
void max_backward(const Windows& s, const T* x, const T* dy, T* dx) {
  constexpr bool DIRECT = std::is_same_v<T, float>;
  const int64_t image = s.height * s.width * s.channels;
  const int team = s.work() > RT_PARALLEL_MIN ? omp_get_max_threads() : 1;
  std::vector<float> scratch(static_cast<std::size_t>(DIRECT ? 0 : image * team));
#pragma omp parallel for schedule(static) num_threads(team)
  for (int64_t sample = 0; sample < s.n; ++sample) {
    float* gradient = nullptr;
    if constexpr (DIRECT) {
      gradient = dx + sample * image;
    } else {
      gradient = scratch.data() + omp_get_thread_num() * image;
    }
    std::fill_n(gradient, image, 0.0f);
    scatter(s, x + sample * image, dy + sample * s.rows() * s.columns() * s.channels, gradient);
    if constexpr (!DIRECT) {
      for (int64_t i = 0; i < image; ++i) {
        rt::store(dx + sample * image + i, gradient[i]);
      }
    }
  }
}

}  // namespace

rt_status rt_avg_pool_forward(const void* x, void* y, int64_t n, int64_t height, int64_t width, int64_t channels,
                              int64_t kernel, int64_t stride, int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      rt::apply(mean_map(height, kernel, stride), mean_map(width, kernel, stride), static_cast<const T*>(x),
                static_cast<T*>(y), n, channels);
    });
  });
}
RT_EXPORT(rt_avg_pool_forward);

rt_status rt_avg_pool_backward(const void* dy, void* dx, int64_t n, int64_t height, int64_t width, int64_t channels,
                               int64_t kernel, int64_t stride, int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      rt::apply(mean_adjoint(height, kernel, stride), mean_adjoint(width, kernel, stride), static_cast<const T*>(dy),
                static_cast<T*>(dx), n, channels);
    });
  });
}
RT_EXPORT(rt_avg_pool_backward);

rt_status rt_max_pool_forward(const void* x, void* y, int64_t n, int64_t height, int64_t width, int64_t channels,
                              int64_t kernel, int64_t stride, int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      max_forward(Windows{n, height, width, channels, kernel, stride}, static_cast<const T*>(x), static_cast<T*>(y));
    });
  });
}
RT_EXPORT(rt_max_pool_forward);

rt_status rt_max_pool_backward(const void* x, const void* dy, void* dx, int64_t n, int64_t height, int64_t width,
                               int64_t channels, int64_t kernel, int64_t stride, int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      max_backward(Windows{n, height, width, channels, kernel, stride}, static_cast<const T*>(x),
                   static_cast<const T*>(dy), static_cast<T*>(dx));
    });
  });
}
RT_EXPORT(rt_max_pool_backward);
