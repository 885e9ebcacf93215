// reduction.cu   out_k = scale sum_d x_kd,   out_k = scale sum_d x_kd y_kd,   out_kd = scale small_k
// shapes    large (k0,d0,k1,d1,k2,d2), small (k0,k1,k2); x, y, small and out f32 or bf16, x and y of one type
// launch    blocks of 256. rows (d2 = 1): grid.x = columns of k2 in tiles of `width` threads, times units (k0,k1); the other
//           256 / width threads take rows. runs: grid.x = small elements, `width` threads each: a power of two up to 32, or
//           the block. grid.y = slices of what one small element sums; more than one needs `partial`, a float64 for each
//           slice and small element, and `arrived` as common/last_block.cuh says. expand: any one-dimensional grid, a thread
//           takes 16 bytes of the narrower type
// numerics  neighbours within one thread (a 16-byte pack of a run, 4 rows of a column) are added as a float32 tree, these sums
//           and everything after them in float64, one rounding at the end. So a sum of any length keeps float32's precision
//           at a quarter of the conversions and float64 additions, which devices with few float64 units could not hide
// order     slices, tiles and threads come from the shape (CudaReduction), slices are added in order by the last block
// traffic   sums read each large array once, 1 FLOP an element: memory-bound, floor = bytes / bandwidth, 3.0 TB/s on an H100.
//           (64,32,32,256) f32 is 67 MB, floor 22 us; expected 85% of it: 512 blocks keep 64 KB a multiprocessor in flight,
//           three times latency times bandwidth, and the last block of a tile adds 16 KB of partial sums, at most 128 KB.
//           expand writes the large array once: floor = bytes / bandwidth, the divisions of a 16-byte pack fit below it
// measured  not measured yet
// spills    none
// limits    any extents; an empty sum is 0. `pack` is 1, or what one access takes: 4 (rows) or 16 bytes (runs), with x and y
//           16-byte aligned and k2 (rows) or d2 (runs, unless all is one run) a multiple of it
// source    retort/reduction.h

#include "common/last_block.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kColumns = 4;  // neighbours that a thread sums at once; eight float64 sums would cost occupancy
constexpr int kRows = 4;     // rows that a thread has in flight

// What is summed: N neighbours from element i on.
template <class T>
struct Value {
  const T* __restrict__ x;
  template <int N>
  __device__ __forceinline__ void read(std::int64_t i, float (&v)[N]) const {
    rt_load(x + i, v);
  }
};

template <class T>
struct Product {
  const T* __restrict__ x;
  const T* __restrict__ y;
  template <int N>
  __device__ __forceinline__ void read(std::int64_t i, float (&v)[N]) const {
    float factor[N];
    rt_load(x + i, v);
    rt_load(y + i, factor);
#pragma unroll
    for (int j = 0; j < N; j++) {
      v[j] *= factor[j];
    }
  }
};

// The shape of the large array.
struct Groups {
  std::int64_t d0, k1, d1, k2, d2;
};

// The rows (d0, d1) of one unit (k0, k1); a row has k2 d2 elements.
struct Rows {
  std::int64_t base, d1, skip, elements;

  __device__ __forceinline__ Rows(const Groups& g, std::int64_t unit)
      : base((unit / g.k1 * g.d0 * g.k1 + unit % g.k1) * g.d1),
        d1(g.d1),
        skip(g.d0 == 1 ? 0 : (g.k1 - 1) * g.d1),
        elements(g.k2 * g.d2) {}

  // First element of row r; after d1 rows come those of the other units.
  __device__ __forceinline__ std::int64_t operator[](std::int64_t r) const {
    return (base + r + (skip == 0 ? 0 : r / d1 * skip)) * elements;
  }
};

// Where sums go.
struct Target {
  void* out;
  bool bf16;
  double scale;
  std::int64_t kept;  // elements of out
  double* partial;    // (slices, kept)
  unsigned* arrived;  // a counter for each block of grid.x

  __device__ __forceinline__ void store(std::int64_t k, double total) const {
    const float value = static_cast<float>(scale * total);
    if (bf16) {
      rt_store(static_cast<rt_bf16*>(out) + k, value);
    } else {
      rt_store(static_cast<float*>(out) + k, value);
    }
  }
};

