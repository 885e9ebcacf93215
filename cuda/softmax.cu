// softmax.cu   y = exp(x - max) / sum exp(x - max), and loss = mean(log sum exp x - x[label])
// shapes    x, y, dx, dy (rows, classes) f32 or bf16; probabilities (rows, classes) f32; labels (rows) int64; loss, g one f32
// launch    blocks of 256. _warp: one warp a row, grid rows / 8, at most 1024 classes. _block: blocks stride over rows of any
//           length. cross_entropy_mean: one block. cross_entropy_gradient: any one-dimensional grid, a thread takes 16 bytes
//           of dx
// numerics  float32 along a row: the maximum is taken off first, so no exponential overflows, and the exponential is the one of
//           math/exp.h; the losses of the rows are added in float64
// order     lanes stride over a row, then a butterfly over the warp or block: set by the number of classes and the alignment
// traffic   memory-bound, floor = bytes / bandwidth. _warp keeps the row in registers: forward reads x and writes y, backward
//           reads y and dy and writes dx. An exponential is 25 FLOP: f32 at an H100's 3.0 TB/s asks for 9 TFLOP/s, a sixth of
//           its rate, bf16 for a third. Expected 85% of bandwidth from about 4096 rows on, launch-bound below. _block reads
//           its inputs twice, the second time from the second-level cache if the rows in flight fit there
// measured  not measured yet
// spills    none
// limits    rows, classes >= 1; a row of only -inf gives NaN; a label outside [0, classes) makes the loss NaN and is reported
//           (common/fault.cuh), nothing is read by it. `packed`: rows are 16-byte aligned
// source    retort/softmax.h; Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", for _block

#include <cmath>

#include "common/fault.cuh"
#include "common/reduce.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"
#include "math/exp.h"

