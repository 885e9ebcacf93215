// group_norm.cu   y = (x - mean_g) rstd_g gamma_c + beta_c, then SiLU if asked
// shapes    x,y (N,P,C) f32 or bf16   gamma,beta (C), mean,rstd (N,G) f32   groups of D = C / G channels
// launch    blocks and panels as in group_norm.cuh, panels of 64 bytes a position where the groups allow it. If all
//           positions of a panel fit shared memory one block takes them: rt_group_norm, N * panels blocks. If not, two
//           launches of N * chunks * panels blocks: rt_group_norm_moments, then rt_group_norm_apply. Dynamic shared
//           memory: the panel, gamma and beta; `stage_rows` positions of a panel (CudaNorm)
// numerics  f32: mean, then centred squares whose rest corrects the rounded mean, chunks merged by Chan's rule; so a mean
//           of 1000 costs no digits. The order of sums is given by the shape and the launch. SiLU by __expf and
//           __fdividef, 4e-7 + 6e-8 |u| from exact: exact ones would cost as much time as bfloat16's memory traffic
// traffic   one block: reads x, writes y; in chunks x is read twice, the second time backwards to meet what is still in
//           the second-level cache. 14 FLOP an element: memory-bound, floor = bytes / bandwidth. H100 at 3.0 TB/s,
//           (64,32x32,256): f32 134 MB 45 us, bf16 67 MB 22 us; expected 80% of it: a block loads, reduces and stores in
//           turn, three blocks a multiprocessor overlap these. (64,8x8,256) f32 8.4 MB: 2.8 us by bytes, bound by the
//           latency of launch, load and two sums, 5 us expected; (1,32x32,256): 32 blocks of 32 KB, 4 us expected
// measured  not measured yet
// spills    none
// limits    C % G == 0, every size >= 1, any tail. `pack` neighbours are read at once, 16 bytes, 8, or one element; it
//           divides D
// source    Wu & He 2018, eq. 7; Chan, Golub & LeVeque 1983, eq. 2.1

#include "group_norm.cuh"

