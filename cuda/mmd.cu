// mmd.cu   mmd2 = sum a k(u, u') + sum b k(v, v') - 2 / (n m) sum k(u, v) and d mmd2 / d u, in tiles of the kernel
//          matrix
// shapes    u (n, d)   v (m, d)   gradient (n, d) f32   loss () f32; u above v is the joint sample of n + m points.
//           Scratch: z, the joint sample in f32 with rows of pitch = d padded to 4, norms (n + m), mean (d), and the
//           weights of a strip of rows of u (as many as fit 32 MiB, at least 128): the whole matrix is never needed
// launch    mean, centre, rates (RBF), then for each strip tiles and gradient, then total. linear and total alone for
//           the linear kernel. mean, linear: 512 threads, 32 columns a block; centre: 256 threads, a warp a point;
//           rates, total: one block of 256. tiles: grid (column tiles, row tiles, parts of d), tiles of u before
//           those of v; gradient: one block a tile of (strip, d); both 256 threads for tiles of 128 x 128, 128 for 64
//           x 64, shared memory of rt_gemm (64, 32 KB)
// numerics  points are centred by the joint mean (the polynomial kernel would change, so its points are not); |x -
//           y|^2 = |x|^2 + |y|^2 - 2 x.y with products by 3xTF32: absolute error about 3e-7 (|x|^2 + |y|^2), which
//           the RBF kernels, whose width is the mean distance, see as a relative 1e-6. Energy takes the difference
//           itself where the formula would lose more than 8 bits. Kernel values are summed by eight (a lane's
//           share of a row) in f32, then in f64; every sum has a fixed order that depends on the shapes only
// traffic   2 d (2 n (n + m) + m^2 / 2) FLOP; z is written once and read from L2, the weights (4 n (n + m) B) too:
//           compute-bound. n = m = 1024, d = 2048: 19.3 GFLOP, at 100 TFLOP/s of 3xTF32 0.19 ms. Linear: reads u and
//           v twice, memory-bound
// measured  not measured yet
// spills    none
// limits    n, m, d >= 1, any tail; n, m >= 2 if unbiased
// source    retort/mmd.h; Gretton et al. 2012, eq. 3 and 5. With W = 4 a dk / d|x - y|^2 the gradient is (W 1) u - W
//           z

#include "common/gemm.cuh"
#include "common/last_block.cuh"
#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kColumnThreads = 512;             // of a block that takes 32 columns
constexpr int kColumnWarps = kColumnThreads / 32;  // each takes every 16th row
constexpr float kCancellation = 1.0f / 256;
constexpr double kLog2E = 1.4426950408889634;
constexpr float kLn2 = 0.693147181f;

__device__ __forceinline__ double warp_sum(double value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(RT_FULL_WARP, value, distance);
  }
  return value;
}

// The sum over the block, in thread 0.
__device__ __forceinline__ double block_sum(double value) {
  RT_SHARED(double[32], partial);
  value = warp_sum(value);
  if (rt_lane() == 0) {
    partial[rt_warp()] = value;
  }
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x >> 5);
  return warp_sum(rt_lane() < warps ? partial[rt_lane()] : 0.0);
}

// --- column by column --------------------------------------------------------------------------------

// Sum of term(row) over all rows, for the column of this lane; every warp gets it.
template <class Term>
__device__ __forceinline__ double column_sum(std::int64_t rows, Term term) {
  RT_SHARED(double[kColumnWarps][32], partial);
  double sum = 0;
#pragma unroll 8
  for (std::int64_t row = rt_warp(); row < rows; row += kColumnWarps) {
    sum += term(row);
  }
  __syncthreads();  // the sum before this one has been read
  partial[rt_warp()][rt_lane()] = sum;
  __syncthreads();
  double total = 0;
#pragma unroll
  for (int warp = 0; warp < kColumnWarps; warp++) {
    total += partial[warp][rt_lane()];
  }
  return total;
}

// Element (row, column) of x, and 0 outside of it.
template <class T>
__device__ __forceinline__ double element(const T* x, std::int64_t d, std::int64_t row, std::int64_t column) {
  return column < d ? static_cast<double>(rt_load(x + row * d + column)) : 0.0;
}