// [first, end) of this block's slice of n things.
struct Slice {
  std::int64_t first, end;
  __device__ __forceinline__ explicit Slice(std::int64_t n)
      : first(n * blockIdx.y / gridDim.y), end(n * (blockIdx.y + 1) / gridDim.y) {}
};

template <int N>
__device__ __forceinline__ float tree(float (&v)[N]) {
#pragma unroll
  for (int half = N / 2; half > 0; half /= 2) {
#pragma unroll
    for (int i = 0; i < half; i++) {
      v[i] += v[i + half];
    }
  }
  return v[0];
}

// --- rows: d2 = 1, neighbouring columns stay -----------------------------------------------------------

// Sum over the threads of each column, for thread 0 of the column.
template <int N>
__device__ __forceinline__ void add_down(double (&totals)[N], double* shared, int across) {
#pragma unroll
  for (int j = 0; j < N; j++) {
    shared[j * kThreads + threadIdx.x] = totals[j];
  }
  for (int half = kThreads / 2; half >= across; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) {
#pragma unroll
      for (int j = 0; j < N; j++) {
        totals[j] += shared[j * kThreads + threadIdx.x + half];
        shared[j * kThreads + threadIdx.x] = totals[j];
      }
    }
  }
  __syncthreads();
}

template <int N, class Source>
__device__ __forceinline__ void sum_rows(Source source, const Groups& g, const Target& target, int across,
                                         double* shared) {
  const int down = kThreads / across;
  const int first = static_cast<int>(threadIdx.x) / across;
  const std::int64_t tiles = (g.k2 + across * N - 1) / (across * N);
  const std::int64_t unit = blockIdx.x / tiles;
  const std::int64_t column = (blockIdx.x % tiles * across + threadIdx.x % across) * N;
  const bool inside = column < g.k2;
  double totals[N] = {};
  if (inside) {
    const Rows rows(g, unit);
    const Slice slice(g.d0 * g.d1);
    std::int64_t r = slice.first + first;
    for (; r + (kRows - 1) * down < slice.end; r += kRows * down) {
      float v[kRows][N];
#pragma unroll
      for (int i = 0; i < kRows; i++) {
        source.read(rows[r + i * down] + column, v[i]);
      }
#pragma unroll
      for (int j = 0; j < N; j++) {
        totals[j] += static_cast<double>((v[0][j] + v[1][j]) + (v[2][j] + v[3][j]));
      }
    }
    for (; r < slice.end; r += down) {
      float v[N];
      source.read(rows[r] + column, v);
#pragma unroll
      for (int j = 0; j < N; j++) {
        totals[j] += static_cast<double>(v[j]);
      }
    }
  }
  add_down(totals, shared, across);
  const std::int64_t k = unit * g.k2 + column;
  if (gridDim.y > 1) {
    if (inside && first == 0) {
#pragma unroll
      for (int j = 0; j < N; j++) {
        target.partial[blockIdx.y * target.kept + k + j] = totals[j];
      }
    }
    if (!rt_last_block(target.arrived + blockIdx.x, gridDim.y)) {
      return;
    }
#pragma unroll
    for (int j = 0; j < N; j++) {
      totals[j] = 0;
    }
    for (unsigned slice = first; inside && slice < gridDim.y; slice += down) {
#pragma unroll
      for (int j = 0; j < N; j++) {
        totals[j] += target.partial[slice * target.kept + k + j];
      }
    }
    add_down(totals, shared, across);
  }
  if (inside && first == 0) {
#pragma unroll
    for (int j = 0; j < N; j++) {
      target.store(k + j, totals[j]);
    }
  }
}

// --- runs: d2 neighbours are summed --------------------------------------------------------------------

// Sum over groups of `width` threads, a power of two up to 32, or the block; for every thread of the group.
__device__ __forceinline__ double add_across(double total, int width) {
  RT_SHARED(double[kWarps], warps);
  for (int distance = (width < 32 ? width : 32) / 2; distance > 0; distance /= 2) {
    total += __shfl_xor_sync(RT_FULL_WARP, total, distance);
  }
  if (width > 32) {
    __syncthreads();  // the sum before this one has been read
    if (rt_lane() == 0) {
      warps[rt_warp()] = total;
    }
    __syncthreads();
    total = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; warp++) {
      total += warps[warp];
    }
  }
  return total;
}