namespace {

// Calls finish(group, mean, centred squares) for each group of the panel; `mean` is room for a number a group.
template <int V, class Source, class Finish>
__device__ __forceinline__ void group_moments(const Lanes& lanes, int groups, int per_group, Source source, int rows,
                                              float* mean, Finish finish) {
  const int span = per_group / V;
  const float inverse = 1.0f / (static_cast<float>(rows) * static_cast<float>(per_group));
  float total[1] = {};
  lanes.for_columns([&](int q) {
    lanes.for_rows<kBatch, Cell<V>>(
        rows, [&](int r, Cell<V>& cell) { rt_load(source.at(r, q * V), cell.x); },
        [&](int, Cell<V>& cell) {
          float few = cell.x[0];
#pragma unroll
          for (int j = 1; j < V; j++) {
            few += cell.x[j];
          }
          total[0] += few;
        });
  });
  sum_groups(lanes, groups, span, total, [=](int g, const float(&sums)[1]) { mean[g] = sums[0] * inverse; });
  float centred[2] = {};
  lanes.for_columns([&](int q) {
    const float centre = mean[q / span];
    lanes.for_rows<kBatch, Cell<V>>(
        rows, [&](int r, Cell<V>& cell) { rt_load(source.at(r, q * V), cell.x); },
        [&](int, Cell<V>& cell) {
          float few = 0.0f;
          float squares = 0.0f;
#pragma unroll
          for (int j = 0; j < V; j++) {
            const float d = cell.x[j] - centre;
            few += d;
            squares += d * d;
          }
          centred[0] += few;
          centred[1] += squares;
        });
  });
  // The rounded mean leaves a small rest, which corrects both.
  sum_groups(lanes, groups, span, centred, [=](int g, const float(&sums)[2]) {
    const float correction = sums[0] * inverse;
    const float squares = sums[1] - sums[0] * correction;
    finish(g, mean[g] + correction, squares < 0.0f ? 0.0f : squares);
  });
}

__device__ __forceinline__ float reciprocal_deviation(float variance, float eps) { return 1.0f / sqrtf(variance + eps); }

// y = silu?((x - mean) rstd gamma + beta)
template <int V, bool Silu, class Source, class T>
__device__ __forceinline__ void normalise(const Cut& cut, const Part& part, Source source, T* __restrict__ y,
                                          const Norm& norm) {
  const Lanes lanes(part.width / V);
  const GlobalRows<T> out{y + part.first, cut.channels};
  lanes.for_columns([&](int q) {
    Column<V> column(norm, q, cut.per_group / V);
#pragma unroll
    for (int j = 0; j < V; j++) {
      column.gamma[j] *= column.rstd;
    }
    lanes.for_rows<kBatch, Cell<V>>(
        part.rows, [&](int r, Cell<V>& cell) { rt_load(source.at(r, q * V), cell.x); },
        [&](int r, Cell<V>& cell) {
#pragma unroll
          for (int j = 0; j < V; j++) {
            const float u = (cell.x[j] - column.mean) * column.gamma[j] + column.beta[j];
            cell.x[j] = Silu ? u * sigmoid(u) : u;
          }
          rt_store(out.at(r, q * V), cell.x);
        });
  });
}

// A block has all positions of its panel.
template <int V, bool Silu, class T>
__device__ __forceinline__ void whole(const Cut& cut, const T* __restrict__ x, const float* __restrict__ gamma,
                                      const float* __restrict__ beta, T* __restrict__ y, float* __restrict__ mean,
                                      float* __restrict__ rstd, float eps) {
  RT_DYNAMIC_SHARED(T, panel);
  const Part part(cut, blockIdx.x);
  float* const gammas = reinterpret_cast<float*>(panel + panel_elements<T>(cut, part));
  float* const betas = gammas + cut.panel;
  stage_numbers(gammas, gamma + part.channel, part.width);
  stage_numbers(betas, beta + part.channel, part.width);
  stage<V>(panel, GlobalRows<const T>{x + part.first, cut.channels}, part.rows, part.width);
  staged();
  const SharedRows<const T> rows{panel, part.width};
  float* const means = room<2>();
  float* const rstds = room<3>();
  const float inverse = 1.0f / cut.elements();
  group_moments<V>(Lanes(part.width / V), part.groups, cut.per_group, rows, part.rows, means,
                   [=, &part](int g, float m, float squares) {
                     const float r = reciprocal_deviation(squares * inverse, eps);
                     means[g] = m;
                     rstds[g] = r;
                     mean[part.group + g] = m;
                     rstd[part.group + g] = r;
                   });
  normalise<V, Silu>(cut, part, rows, y, Norm{gammas, betas, means, rstds});
}

// Mean and centred squares of each group over a chunk to out (N, G, chunks, 2); `stage_rows` positions at a time go
// through shared memory, 0 if a single one does not fit.
template <int V, class T>
__device__ __forceinline__ void chunk_moments(const Cut& cut, const T* __restrict__ x, float* __restrict__ out,
                                              int stage_rows) {
  RT_DYNAMIC_SHARED(T, panel);
  float* const means = room<2>();
  float* const squares = room<3>();
  const Part part(cut, blockIdx.x);
  const Lanes lanes(part.width / V);
  for (int done = 0; done < part.rows;) {
    const int rows = stage_rows == 0 ? part.rows : min(stage_rows, part.rows - done);
    const float before = static_cast<float>(done) * static_cast<float>(cut.per_group);
    const float added = static_cast<float>(rows) * static_cast<float>(cut.per_group);
    // An address of either kind of memory: the second pass over global memory meets the caches.
    GlobalRows<const T> source{x + part.first + static_cast<std::int64_t>(done) * cut.channels, cut.channels};
    if (stage_rows != 0) {
      stage<V>(panel, source, rows, part.width);
      staged();
      source = {panel, part.width};
    }
    group_moments<V>(lanes, part.groups, cut.per_group, source, rows, room<4>(), [=](int g, float m, float s) {
      const float delta = before == 0.0f ? 0.0f : m - means[g];
      const float share = added / (before + added);
      means[g] = before == 0.0f ? m : means[g] + delta * share;
      squares[g] = before == 0.0f ? s : squares[g] + s + delta * delta * before * share;
    });
    done += rows;
  }
  for (int g = static_cast<int>(threadIdx.x); g < part.groups; g += static_cast<int>(blockDim.x)) {
    float* const to = out + ((part.group + g) * cut.chunks() + part.chunk) * 2;
    to[0] = means[g];
    to[1] = squares[g];
  }
}

// Normalises a chunk by the merged moments of all chunks.
template <int V, bool Silu, class T>
__device__ __forceinline__ void apply(const Cut& cut, const T* __restrict__ x, const float* __restrict__ gamma,
                                      const float* __restrict__ beta, const float* __restrict__ moments,
                                      T* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd, float eps) {
  float* const means = room<2>();
  float* const rstds = room<3>();
  const Part part(cut, gridDim.x - 1 - blockIdx.x);
  const int chunks = cut.chunks();
  const float inverse = 1.0f / cut.elements();
#pragma unroll 1
  for (int g = rt_warp(); g < part.groups; g += static_cast<int>(blockDim.x >> 5)) {
    const float* const of = moments + (part.group + g) * chunks * 2;
    float offset = 0.0f;
#pragma unroll 2
    for (int i = rt_lane(); i < chunks; i += 32) {
      offset += cut.elements(i) * (of[2 * i] - of[0]);
    }
    const float m = of[0] + rt_warp_sum(offset) * inverse;
    float squares = 0.0f;
#pragma unroll 2
    for (int i = rt_lane(); i < chunks; i += 32) {
      const float delta = of[2 * i] - m;
      squares += of[2 * i + 1] + cut.elements(i) * delta * delta;
    }
    const float r = reciprocal_deviation(rt_warp_sum(squares) * inverse, eps);
    if (rt_lane() == 0) {
      means[g] = m;
      rstds[g] = r;
      if (part.chunk == 0) {
        mean[part.group + g] = m;
        rstd[part.group + g] = r;
      }
    }
  }
  __syncthreads();
  normalise<V, Silu>(cut, part, GlobalRows<const T>{x + part.first, cut.channels}, y,
                     Norm{gamma + part.channel, beta + part.channel, means, rstds});
}

}  // namespace

