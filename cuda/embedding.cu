// embedding.cu   (cos a, sin a) of a = c f_k; rows of a table
// shapes    c, gc (n)   frequencies (half)   y, gy (n, 2 half)   |   table, gtable (k, d)   ids (n) int64   y, gy (n, d); f32
// launch    blocks of 256 unless said otherwise. sinusoid, fourier: any one-dimensional grid, a thread an angle. Their
//           gradients: a warp for each c. lookup: any one-dimensional grid, a thread 4 columns. lookup_gradient: blocks of 128,
//           grid (ceil(k / rows), tiles of 128 columns), 512 bytes of dynamic shared memory for each of its rows
// numerics  angles in float64 and in turns, whole turns taken off before rounding: right to float32's last bits however large the
//           angle. Gradients of c: float32 terms and sums; of a table: float32, row by row of gy in its order, as on the CPU
// traffic   waves: 40 float64 operations a pair, n half pairs, microseconds a step even at 1/64 of float32's rate; launch-bound.
//           lookup: reads and writes n d elements once, floor = bytes / bandwidth. lookup_gradient: reads gy once, writes
//           gtable once, and every block reads all ids from the second-level cache. That is nothing for labels of classes,
//           which are launch-bound. For tokens (k = 50,000, n = 65,536, d = 1024) it is 3.3 GB beside 0.47 GB of gy and
//           gtable: about 4 times the floor of 160 us; ids sorted beforehand would save it
// measured  not measured yet
// spills    none
// limits    any extents; an id outside [0, k) gives a row of NaN, is reported (common/fault.cuh) and has no gradient
// source    retort/embedding.h

#include <cmath>

#include "common/fault.cuh"
#include "common/reduce.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr double kTurn = 6.283185307179586;  // radians

// --- waves ---------------------------------------------------------------------------------------------

// max_positions^(-k / (half - endpoint)) radians, in turns.
struct Geometric {
  double step;  // -ln(max_positions) / (half - endpoint)
  __device__ __forceinline__ double operator()(std::int64_t k) const {
    return exp(step * static_cast<double>(k)) * (1 / kTurn);
  }
};

struct Table {
  const float* __restrict__ turns;
  __device__ __forceinline__ double operator()(std::int64_t k) const { return static_cast<double>(turns[k]); }
};

// Cosine and sine of any number of turns.
__device__ __forceinline__ void wave(double turns, float& cosine, float& sine) {
  sincospif(static_cast<float>(2 * (turns - rint(turns))), &sine, &cosine);
}

// `sine` and `cosine` say where in a row the two halves start.
template <class Frequency>
__device__ __forceinline__ void waves(const float* __restrict__ c, float* __restrict__ y, std::int64_t n,
                                      std::int64_t half, std::int64_t cosine, std::int64_t sine, Frequency frequency) {
  for (std::int64_t i = rt_global_thread(); i < n * half; i += rt_global_threads()) {
    const std::int64_t row = i / half;
    const std::int64_t k = i - row * half;
    float* const out = y + row * 2 * half + k;
    wave(frequency(k) * static_cast<double>(c[row]), out[cosine], out[sine]);
  }
}

template <class Frequency>
__device__ __forceinline__ void waves_gradient(const float* __restrict__ c, const float* __restrict__ gy,
                                               float* __restrict__ gc, std::int64_t n, std::int64_t half,
                                               std::int64_t cosine, std::int64_t sine, Frequency frequency) {
  const std::int64_t row = rt_global_thread() / 32;
  if (row >= n) {
    return;
  }
  const float* const gradient = gy + row * 2 * half;
  const double position = static_cast<double>(c[row]);
  float total = 0;
  for (std::int64_t k = rt_lane(); k < half; k += 32) {
    const double turns = frequency(k);
    float cosine_of_angle;
    float sine_of_angle;
    wave(turns * position, cosine_of_angle, sine_of_angle);
    total += static_cast<float>(turns * kTurn) *
             (gradient[sine + k] * cosine_of_angle - gradient[cosine + k] * sine_of_angle);
  }
  total = rt_warp_sum(total);
  if (rt_lane() == 0) {
    gc[row] = total;
  }
}

// --- tables --------------------------------------------------------------------------------------------

template <int N>
__device__ __forceinline__ void lookup(const float* __restrict__ table, const std::int64_t* __restrict__ ids,
                                       float* __restrict__ y, std::int64_t k, std::int64_t d, std::int64_t n,
                                       rt_fault* fault) {
  for (std::int64_t i = rt_global_thread() * N; i < n * d; i += rt_global_threads() * N) {
    const std::int64_t row = i / d;
    const std::int64_t column = i - row * d;
    const std::int64_t id = ids[row];
    float v[N];
    if (id >= 0 && id < k) {
      rt_load(table + id * d + column, v);
    } else {
#pragma unroll
      for (int j = 0; j < N; j++) {
        v[j] = NAN;
      }
      if (column == 0) {
        rt_report(fault, RT_FAULT_ID, row, id, k);
      }
    }
    rt_store(y + i, v);
  }
}