// This thread's part of the sum for small element k.
template <int N, class Source>
__device__ __forceinline__ double sum_of_runs(Source source, const Groups& g, std::int64_t k, int lane, int width) {
  const Rows rows(g, k / g.k2);
  const std::int64_t place = k % g.k2 * g.d2;
  const std::int64_t runs = g.d0 * g.d1;
  const std::int64_t packs = g.d2 / N;  // of one run
  const Slice slice(runs * packs);
  double total = 0;
#pragma unroll 4
  for (std::int64_t p = slice.first + lane; p < slice.end; p += width) {
    const std::int64_t run = runs == 1 ? 0 : p / packs;
    float v[N];
    source.read(rows[run] + place + (p - run * packs) * N, v);
    total += static_cast<double>(tree(v));
  }
  if (N > 1 && blockIdx.y == 0) {
    for (std::int64_t i = packs * N + lane; i < g.d2; i += width) {  // nothing but behind a single run
      float v[1];
      source.read(i, v);
      total += static_cast<double>(v[0]);
    }
  }
  return total;
}

template <int N, class Source>
__device__ __forceinline__ void sum_runs(Source source, const Groups& g, const Target& target, int width) {
  const int lane = static_cast<int>(threadIdx.x) % width;
  const std::int64_t k = static_cast<std::int64_t>(blockIdx.x) * (kThreads / width) + threadIdx.x / width;
  const bool inside = k < target.kept;
  double total = add_across(inside ? sum_of_runs<N>(source, g, k, lane, width) : 0.0, width);
  if (gridDim.y > 1) {
    if (inside && lane == 0) {
      target.partial[blockIdx.y * target.kept + k] = total;
    }
    if (!rt_last_block(target.arrived + blockIdx.x, gridDim.y)) {
      return;
    }
    total = 0;
    for (unsigned slice = lane; inside && slice < gridDim.y; slice += width) {
      total += target.partial[slice * target.kept + k];
    }
    total = add_across(total, width);
  }
  if (inside && lane == 0) {
    target.store(k, total);
  }
}

// --- expand --------------------------------------------------------------------------------------------

// The shape with indices of type I: 32 bits where the array allows it, for the sake of the divisions.
template <class I>
struct Repeats {
  I d0, k1, d1, k2, d2;

  // Element of small that belongs to element i of the large array.
  __device__ __forceinline__ I small(I i) const {
    const I column = i / d2 % k2;
    const I unit = i / (d2 * k2) / d1;
    return (unit / (d0 * k1) * k1 + unit % k1) * k2 + column;
  }
};

template <class I, class S, class Out>
__device__ __forceinline__ void expand(const S* __restrict__ small, Out* __restrict__ out, float scale, std::int64_t n,
                                       std::int64_t kept, const Repeats<I>& shape) {
  constexpr int N = std::is_same_v<S, float> && std::is_same_v<Out, float> ? 4 : 8;
  // A pack is N neighbours of small or, where a single element is repeated to whole packs, one.
  const bool neighbours = shape.d2 == 1 && shape.k2 % N == 0 && rt_aligned(small);
  const bool repeated = shape.d2 % N == 0 || kept == 1;
  const std::int64_t packs = rt_aligned(out) && (neighbours || repeated) ? n / N : 0;
  for (std::int64_t i = rt_global_thread(); i < packs; i += rt_global_threads()) {
    const S* const from = small + shape.small(static_cast<I>(i * N));
    float v[N];
    if (neighbours) {
      rt_load(from, v);
    } else {
      const float value = rt_load(from);
#pragma unroll
      for (int j = 0; j < N; j++) {
        v[j] = value;
      }
    }
#pragma unroll
    for (int j = 0; j < N; j++) {
      v[j] *= scale;
    }
    rt_store(out + i * N, v);
  }
  for (std::int64_t i = packs * N + rt_global_thread(); i < n; i += rt_global_threads()) {
    rt_store(out + i, scale * rt_load(small + shape.small(static_cast<I>(i))));
  }
}