template <class T>
__device__ __forceinline__ void joint_mean(const T* u, const T* v, std::int64_t n, std::int64_t m, std::int64_t d,
                                           float* mean) {
  const std::int64_t column = blockIdx.x * std::int64_t{32} + rt_lane();
  const double of_u = column_sum(n, [=](std::int64_t row) { return element(u, d, row, column); });
  const double of_v = column_sum(m, [=](std::int64_t row) { return element(v, d, row, column); });
  if (rt_warp() == 0 && column < d) {
    mean[column] = static_cast<float>((of_u + of_v) / static_cast<double>(n + m));
  }
}

// |mean u - mean v|^2, less the traces of the means' covariances if unbiased: the share of 32 columns.
template <class T>
__device__ __forceinline__ void linear(const T* u, const T* v, std::int64_t n, std::int64_t m, std::int64_t d,
                                       bool unbiased, double* shares, float* gradient) {
  const std::int64_t column = blockIdx.x * std::int64_t{32} + rt_lane();
  const double nu = static_cast<double>(n);
  const double nv = static_cast<double>(m);
  const double mean_u = column_sum(n, [=](std::int64_t row) { return element(u, d, row, column); }) / nu;
  const double mean_v = column_sum(m, [=](std::int64_t row) { return element(v, d, row, column); }) / nv;
  double share = (mean_u - mean_v) * (mean_u - mean_v);
  const auto spread = [=](const T* x, std::int64_t rows, double mean) {
    return column_sum(rows, [=](std::int64_t row) {
      const double deviation = column < d ? element(x, d, row, column) - mean : 0.0;
      return deviation * deviation;
    });
  };
  if (unbiased) {
    share -= spread(u, n, mean_u) / (nu * (nu - 1)) + spread(v, m, mean_v) / (nv * (nv - 1));
  }
  if (rt_warp() == 0) {
    share = warp_sum(column < d ? share : 0.0);
    if (rt_lane() == 0) {
      shares[blockIdx.x] = share;
    }
  }
  if (gradient != nullptr && column < d) {
    const double inward = unbiased ? 2 / (nu * (nu - 1)) : 0;
    for (std::int64_t row = rt_warp(); row < n; row += kColumnWarps) {
      const double deviation = element(u, d, row, column) - mean_u;
      gradient[row * d + column] = static_cast<float>(2 * (mean_u - mean_v) / nu - inward * deviation);
    }
  }
}

// --- points ------------------------------------------------------------------------------------------

// z = x - mean (none if null) with zeros behind it, and the squared length; a warp takes a point of the joint sample.
template <class T>
__device__ __forceinline__ void centre(const T* u, const T* v, const float* mean, std::int64_t n, std::int64_t m,
                                       std::int64_t d, std::int64_t pitch, float* z, float* norms) {
  const std::int64_t point = rt_global_thread() / 32;
  if (point >= n + m) {
    return;
  }
  const T* const x = point < n ? u + point * d : v + (point - n) * d;
  float sum = 0.0f;
#pragma unroll 4
  for (std::int64_t c = rt_lane(); c < pitch; c += 32) {
    const float value = c < d ? rt_load(x + c) - (mean != nullptr ? mean[c] : 0.0f) : 0.0f;
    z[point * pitch + c] = value;
    sum = fmaf(value, value, sum);
  }
  sum = rt_warp_sum(sum);
  if (rt_lane() == 0) {
    norms[point] = sum;
  }
}

// --- kernels: value and slope, from a squared distance or from a product of two points ---------------------

// The numbers of a kernel, as a launch brings them.
struct Numbers {
  const float* exponents;  // RBF: -log2(e) / (factor b), one for each width
  int count;               // RBF: of widths; polynomial: degree
  float scale, offset;     // polynomial
};

// All take N arguments, leave the slopes in their place and write the values.
struct Rbf {
  static constexpr bool of_distance = true;
  const float* exponents;
  int count;

  __device__ __forceinline__ explicit Rbf(const Numbers& numbers) : exponents(numbers.exponents), count(numbers.count) {}