namespace {

constexpr int kThreads = 256;
constexpr int kShort = 8;  // elements of a row that a lane keeps, for at most 256 classes
constexpr int kLong = 32;  // and for at most 1024

// Below every logit but -inf, and finite: -inf less itself would be NaN.
constexpr float kLowest = rt_larger::identity;

// What the loss needs of a row.
struct RowSum {
  float largest;
  float sum;  // of exp(x - largest)
};

// --- a row in the registers of a warp --------------------------------------------------------------------

// N elements a lane, W neighbours at a time; beyond the end of the row they are `otherwise`.
template <int W, int N, class T>
__device__ __forceinline__ void load_row(const T* row, std::int64_t classes, float (&v)[N], float otherwise) {
#pragma unroll
  for (int j = 0; j < N; j += W) {
    const std::int64_t i = j * 32 + rt_lane() * W;
    float pack[W];
#pragma unroll
    for (int k = 0; k < W; k++) {
      pack[k] = otherwise;
    }
    if (i < classes) {
      rt_load(row + i, pack);
    }
#pragma unroll
    for (int k = 0; k < W; k++) {
      v[j + k] = pack[k];
    }
  }
}

template <int W, int N, class T>
__device__ __forceinline__ void store_row(T* row, std::int64_t classes, const float (&v)[N]) {
#pragma unroll
  for (int j = 0; j < N; j += W) {
    const std::int64_t i = j * 32 + rt_lane() * W;
    float pack[W];
#pragma unroll
    for (int k = 0; k < W; k++) {
      pack[k] = v[j + k];
    }
    if (i < classes) {
      rt_store(row + i, pack);
    }
  }
}

template <int W, int N, class T, class Y>
__device__ __forceinline__ RowSum softmax_row(const T* x, Y* y, std::int64_t classes) {
  float v[N];
  load_row<W>(x, classes, v, -INFINITY);
  float largest = kLowest;
#pragma unroll
  for (int j = 0; j < N; j++) {
    largest = rt_larger{}(largest, v[j]);
  }
  largest = rt_warp_max(largest);
  float sum = 0;
#pragma unroll
  for (int j = 0; j < N; j++) {
    v[j] = rt_exp(v[j] - largest);
    sum += v[j];
  }
  sum = rt_warp_sum(sum);
  const float scale = 1.0f / sum;
#pragma unroll
  for (int j = 0; j < N; j++) {
    v[j] *= scale;
  }
  store_row<W>(y, classes, v);
  return {largest, sum};
}

template <int W, int N, class T>
__device__ __forceinline__ void softmax_gradient_row(const T* y, const T* dy, T* dx, std::int64_t classes) {
  float probability[N];
  float gradient[N];
  load_row<W>(y, classes, probability, 0.0f);
  load_row<W>(dy, classes, gradient, 0.0f);
  float dot = 0;
#pragma unroll
  for (int j = 0; j < N; j++) {
    dot += probability[j] * gradient[j];
  }
  dot = rt_warp_sum(dot);
#pragma unroll
  for (int j = 0; j < N; j++) {
    gradient[j] = probability[j] * (gradient[j] - dot);
  }
  store_row<W>(dx, classes, gradient);
}

// Calls body.run<W, N>() as the row and its alignment ask for.
template <int Pack, class Body>
__device__ __forceinline__ auto for_row(std::int64_t classes, bool packed, Body body) {
  if (classes <= kShort * 32) {
    return packed ? body.template run<Pack, kShort>() : body.template run<1, kShort>();
  }
  return packed ? body.template run<Pack, kLong>() : body.template run<1, kLong>();
}

template <class T, class Y>
struct SoftmaxRow {
  const T* x;
  Y* y;
  std::int64_t classes;
  template <int W, int N>
  __device__ __forceinline__ RowSum run() const {
    return softmax_row<W, N>(x, y, classes);
  }
};

template <class T>
struct SoftmaxGradientRow {
  const T* y;
  const T* dy;
  T* dx;
  std::int64_t classes;
  template <int W, int N>
  __device__ __forceinline__ void run() const {
    softmax_gradient_row<W, N>(y, dy, dx, classes);
  }
};

// The row of this warp.
__device__ __forceinline__ std::int64_t row_of_warp() {
  return static_cast<std::int64_t>(blockIdx.x) * (kThreads / 32) + rt_warp();
}

// --- a row of any length, a block for it -------------------------------------------------------------------

// Calls body(i) for the packs of W neighbours that are this thread's.
template <int W, class Body>
__device__ __forceinline__ void for_packs(std::int64_t classes, Body body) {
#pragma unroll 1
  for (std::int64_t i = threadIdx.x * W; i < classes; i += kThreads * W) {
    body(i);
  }
}

// Largest element and sum in one pass: what was summed is scaled down whenever a larger element turns up.
template <int W, class T>
__device__ __forceinline__ RowSum row_sum(const T* x, std::int64_t classes) {
  float largest = kLowest;
  float sum = 0;
  for_packs<W>(classes, [&](std::int64_t i) {
    float v[W];
    rt_load(x + i, v);
    float larger = largest;
#pragma unroll
    for (int k = 0; k < W; k++) {
      larger = rt_larger{}(larger, v[k]);
    }
    sum *= rt_exp(largest - larger);
#pragma unroll
    for (int k = 0; k < W; k++) {
      sum += rt_exp(v[k] - larger);
    }
    largest = larger;
  });
  const float most = rt_block_max(largest);
  return {most, rt_block_sum(sum * rt_exp(largest - most))};
}

template <int W, class T, class Y>
__device__ __forceinline__ RowSum softmax_long_row(const T* x, Y* y, std::int64_t classes) {
  const RowSum row = row_sum<W>(x, classes);
  const float scale = 1.0f / row.sum;
  for_packs<W>(classes, [&](std::int64_t i) {
    float v[W];
    rt_load(x + i, v);
#pragma unroll
    for (int k = 0; k < W; k++) {
      v[k] = rt_exp(v[k] - row.largest) * scale;
    }
    rt_store(y + i, v);
  });
  return row;
}

template <class T, class Y>
__device__ __forceinline__ RowSum softmax_long_row(const T* x, Y* y, std::int64_t classes, bool packed) {
  return packed ? softmax_long_row<RT_WIDTH<T>>(x, y, classes) : softmax_long_row<1>(x, y, classes);
}

template <int W, class T>
__device__ __forceinline__ void softmax_gradient_long_row(const T* y, const T* dy, T* dx, std::int64_t classes) {
  float dot = 0;
  for_packs<W>(classes, [&](std::int64_t i) {
    float probability[W];
    float gradient[W];
    rt_load(y + i, probability);
    rt_load(dy + i, gradient);
#pragma unroll
    for (int k = 0; k < W; k++) {
      dot += probability[k] * gradient[k];
    }
  });
  dot = rt_block_sum(dot);
  for_packs<W>(classes, [&](std::int64_t i) {
    float probability[W];
    float gradient[W];
    rt_load(y + i, probability);
    rt_load(dy + i, gradient);
#pragma unroll
    for (int k = 0; k < W; k++) {
      gradient[k] = probability[k] * (gradient[k] - dot);
    }
    rt_store(dx + i, gradient);
  });
}

// --- cross-entropy -----------------------------------------------------------------------------------------

// NaN for a label that is none.
template <class T>
__device__ __forceinline__ float loss_of_row(const T* x, RowSum row, std::int64_t label, std::int64_t classes) {
  return label >= 0 && label < classes ? logf(row.sum) - (rt_load(x + label) - row.largest) : NAN;
}

// dx = g / rows (p - [i = label]); N elements at a time lie in one row if `packed`.
template <class T>
__device__ __forceinline__ void cross_entropy_gradient(const float* __restrict__ probabilities,
                                                       const std::int64_t* __restrict__ labels,
                                                       const float* __restrict__ gradient, T* __restrict__ dx,
                                                       std::int64_t rows, std::int64_t classes, bool packed) {
  constexpr int N = RT_WIDTH<T>;
  const float scale = *gradient / static_cast<float>(rows);
  const std::int64_t n = rows * classes;
  if (packed) {
    for (std::int64_t i = rt_global_thread() * N; i < n; i += rt_global_threads() * N) {
      const std::int64_t row = i / classes;
      const std::int64_t label = labels[row] - (i - row * classes);
      float v[N];
      rt_load(probabilities + i, v);
#pragma unroll
      for (int k = 0; k < N; k++) {
        v[k] = scale * (label == k ? v[k] - 1.0f : v[k]);
      }
      rt_store(dx + i, v);
    }
  } else {
    for (std::int64_t i = rt_global_thread(); i < n; i += rt_global_threads()) {
      const std::int64_t row = i / classes;
      const float p = probabilities[i];
      rt_store(dx + i, scale * (labels[row] == i - row * classes ? p - 1.0f : p));
    }
  }
}

// Sum over the block, for every thread.
__device__ __forceinline__ double block_sum(double value) {
  RT_SHARED(double[kThreads / 32], partial);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(RT_FULL_WARP, value, distance);
  }
  if (rt_lane() == 0) {
    partial[rt_warp()] = value;
  }
  __syncthreads();
  double total = 0;
#pragma unroll
  for (int warp = 0; warp < kThreads / 32; warp++) {
    total += partial[warp];
  }
  return total;
}

}  // namespace

