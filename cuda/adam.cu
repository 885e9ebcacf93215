// adam.cu   norm, clip, Adam or AdamW and an averaged copy, over flat arenas
// shapes    value, gradient, m, v, ema (n) f32; partial (at most 512) f64, rates 8 f32, loss f32, norm f64
// launch    squares: min(512, n / 4096 rounded up) blocks of 256 threads, each writes one partial sum; update: any
//           one-dimensional grid of 256 threads, best one that is resident as a whole, since each block first adds the
//           partial sums again: dearer than reading one norm, cheaper than a third launch
// numerics  squares and their sums in f64 as on the CPU, so that no finite gradient has an infinite norm; which thread adds
//           what depends on n only; where the norm or the loss is not finite, update writes the norm and nothing else,
//           NaN for the loss
// traffic   squares reads 4 B a parameter, update reads 20 B and writes 16 B with ema (16 and 12 without): memory-bound, on
//           an H100 at 3.0 TB/s 13.3 us a million parameters with ema; expected 85-90% of that
// measured  not measured yet
// spills    none
// limits    n >= 0; arenas that are not 16-byte aligned take element-wise accesses
// source    retort/adam.h. What differs from step to step (rates) lies in device memory: a captured graph stays valid

#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kBatch = 4;  // loads of a thread in flight, without which a sum waits for memory more than it reads

// One step's numbers, as the host writes them.
struct Rates {
  float beta1, beta2;
  float keep;   // 1 - lr decay
  float rate;   // lr / (1 - beta1^t)
  float root;   // 1 / sqrt(1 - beta2^t)
  float eps;
  float blend;  // 1 - ema_decay
  float clip;   // largest norm, 0 for none
};

// Sum over the block, the same bits in every thread.
__device__ __forceinline__ double block_sum(double value) {
  RT_SHARED(double[32], partial);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(RT_FULL_WARP, value, distance);
  }
  if (rt_lane() == 0) {
    partial[rt_warp()] = value;
  }
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x >> 5);
  double sum = 0.0;
  for (int i = 0; i < warps; i++) {
    sum += partial[i];
  }
  return sum;
}

__device__ __forceinline__ double square(float x) { return static_cast<double>(x) * static_cast<double>(x); }

struct Arenas {
  float* value;
  const float* gradient;
  float *m, *v, *ema;
};

// Elements i to i + N - 1.
template <int N, bool Averaged>
__device__ __forceinline__ void step(const Arenas& at, std::int64_t i, const Rates& r, float scale) {
  float value[N], gradient[N], m[N], v[N], ema[N];
  rt_load(at.value + i, value);
  rt_load(at.gradient + i, gradient);
  rt_load(at.m + i, m);
  rt_load(at.v + i, v);
  if constexpr (Averaged) {
    rt_load(at.ema + i, ema);
  }
#pragma unroll
  for (int j = 0; j < N; j++) {
    const float g = gradient[j] * scale;
    m[j] = r.beta1 * m[j] + (1.0f - r.beta1) * g;
    v[j] = r.beta2 * v[j] + (1.0f - r.beta2) * g * g;
    value[j] = value[j] * r.keep - r.rate * m[j] / (sqrtf(v[j]) * r.root + r.eps);
    if constexpr (Averaged) {
      ema[j] += r.blend * (value[j] - ema[j]);
    }
  }
  rt_store(at.value + i, value);
  rt_store(at.m + i, m);
  rt_store(at.v + i, v);
  if constexpr (Averaged) {
    rt_store(at.ema + i, ema);
  }
}

template <bool Averaged>
__device__ __forceinline__ void update(const Arenas& at, std::int64_t n, const Rates& r, float scale) {
  const std::int64_t packs = rt_aligned(at.value, at.gradient, at.m, at.v, at.ema) ? n / 4 : 0;
  for (std::int64_t i = rt_global_thread(); i < packs; i += rt_global_threads()) {
    step<4, Averaged>(at, 4 * i, r, scale);
  }
#pragma unroll 1
  for (std::int64_t i = 4 * packs + rt_global_thread(); i < n; i += rt_global_threads()) {
    step<1, Averaged>(at, i, r, scale);
  }
}

}  // namespace

// At most four blocks on a multiprocessor: the registers of more would not hold a batch, and ptxas would load one by one.
RT_KERNEL_OCCUPANCY(rt_adam_squares, 256, 4,
                    (const float* __restrict__ gradient, double* __restrict__ partial, std::int64_t n)) {
  const std::int64_t packs = rt_aligned(gradient) ? n / 4 : 0;
  const std::int64_t stride = rt_global_threads();
  double sums[4] = {};
  std::int64_t i = rt_global_thread();
  for (; i + (kBatch - 1) * stride < packs; i += kBatch * stride) {
    float g[kBatch][4];
#pragma unroll
    for (int k = 0; k < kBatch; k++) {
      rt_load(gradient + 4 * (i + k * stride), g[k]);
    }
#pragma unroll
    for (int k = 0; k < 4 * kBatch; k++) {
      sums[k % 4] += square(g[k / 4][k % 4]);
    }
  }
#pragma unroll 1
  for (; i < packs; i += stride) {
    float g[4];
    rt_load(gradient + 4 * i, g);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      sums[j] += square(g[j]);
    }
  }
#pragma unroll 1
  for (i = 4 * packs + rt_global_thread(); i < n; i += stride) {
    sums[0] += square(gradient[i]);
  }
  const double sum = block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = sum;
  }
}

// ema and loss may be null; a loss that is not finite changes nothing either and makes the norm NaN.
RT_KERNEL(rt_adam_update,
          (float* __restrict__ value, const float* __restrict__ gradient, float* __restrict__ m, float* __restrict__ v,
           float* __restrict__ ema, std::int64_t n, const double* __restrict__ partial, std::int32_t partials,
           const float* __restrict__ rates, const float* __restrict__ loss, double* __restrict__ norm)) {
  double squares = 0.0;
  for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < partials; i += static_cast<std::int32_t>(blockDim.x)) {
    squares += partial[i];
  }
  const double length = sqrt(block_sum(squares));
  const bool diverged = loss != nullptr && !isfinite(*loss);
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    *norm = diverged ? nan("") : length;
  }
  if (diverged || !isfinite(length)) {
    return;
  }
  const Rates r{rates[0], rates[1], rates[2], rates[3], rates[4], rates[5], rates[6], rates[7]};
  const double clip = static_cast<double>(r.clip);
  const float scale = r.clip > 0.0f && length > clip ? static_cast<float>(clip / length) : 1.0f;
  const Arenas at{value, gradient, m, v, ema};
  if (ema != nullptr) {
    update<true>(at, n, r, scale);
  } else {
    update<false>(at, n, r, scale);
  }
}