  template <int N>
  __device__ __forceinline__ void operator()(float (&x)[N], float (&values)[N]) const {
    float slopes[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
      values[i] = 0.0f;
      slopes[i] = 0.0f;
    }
    for (int q = 0; q < count; q++) {
      const float exponent = exponents[q];
#pragma unroll
      for (int i = 0; i < N; i++) {
        const float e = rt_exp2(x[i] * exponent);
        values[i] += e;
        slopes[i] = fmaf(e, exponent, slopes[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
      x[i] = slopes[i] * kLn2;
    }
  }
};

struct Energy {
  static constexpr bool of_distance = true;

  __device__ __forceinline__ explicit Energy(const Numbers&) {}

  template <int N>
  __device__ __forceinline__ void operator()(float (&x)[N], float (&values)[N]) const {
#pragma unroll
    for (int i = 0; i < N; i++) {
      values[i] = -sqrtf(x[i]);
      x[i] = x[i] > 0.0f ? 0.5f / values[i] : 0.0f;
    }
  }
};

struct Polynomial {
  static constexpr bool of_distance = false;
  int degree;
  float scale, offset;

  __device__ __forceinline__ explicit Polynomial(const Numbers& numbers)
      : degree(numbers.count), scale(numbers.scale), offset(numbers.offset) {}

  template <int N>
  __device__ __forceinline__ void operator()(float (&x)[N], float (&values)[N]) const {
    float powers[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
      x[i] = fmaf(x[i], scale, offset);
      powers[i] = 1.0f;
    }
    for (int k = 1; k < degree; k++) {
#pragma unroll
      for (int i = 0; i < N; i++) {
        powers[i] *= x[i];
      }
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
      values[i] = powers[i] * x[i];
      x[i] = powers[i] * (scale * static_cast<float>(degree));
    }
  }
};

// --- tiles of the kernel matrix ----------------------------------------------------------------------

// The points of one side of a tile: `count` of them from `first` of the joint sample, all of u or all of v.
struct Side {
  std::int64_t first;
  int count;
  bool of_u;

  __device__ __forceinline__ Side(std::int64_t tile, int size, std::int64_t n, std::int64_t m) {
    const std::int64_t tiles_of_u = (n + size - 1) / size;
    of_u = tile < tiles_of_u;
    first = of_u ? tile * size : n + (tile - tiles_of_u) * size;
    count = static_cast<int>(min(std::int64_t{size}, (of_u ? n : n + m) - first));
  }
};

// What every kernel matrix has.
struct Matrix {
  const float* z;
  const float* norms;
  std::int64_t n, m, pitch;
  double uu, uv, vv;  // factor of one kernel value in mmd2; uv is -1 / (n m) and is used twice
  bool unbiased;
};

// The strip of weights that is being written, null pointers for values alone: `rows` rows of u from `first` on.
struct Strip {
  float* weights;
  float* totals;  // sums of the weights of one warp's columns in each row
  std::int64_t first, rows, pitch;
};

__device__ __forceinline__ float distance2(const float* a, const float* b, std::int64_t d) {
  float sum = 0.0f;
  for (std::int64_t c = 0; c < d; c++) {
    const float difference = a[c] - b[c];
    sum = fmaf(difference, difference, sum);
  }
  return sum;
}

// Adds up the parts of the products that the blocks of blockIdx.z have computed, in the block that comes last.
template <class Gemm>
__device__ __forceinline__ bool gather(Gemm& gemm, float* parts, unsigned* arrived) {
  constexpr int kSums = Gemm::fragments_m * Gemm::fragments_n * 4;
  auto& sums = gemm.sums();
  const std::int64_t tile = blockIdx.y * std::int64_t{gridDim.x} + blockIdx.x;
  float* const mine = parts + tile * gridDim.z * kSums * Gemm::threads + threadIdx.x;
  const auto each = [&](auto body) {
#pragma unroll
    for (int i = 0; i < kSums; i++) {
      body(sums[i / (4 * Gemm::fragments_n)][i / 4 % Gemm::fragments_n][i % 4], i);
    }
  };
  each([&](float& sum, int i) { mine[(blockIdx.z * kSums + i) * Gemm::threads] = sum; });
  if (!rt_last_block(arrived + tile, gridDim.z)) {
    return false;
  }
  each([&](float& sum, int) { sum = 0.0f; });
  for (unsigned part = 0; part < gridDim.z; part++) {
    each([&](float& sum, int i) { sum += mine[(part * kSums + i) * Gemm::threads]; });
  }
  return true;
}

// Turns products into kernel values, adds them to `sum`, and writes the weights of a strip.
template <class Gemm, class Kernel>
__device__ __forceinline__ double evaluate(Gemm& gemm, const Matrix& matrix, const Kernel& kernel, const Strip& strip,
                                           const Side& rows, const Side& columns) {
  constexpr int N = 2 * Gemm::fragments_n;
  const bool weighted = strip.weights != nullptr && rows.of_u;
  const double a = columns.of_u ? matrix.uu : matrix.uv;
  const auto factor = static_cast<float>((Kernel::of_distance ? 4 : 2) * a);
  double sum = 0;
#pragma unroll
  for (int i = 0; i < 2 * Gemm::fragments_m; i++) {
    const int row = Gemm::row_of(i / 2, i % 2 * 2);
    const bool inside = row < rows.count;
    const std::int64_t point = rows.first + row;
    float x[N];
    float values[N];
#pragma unroll
    for (int j = 0; j < N; j++) {
      x[j] = gemm.sums()[i / 2][j / 2][i % 2 * 2 + j % 2];
    }
    if constexpr (Kernel::of_distance) {
      const float norm = inside ? matrix.norms[point] : 0.0f;
#pragma unroll
      for (int j = 0; j < N; j++) {
        const int column = Gemm::column_of(j / 2, j % 2);
        const std::int64_t other = columns.first + column;
        const bool pair = inside && column < columns.count && point != other;
        const float squares = norm + (column < columns.count ? matrix.norms[other] : 0.0f);
        const float square = fmaf(-2.0f, x[j], squares);
        x[j] = !pair || square < 0.0f ? 0.0f : square;  // NaN stays
        if constexpr (std::is_same_v<Kernel, Energy>) {
          if (pair && x[j] < kCancellation * squares) {
            x[j] = distance2(matrix.z + point * matrix.pitch, matrix.z + other * matrix.pitch, matrix.pitch);
          }
        }
      }
    }
    kernel(x, values);
    float total = 0.0f;
    float value = 0.0f;
#pragma unroll
    for (int j = 0; j < N; j++) {
      const int column = Gemm::column_of(j / 2, j % 2);
      const std::int64_t other = columns.first + column;
      const bool counts = inside && column < columns.count && !(matrix.unbiased && point == other);
      // Where the matrix is not gone through whole, what is right of the diagonal stands for both sides.
      const float times = weighted ? (columns.of_u ? 1.0f : 2.0f) : point < other ? 2.0f : point == other ? 1.0f : 0.0f;
      value += counts ? times * values[j] : 0.0f;
      if (weighted && inside) {
        const float weight = counts ? factor * x[j] : 0.0f;
        total += weight;
        float* const to = strip.weights + (point - strip.first) * strip.pitch;
        if (column < columns.count) {
          to[other] = weight;
        }
        if (other + 1 == matrix.n + matrix.m) {
          for (std::int64_t behind = other + 1; behind < strip.pitch; behind++) {
            to[behind] = 0.0f;
          }
        }
      }
    }
    sum += static_cast<double>(value);
    if (Kernel::of_distance && weighted) {
      total = rt_warp_sum<4>(total);
      if (inside && rt_lane() % 4 == 0) {
        const std::int64_t part = blockIdx.x * std::int64_t{Gemm::n / (8 * Gemm::fragments_n)} +
                                  Gemm::column_of(0, 0) / (8 * Gemm::fragments_n);
        strip.totals[part * strip.rows + point - strip.first] = total;
      }
    }
  }
  return sum;
}

template <class Gemm, class Kernel>
__device__ __forceinline__ void tiles(const Matrix& matrix, const Kernel& kernel, const Strip& strip, double* shares,
                                      float* parts, unsigned* arrived, std::int64_t first_tile,
                                      std::int64_t part_depth) {
  RT_DYNAMIC_SHARED(std::byte, shared);
  const std::int64_t tile = first_tile + blockIdx.y;
  const Side rows(tile, Gemm::m, matrix.n, matrix.m);
  const Side columns(blockIdx.x, Gemm::n, matrix.n, matrix.m);
  double* const share = shares + tile * gridDim.x + blockIdx.x;
  const bool weighted = strip.weights != nullptr && rows.of_u;
  if (!weighted && columns.first + columns.count <= rows.first) {
    if (threadIdx.x == 0) {
      *share = 0;  // its mirror image counts twice
    }
    return;
  }
  const std::int64_t from = blockIdx.z * part_depth;
  const std::int64_t depth = min(part_depth, matrix.pitch - from);
  rt_dense_tiles<float, typename Gemm::operand_a, Gemm::threads> tiles_a(matrix.z + rows.first * matrix.pitch + from,
                                                                         matrix.pitch, rows.count, depth);
  rt_dense_tiles<float, typename Gemm::operand_b, Gemm::threads> tiles_b(matrix.z + columns.first * matrix.pitch + from,
                                                                         matrix.pitch, columns.count, depth);
  Gemm gemm;
  gemm.run(shared, static_cast<int>((depth + Gemm::depth - 1) / Gemm::depth), [&](std::byte* to_a, std::byte* to_b) {
    tiles_a.copy(to_a);
    tiles_b.copy(to_b);
  });
  if (gridDim.z > 1 && !gather(gemm, parts, arrived)) {
    return;
  }
  const double sum = block_sum(evaluate(gemm, matrix, kernel, strip, rows, columns));
  if (threadIdx.x == 0) {
    *share = sum * (!rows.of_u ? matrix.vv : columns.of_u ? matrix.uu : matrix.uv);
  }
}

// gradient = totals z - weights z for the rows of a strip, or weights z if there are no totals.
template <class Gemm>
__device__ __forceinline__ void gradient_tile(const float* z, const Strip& strip, std::int64_t columns, int parts,
                                              std::int64_t d, std::int64_t pitch, float* gradient) {
  RT_DYNAMIC_SHARED(std::byte, shared);
  RT_SHARED(float[Gemm::m], totals);
  const rt_tile_corner corner = rt_tile<Gemm>(blockIdx.x, strip.rows, d);
  if (strip.totals != nullptr) {
    for (int i = static_cast<int>(threadIdx.x); i < Gemm::m; i += Gemm::threads) {
      float sum = 0.0f;
      for (int part = 0; part < parts && corner.m + i < strip.rows; part++) {
        sum += strip.totals[part * strip.rows + corner.m + i];
      }
      totals[i] = sum;
    }
  }
  rt_dense_tiles<float, typename Gemm::operand_a, Gemm::threads> tiles_a(strip.weights + corner.m * strip.pitch,
                                                                         strip.pitch, strip.rows - corner.m, columns);
  rt_dense_tiles<float, typename Gemm::operand_b, Gemm::threads> tiles_b(z + corner.n, pitch, pitch - corner.n, columns);
  Gemm gemm;
  gemm.run(shared, static_cast<int>((columns + Gemm::depth - 1) / Gemm::depth), [&](std::byte* to_a, std::byte* to_b) {
    tiles_a.copy(to_a);
    tiles_b.copy(to_b);
  });
  const bool pairs = d % 2 == 0 && rt_aligned(gradient);
#pragma unroll
  for (int i = 0; i < 2 * Gemm::fragments_m; i++) {
    const int row = Gemm::row_of(i / 2, i % 2 * 2);
    const std::int64_t local = corner.m + row;
    if (local >= strip.rows) {
      continue;
    }
    const std::int64_t point = strip.first + local;
    const float total = strip.totals != nullptr ? totals[row] : 0.0f;
#pragma unroll
    for (int j = 0; j < Gemm::fragments_n; j++) {
      const std::int64_t column = corner.n + Gemm::column_of(j, 0);
      if (column < d) {
        const float* const products = &gemm.sums()[i / 2][j][i % 2 * 2];
        float at[2];
        rt_load(z + point * pitch + column, at);
        float v[2];
#pragma unroll
        for (int e = 0; e < 2; e++) {
          v[e] = strip.totals != nullptr ? fmaf(total, at[e], -products[e]) : products[e];
        }
        float* const to = gradient + point * d + column;
        if (pairs) {
          rt_store(to, v);
        } else {
          to[0] = v[0];
          if (column + 1 < d) {
            to[1] = v[1];
          }
        }
      }
    }
  }
}

using Large = rt_gemm<float, rt_major::k, rt_major::k, 128, 128, 64, 32, 4>;
using Small = rt_gemm<float, rt_major::k, rt_major::k, 64, 64, 32, 32, 4>;
using LargeGradient = rt_gemm<float, rt_major::k, rt_major::mn, 128, 128, 64, 32, 4>;
using SmallGradient = rt_gemm<float, rt_major::k, rt_major::mn, 64, 64, 32, 32, 4>;

}  // namespace

#define RT_MMD(suffix, T)                                                                                               \
  RT_KERNEL_OCCUPANCY(rt_mmd_linear_##suffix, kColumnThreads, 1,                                                        \
                      (const T* __restrict__ u, const T* __restrict__ v, std::int64_t n, std::int64_t m,                \
                       std::int64_t d, std::int32_t unbiased, double* __restrict__ shares,                              \
                       float* __restrict__ gradient)) {                                                                 \
    linear(u, v, n, m, d, unbiased != 0, shares, gradient);                                                             \
  }                                                                                                                     \
  RT_KERNEL_OCCUPANCY(rt_mmd_mean_##suffix, kColumnThreads, 1,                                                          \
                      (const T* __restrict__ u, const T* __restrict__ v, std::int64_t n, std::int64_t m,                \
                       std::int64_t d, float* __restrict__ mean)) {                                                     \
    joint_mean(u, v, n, m, d, mean);                                                                                    \
  }                                                                                                                     \
  RT_KERNEL(rt_mmd_centre_##suffix,                                                                                     \
            (const T* __restrict__ u, const T* __restrict__ v, const float* __restrict__ mean, std::int64_t n,          \
             std::int64_t m, std::int64_t d, std::int64_t pitch, float* __restrict__ z, float* __restrict__ norms)) {   \
    centre(u, v, mean, n, m, d, pitch, z, norms);                                                                       \
  }

RT_MMD(f32, float)
RT_MMD(bf16, rt_bf16)

// The exponents of widths `first` to `first + count - 1`, at most eight, whose factors are f0 ... The bandwidth is the
// mean squared distance over the pairs i != j of centred points; the square of their sum is 0 but for rounding.
RT_KERNEL(rt_mmd_rates,
          (const float* __restrict__ norms, std::int64_t points, double f0, double f1, double f2, double f3, double f4,
           double f5, double f6, double f7, std::int32_t first, std::int32_t count, float* __restrict__ exponents)) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < points; i += blockDim.x) {
    sum += static_cast<double>(norms[i]);
  }
  const double bandwidth = 2 * block_sum(sum) / static_cast<double>(points - 1);
  const double factors[8] = {f0, f1, f2, f3, f4, f5, f6, f7};
  if (threadIdx.x == 0) {
#pragma unroll
    for (int q = 0; q < 8; q++) {
      if (q < count) {
        exponents[first + q] = bandwidth == 0 ? 0.0f : static_cast<float>(-kLog2E / (factors[q] * bandwidth));
      }
    }
  }
}