template <class S, class Out>
__device__ __forceinline__ void expand(const S* __restrict__ small, Out* __restrict__ out, float scale, std::int64_t k0,
                                       const Groups& g) {
  const std::int64_t kept = k0 * g.k1 * g.k2;
  const std::int64_t n = kept * g.d0 * g.d1 * g.d2;
  if (n <= 0x7fffffff) {
    const auto narrow = [](std::int64_t extent) { return static_cast<std::uint32_t>(extent); };
    expand(small, out, scale, n, kept,
           Repeats<std::uint32_t>{narrow(g.d0), narrow(g.k1), narrow(g.d1), narrow(g.k2), narrow(g.d2)});
  } else {
    expand(small, out, scale, n, kept, Repeats<std::int64_t>{g.d0, g.k1, g.d1, g.k2, g.d2});
  }
}

}  // namespace

#define RT_SUM_PARAMETERS                                                                                            \
  void *__restrict__ out, std::int32_t out_bf16, double scale, std::int64_t d0, std::int64_t k1, std::int64_t d1,     \
      std::int64_t k2, std::int64_t d2, std::int64_t kept, std::int32_t pack, std::int32_t width, double *partial,   \
      unsigned *arrived

#define RT_SUM_ROWS(source)                                               \
  RT_SHARED(double[kColumns * kThreads], shared);                         \
  const Groups groups{d0, k1, d1, k2, d2};                                \
  const Target target{out, out_bf16 != 0, scale, kept, partial, arrived}; \
  if (pack > 1) {                                                         \
    sum_rows<kColumns>(source, groups, target, width, shared);             \
  } else {                                                                \
    sum_rows<1>(source, groups, target, width, shared);                   \
  }

#define RT_SUM_RUNS(source, T)                                            \
  const Groups groups{d0, k1, d1, k2, d2};                                \
  const Target target{out, out_bf16 != 0, scale, kept, partial, arrived}; \
  if (pack > 1) {                                                         \
    sum_runs<RT_WIDTH<T>>(source, groups, target, width);                 \
  } else {                                                                \
    sum_runs<1>(source, groups, target, width);                           \
  }

#define RT_REDUCTION(suffix, T)                                                                                      \
  RT_KERNEL(rt_sum_rows_##suffix, (const T* __restrict__ x, RT_SUM_PARAMETERS)) { RT_SUM_ROWS(Value<T>{x}) }          \
  RT_KERNEL(rt_sum_runs_##suffix, (const T* __restrict__ x, RT_SUM_PARAMETERS)) { RT_SUM_RUNS(Value<T>{x}, T) }       \
  RT_KERNEL(rt_sum_of_products_rows_##suffix,                                                                        \
            (const T* __restrict__ x, const T* __restrict__ y, RT_SUM_PARAMETERS)) {                                 \
    RT_SUM_ROWS((Product<T>{x, y}))                                                                                  \
  }                                                                                                                  \
  RT_KERNEL(rt_sum_of_products_runs_##suffix,                                                                        \
            (const T* __restrict__ x, const T* __restrict__ y, RT_SUM_PARAMETERS)) {                                 \
    RT_SUM_RUNS((Product<T>{x, y}), T)                                                                               \
  }

RT_REDUCTION(f32, float)
RT_REDUCTION(bf16, rt_bf16)

// The suffixes are the types of small and out.
#define RT_EXPAND(suffix, S, Out)                                                                                    \
  RT_KERNEL(rt_expand_##suffix,                                                                                      \
            (const S* __restrict__ small, Out* __restrict__ out, float scale, std::int64_t k0, std::int64_t d0,      \
             std::int64_t k1, std::int64_t d1, std::int64_t k2, std::int64_t d2)) {                                  \
    expand(small, out, scale, k0, Groups{d0, k1, d1, k2, d2});                                                       \
  }

RT_EXPAND(f32_f32, float, float)
RT_EXPAND(f32_bf16, float, rt_bf16)
RT_EXPAND(bf16_f32, rt_bf16, float)
RT_EXPAND(bf16_bf16, rt_bf16, rt_bf16)