#define RT_GROUP_NORM(suffix, T)                                                                                      \
  RT_KERNEL_OCCUPANCY(rt_group_norm_##suffix, kThreads, 3,                                                            \
                      (const T* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ beta,      \
                       T* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd, float eps,              \
                       std::int32_t silu, RT_CUT_PARAMETERS)) {                                                       \
    with_variant<T>(pack, silu != 0, [=](auto width, auto fused) {                                                    \
      whole<decltype(width)::value, decltype(fused)::value>(RT_CUT, x, gamma, beta, y, mean, rstd, eps);              \
    });                                                                                                               \
  }                                                                                                                   \
  RT_KERNEL_OCCUPANCY(rt_group_norm_moments_##suffix, kThreads, 2,                                                    \
                      (const T* __restrict__ x, float* __restrict__ moments, std::int32_t stage_rows,                 \
                       RT_CUT_PARAMETERS)) {                                                                          \
    with_pack<T>(pack, [=](auto width) { chunk_moments<decltype(width)::value>(RT_CUT, x, moments, stage_rows); });   \
  }                                                                                                                   \
  RT_KERNEL_OCCUPANCY(rt_group_norm_apply_##suffix, kThreads, 3,                                                      \
                      (const T* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ beta,      \
                       const float* __restrict__ moments, T* __restrict__ y, float* __restrict__ mean,                \
                       float* __restrict__ rstd, float eps, std::int32_t silu, RT_CUT_PARAMETERS)) {                  \
    with_variant<T>(pack, silu != 0, [=](auto width, auto fused) {                                                    \
      apply<decltype(width)::value, decltype(fused)::value>(RT_CUT, x, gamma, beta, moments, y, mean, rstd, eps);     \
    });                                                                                                               \
  }

RT_GROUP_NORM(f32, float)
RT_GROUP_NORM(bf16, rt_bf16)