RT_KERNEL(rt_mmd_total, (const double* __restrict__ shares, std::int64_t count, float* __restrict__ loss)) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    sum += shares[i];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) {
    *loss = static_cast<float>(sum);
  }
}

// `exponents` are those of rt_mmd_rates, `count` is their number or the degree.
#define RT_MMD_TILES(name, Gemm, Kernel)                                                                                \
  RT_KERNEL_OCCUPANCY(rt_mmd_tiles_##name, Gemm::threads, 1,                                                            \
                      (const float* __restrict__ z, const float* __restrict__ norms,                                    \
                       const float* __restrict__ exponents, std::int32_t count, float scale, float offset,              \
                       std::int64_t n, std::int64_t m, std::int64_t pitch, double uu, double uv, double vv,             \
                       std::int32_t unbiased, float* __restrict__ weights, float* __restrict__ totals,                  \
                       std::int64_t first, std::int64_t rows, std::int64_t weights_pitch, double* __restrict__ shares,  \
                       float* parts, unsigned* arrived, std::int64_t first_tile, std::int64_t part_depth)) {            \
    const Matrix matrix{z, norms, n, m, pitch, uu, uv, vv, unbiased != 0};                                              \
    const Strip strip{weights, totals, first, rows, weights_pitch};                                                     \
    const Kernel kernel(Numbers{exponents, count, scale, offset});                                                      \
    tiles<Gemm>(matrix, kernel, strip, shares, parts, arrived, first_tile, part_depth);                                 \
  }

RT_MMD_TILES(rbf_128, Large, Rbf)
RT_MMD_TILES(rbf_64, Small, Rbf)
RT_MMD_TILES(energy_128, Large, Energy)
RT_MMD_TILES(energy_64, Small, Energy)
RT_MMD_TILES(polynomial_128, Large, Polynomial)
RT_MMD_TILES(polynomial_64, Small, Polynomial)

#define RT_MMD_GRADIENT(size, Gemm)                                                                                     \
  RT_KERNEL_OCCUPANCY(rt_mmd_gradient_##size, Gemm::threads, 1,                                                         \
                      (const float* __restrict__ z, float* __restrict__ weights, float* __restrict__ totals,            \
                       std::int64_t first, std::int64_t rows, std::int64_t weights_pitch, std::int64_t columns,         \
                       std::int32_t parts, std::int64_t d, std::int64_t pitch, float* __restrict__ gradient)) {         \
    gradient_tile<Gemm>(z, Strip{weights, totals, first, rows, weights_pitch}, columns, parts, d, pitch, gradient);     \
  }

RT_MMD_GRADIENT(128, LargeGradient)
RT_MMD_GRADIENT(64, SmallGradient)