#define RT_SOFTMAX(suffix, T)                                                                                          \
  RT_KERNEL(rt_softmax_warp_##suffix, (const T* __restrict__ x, T* __restrict__ y, std::int64_t rows,                  \
                                       std::int64_t classes, std::int32_t packed)) {                                   \
    const std::int64_t at = row_of_warp() * classes;                                                                   \
    if (at < rows * classes) {                                                                                         \
      for_row<RT_WIDTH<T>>(classes, packed != 0, SoftmaxRow<T, T>{x + at, y + at, classes});                           \
    }                                                                                                                  \
  }                                                                                                                    \
  RT_KERNEL(rt_softmax_block_##suffix, (const T* __restrict__ x, T* __restrict__ y, std::int64_t rows,                 \
                                        std::int64_t classes, std::int32_t packed)) {                                  \
    for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {                                                \
      softmax_long_row(x + row * classes, y + row * classes, classes, packed != 0);                                    \
    }                                                                                                                  \
  }                                                                                                                    \
  RT_KERNEL(rt_softmax_gradient_warp_##suffix,                                                                         \
            (const T* __restrict__ y, const T* __restrict__ dy, T* __restrict__ dx, std::int64_t rows,                 \
             std::int64_t classes, std::int32_t packed)) {                                                             \
    const std::int64_t at = row_of_warp() * classes;                                                                   \
    if (at < rows * classes) {                                                                                         \
      for_row<RT_WIDTH<T>>(classes, packed != 0, SoftmaxGradientRow<T>{y + at, dy + at, dx + at, classes});            \
    }                                                                                                                  \
  }                                                                                                                    \
  RT_KERNEL(rt_softmax_gradient_block_##suffix,                                                                        \
            (const T* __restrict__ y, const T* __restrict__ dy, T* __restrict__ dx, std::int64_t rows,                 \
             std::int64_t classes, std::int32_t packed)) {                                                             \
    for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {                                                \
      const std::int64_t at = row * classes;                                                                           \
      if (packed != 0) {                                                                                               \
        softmax_gradient_long_row<RT_WIDTH<T>>(y + at, dy + at, dx + at, classes);                                     \
      } else {                                                                                                         \
        softmax_gradient_long_row<1>(y + at, dy + at, dx + at, classes);                                               \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
  RT_KERNEL(rt_cross_entropy_warp_##suffix,                                                                            \
            (const T* __restrict__ x, const std::int64_t* __restrict__ labels, float* __restrict__ losses,             \
             float* __restrict__ probabilities, std::int64_t rows, std::int64_t classes, std::int32_t packed)) {       \
    const std::int64_t row = row_of_warp();                                                                            \
    if (row < rows) {                                                                                                  \
      const T* const logits = x + row * classes;                                                                       \
      const SoftmaxRow<T, float> softmax{logits, probabilities + row * classes, classes};                              \
      const RowSum sum = for_row<RT_WIDTH<T>>(classes, packed != 0, softmax);                                          \
      if (rt_lane() == 0) {                                                                                            \
        losses[row] = loss_of_row(logits, sum, labels[row], classes);                                                  \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
  RT_KERNEL(rt_cross_entropy_block_##suffix,                                                                           \
            (const T* __restrict__ x, const std::int64_t* __restrict__ labels, float* __restrict__ losses,             \
             float* __restrict__ probabilities, std::int64_t rows, std::int64_t classes, std::int32_t packed)) {       \
    for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {                                                \
      const T* const logits = x + row * classes;                                                                       \
      const RowSum sum = softmax_long_row(logits, probabilities + row * classes, classes, packed != 0);                \
      if (threadIdx.x == 0) {                                                                                          \
        losses[row] = loss_of_row(logits, sum, labels[row], classes);                                                  \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
  RT_KERNEL(rt_cross_entropy_gradient_##suffix,                                                                        \
            (const float* __restrict__ probabilities, const std::int64_t* __restrict__ labels,                         \
             const float* __restrict__ gradient, T* __restrict__ dx, std::int64_t rows, std::int64_t classes,          \
             std::int32_t packed)) {                                                                                   \
    cross_entropy_gradient(probabilities, labels, gradient, dx, rows, classes, packed != 0);                           \
  }

RT_SOFTMAX(f32, float)
RT_SOFTMAX(bf16, rt_bf16)

// loss = mean of losses, and a report of the first label that is none.
RT_KERNEL(rt_cross_entropy_mean, (const float* __restrict__ losses, const std::int64_t* __restrict__ labels,
                                  float* __restrict__ loss, std::int64_t rows, std::int64_t classes, rt_fault* fault)) {
  RT_SHARED(unsigned long long, first_bad);
  if (threadIdx.x == 0) {
    first_bad = static_cast<unsigned long long>(rows);
  }
  __syncthreads();
  double total = 0;
  for (std::int64_t row = threadIdx.x; row < rows; row += kThreads) {
    total += static_cast<double>(losses[row]);
    if (labels[row] < 0 || labels[row] >= classes) {
      atomicMin(&first_bad, static_cast<unsigned long long>(row));
    }
  }
  total = block_sum(total);  // its barrier is behind every atomicMin
  if (threadIdx.x == 0) {
    *loss = static_cast<float>(total / static_cast<double>(rows));
    const auto row = static_cast<std::int64_t>(first_bad);
    if (row < rows) {
      rt_report(fault, RT_FAULT_LABEL, row, labels[row], classes);
    }
  }
}