constexpr int kColumns = 128;    // of a block of lookup_gradient, one a thread
constexpr int kInFlight = 8;     // rows of gy that a thread loads before it adds the first
constexpr int kWarps = kColumns / 32;
constexpr int kIdsOfThread = 8;  // looked at between two barriers
constexpr int kIdsOfWarp = 32 * kIdsOfThread;
constexpr int kChunk = kWarps * kIdsOfWarp;

// A row of gy that goes to a table row of the block.
struct Match {
  int place;  // in the chunk
  int row;    // of the block's rows
};

// Writes the matches among the ids of a chunk in their order and returns how many there are, to all threads of the block.
__device__ __forceinline__ int find(const std::int64_t* ids, std::int64_t count, std::int64_t first_row, std::int64_t rows,
                                    Match* matches) {
  RT_SHARED(int[kWarps], found);
  std::int64_t row[kIdsOfThread];
  unsigned hits[kIdsOfThread];
  int mine = 0;
#pragma unroll
  for (int j = 0; j < kIdsOfThread; j++) {
    const int place = rt_warp() * kIdsOfWarp + j * 32 + rt_lane();
    row[j] = place < count ? ids[place] - first_row : -1;
    hits[j] = __ballot_sync(RT_FULL_WARP, row[j] >= 0 && row[j] < rows);
    mine += __popc(hits[j]);
  }
  if (rt_lane() == 0) {
    found[rt_warp()] = mine;
  }
  __syncthreads();
  int at = 0;
  int all = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; warp++) {
    at += warp < rt_warp() ? found[warp] : 0;
    all += found[warp];
  }
#pragma unroll
  for (int j = 0; j < kIdsOfThread; j++) {
    if (hits[j] >> rt_lane() & 1u) {
      matches[at + __popc(hits[j] & ((1u << rt_lane()) - 1u))] = {rt_warp() * kIdsOfWarp + j * 32 + rt_lane(),
                                                                  static_cast<int>(row[j])};
    }
    at += __popc(hits[j]);
  }
  __syncthreads();
  return all;
}

}  // namespace

RT_KERNEL(rt_sinusoid, (const float* __restrict__ c, float* __restrict__ y, std::int64_t n, std::int64_t half, double step,
                        std::int32_t sin_first)) {
  waves(c, y, n, half, sin_first != 0 ? half : 0, sin_first != 0 ? 0 : half, Geometric{step});
}

RT_KERNEL(rt_sinusoid_gradient, (const float* __restrict__ c, const float* __restrict__ gy, float* __restrict__ gc,
                                 std::int64_t n, std::int64_t half, double step, std::int32_t sin_first)) {
  waves_gradient(c, gy, gc, n, half, sin_first != 0 ? half : 0, sin_first != 0 ? 0 : half, Geometric{step});
}

RT_KERNEL(rt_fourier, (const float* __restrict__ c, const float* __restrict__ frequencies, float* __restrict__ y,
                       std::int64_t n, std::int64_t half)) {
  waves(c, y, n, half, 0, half, Table{frequencies});
}

RT_KERNEL(rt_fourier_gradient, (const float* __restrict__ c, const float* __restrict__ frequencies,
                                const float* __restrict__ gy, float* __restrict__ gc, std::int64_t n, std::int64_t half)) {
  waves_gradient(c, gy, gc, n, half, 0, half, Table{frequencies});
}

RT_KERNEL(rt_lookup, (const float* __restrict__ table, const std::int64_t* __restrict__ ids, float* __restrict__ y,
                      std::int64_t k, std::int64_t d, std::int64_t n, rt_fault* fault)) {
  if (d % 4 == 0 && rt_aligned(table, y)) {
    lookup<4>(table, ids, y, k, d, n, fault);
  } else {
    lookup<1>(table, ids, y, k, d, n, fault);
  }
}

// A block sums `rows` rows of gtable, kColumns of their columns; each thread keeps one column of all of them.
RT_KERNEL_BOUNDS(rt_lookup_gradient, kColumns,
                 (const std::int64_t* __restrict__ ids, const float* __restrict__ gy, float* __restrict__ gtable,
                  std::int64_t k, std::int64_t d, std::int64_t n, std::int64_t rows)) {
  RT_SHARED(Match[kChunk], matches);
  RT_DYNAMIC_SHARED(float, totals);
  const std::int64_t first_row = blockIdx.x * rows;
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * kColumns + threadIdx.x;
  for (std::int64_t row = 0; row < rows; row++) {
    totals[row * kColumns + threadIdx.x] = 0;
  }
  for (std::int64_t first = 0; first < n; first += kChunk) {
    const int all = find(ids + first, n - first, first_row, rows, matches);
    if (column < d) {
      for (int i = 0; i < all; i += kInFlight) {
        float value[kInFlight];
#pragma unroll
        for (int j = 0; j < kInFlight; j++) {
          value[j] = i + j < all ? gy[(first + matches[i + j].place) * d + column] : 0.0f;
        }
#pragma unroll
        for (int j = 0; j < kInFlight; j++) {
          if (i + j < all) {
            totals[matches[i + j].row * kColumns + threadIdx.x] += value[j];
          }
        }
      }
    }
    __syncthreads();  // the matches have been used
  }
  for (std::int64_t row = 0; column < d && row < rows && first_row + row < k; row++) {
    gtable[(first_row + row) * d + column] = totals[row * kColumns + threadIdx.x];
  }
}
