// group_norm_gradient.cu   dx = rstd (gamma du - m1 - xh m2), dgamma_c = sum du xh, dbeta_c = sum du
// shapes    x,dy,dx (N,P,C) f32 or bf16   gamma,beta,dgamma,dbeta (C), mean,rstd (N,G) f32   xh = (x - mean) rstd, u = xh
//           gamma + beta, du = dy or, with SiLU, dy silu'(u); m1, m2 = means of gamma du and gamma du xh over the group
// launch    blocks and panels as in group_norm.cuh. If x and dy of all positions of a panel fit shared memory one block
//           takes them: rt_group_norm_gradient, N * panels blocks, the last of a panel adds up dgamma and dbeta. If not,
//           N * chunks * panels blocks of rt_group_norm_sums, then of rt_group_norm_dx. rt_norm_parameters, blocks of 8
//           channels, adds up dgamma and dbeta where no last block does, for layer norms too. Dynamic shared memory:
//           panels of x and dy, gamma, beta, and partial sums of channels (CudaNorm)
// numerics  f32; the order of sums is given by the shape and the launch, and no gradient depends on which others are
//           wanted. SiLU by __expf and __fdividef as in group_norm.cu
// traffic   one block: reads x and dy, writes dx; in chunks x and dy are read twice, the second time backwards to meet
//           what is still in the second-level cache. 35 FLOP an element: memory-bound, floor = bytes / bandwidth. H100 at
//           3.0 TB/s, (64,32x32,256): f32 201 MB 67 us, bf16 101 MB 34 us; expected 80% of it, three blocks a
//           multiprocessor overlap loads, sums and stores. (64,8x8,256) f32 12.6 MB: 4.2 us by bytes, bound by latencies,
//           7 us expected
// measured  not measured yet
// spills    none
// limits    as group_norm.cu; dx overlaps neither x nor dy
// source    derived in retort/group_norm.h from Wu & He 2018, eq. 7

#include "common/last_block.cuh"
#include "group_norm.cuh"

namespace {

constexpr int kChannels = 8;  // of a block of rt_norm_parameters: one 32-byte sector a row

// Rows of two tensors that a thread has in flight.
template <int V>
constexpr int kPairBatch = V == 8 ? 1 : 2;

template <int V>
struct Pair {
  float x[V], dy[V];
};

// du from dy
template <bool Silu, int V>
__device__ __forceinline__ float before_silu(const Column<V>& column, float dy, float xh, int j) {
  if constexpr (Silu) {
    const float u = xh * column.gamma[j] + column.beta[j];
    const float s = sigmoid(u);
    return dy * (s * (1.0f + u * (1.0f - s)));
  } else {
    return dy;
  }
}

// --- sums ----------------------------------------------------------------------------------------------

// Where a block leaves its sums of du, then of du xh, one a channel of its panel.
struct ChannelSums {
  float* part;  // (2, C), from the panel's first channel on; null if nobody wants them
  int channels;

  // partial is (N * chunks, 2, C) or null.
  __device__ __forceinline__ ChannelSums(float* partial, const Cut& cut, const Part& part)
      : part(partial), channels(cut.channels) {
    if (partial != nullptr) {
      this->part += (part.sample * cut.chunks() + part.chunk) * 2 * channels + part.channel;
    }
  }
};

// Adds the sums of all slots of the block and writes them; `scratch` holds (slots, 2, width).
template <int V>
__device__ __forceinline__ void write_channels(const Lanes& lanes, const float (&du)[V], const float (&duxh)[V],
                                               int width, float* scratch, const ChannelSums& out) {
  float* const mine = scratch + lanes.slot * 2 * width + lanes.column * V;
#pragma unroll
  for (int j = 0; j < V; j++) {
    const float a = lanes.sum_warp_rows(du[j]);
    const float b = lanes.sum_warp_rows(duxh[j]);
    if (lanes.speaks()) {
      mine[j] = a;
      mine[width + j] = b;
    }
  }
  __syncthreads();
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < 2 * width; i += static_cast<int>(blockDim.x)) {
    float total = 0.0f;
#pragma unroll 1
    for (int slot = 0; slot < lanes.slots; slot++) {
      total += scratch[slot * 2 * width + i];
    }
    out.part[i < width ? i : out.channels + i - width] = total;
  }
}

// Sums of the block's rows. Calls finish(group, {sum of gamma du, sum of gamma du xh}) for each group; with Keep du
// replaces dy.
template <int V, bool Silu, bool Keep, class X, class Dy, class Finish>
__device__ __forceinline__ void add_rows(const Cut& cut, const Part& part, X x, Dy dy, const Norm& norm, float* scratch,
                                         const ChannelSums& out, Finish finish) {
  const Lanes lanes(part.width / V);
  const int span = cut.per_group / V;
  float totals[2] = {};
  float du[V] = {};
  float duxh[V] = {};
  lanes.for_columns([&](int q) {
    const Column<V> column(norm, q, span);
#pragma unroll
    for (int j = 0; j < V; j++) {
      du[j] = duxh[j] = 0.0f;
    }
    lanes.for_rows<kPairBatch<V>, Pair<V>>(
        part.rows,
        [&](int r, Pair<V>& pair) {
          rt_load(x.at(r, q * V), pair.x);
          rt_load(dy.at(r, q * V), pair.dy);
        },
        [&](int r, Pair<V>& pair) {
#pragma unroll
          for (int j = 0; j < V; j++) {
            const float xh = (pair.x[j] - column.mean) * column.rstd;
            pair.dy[j] = before_silu<Silu>(column, pair.dy[j], xh, j);
            du[j] += pair.dy[j];
            duxh[j] += pair.dy[j] * xh;
          }
          if constexpr (Keep) {
            rt_store(dy.at(r, q * V), pair.dy);
          }
        });
#pragma unroll
    for (int j = 0; j < V; j++) {
      totals[0] += column.gamma[j] * du[j];
      totals[1] += column.gamma[j] * duxh[j];
    }
    if (!lanes.single() && out.part != nullptr) {
      rt_store(out.part + q * V, du);
      rt_store(out.part + out.channels + q * V, duxh);
    }
  });
  if (lanes.single() && out.part != nullptr) {
    write_channels(lanes, du, duxh, part.width, scratch, out);
  }
  sum_groups(lanes, part.groups, span, totals, finish);
}

// dgamma_c and dbeta_c of `width` channels from `channel` on: sums of partial (parts, 2, C) over the parts.
__device__ __forceinline__ void add_parts(const float* partial, std::int64_t parts, int channels, int channel, int width,
                                          float* dgamma, float* dbeta) {
  float* const sums[2] = {room<0>(), room<1>()};
  const int threads = static_cast<int>(blockDim.x);
  const int thread = static_cast<int>(threadIdx.x);
  for (int first = 0; first < width; first += threads) {
    const int across = min(width - first, threads);
    const int down = threads / across;
    const int lane = thread / across;
    const int c = channel + first + thread - lane * across;
    float du = 0.0f;
    float duxh = 0.0f;
    if (lane < down) {
#pragma unroll 4
      for (std::int64_t part = lane; part < parts; part += down) {
        du += partial[2 * part * channels + c];
        duxh += partial[(2 * part + 1) * channels + c];
      }
    }
    sums[0][thread] = du;
    sums[1][thread] = duxh;
    for (int n = down; n > 1;) {
      const int half = (n + 1) / 2;
      __syncthreads();
      if (lane + half < n) {
        sums[0][thread] += sums[0][thread + half * across];
        sums[1][thread] += sums[1][thread + half * across];
      }
      n = half;
    }
    if (lane == 0) {
      if (dbeta != nullptr) {
        dbeta[c] = sums[0][thread];
      }
      if (dgamma != nullptr) {
        dgamma[c] = sums[1][thread];
      }
    }
    __syncthreads();
  }
}

// --- gradients -----------------------------------------------------------------------------------------

// dx = rstd (gamma du - m1 - xh m2), m1 and m2 one a group of the panel; with Kept dy is du already.
template <int V, bool Silu, bool Kept, class X, class Dy, class T>
__device__ __forceinline__ void write_dx(const Cut& cut, const Part& part, X x, Dy dy, const Norm& norm, const float* m1,
                                         const float* m2, T* __restrict__ dx) {
  const Lanes lanes(part.width / V);
  const int span = cut.per_group / V;
  const GlobalRows<T> out{dx + part.first, cut.channels};
  lanes.for_columns([&](int q) {
    const Column<V> column(norm, q, span);
    const float first = m1[q / span];
    const float second = m2[q / span];
    lanes.for_rows<kPairBatch<V>, Pair<V>>(
        part.rows,
        [&](int r, Pair<V>& pair) {
          rt_load(x.at(r, q * V), pair.x);
          rt_load(dy.at(r, q * V), pair.dy);
        },
        [&](int r, Pair<V>& pair) {
#pragma unroll
          for (int j = 0; j < V; j++) {
            const float xh = (pair.x[j] - column.mean) * column.rstd;
            const float du = before_silu<Silu && !Kept>(column, pair.dy[j], xh, j);
            pair.x[j] = column.rstd * (column.gamma[j] * du - first - xh * second);
          }
          rt_store(out.at(r, q * V), pair.x);
        });
  });
}

// A block has all positions of its panel. In float32 du stays in shared memory between the passes, which saves the second
// one an exponential; bfloat16 would round it.
template <int V, bool Silu, class T>
__device__ __forceinline__ void whole(const Cut& cut, const T* __restrict__ x, const T* __restrict__ dy,
                                      const float* __restrict__ gamma, const float* __restrict__ beta,
                                      const float* __restrict__ mean, const float* __restrict__ rstd,
                                      T* __restrict__ dx, float* partial, float* dgamma, float* dbeta,
                                      unsigned* counters, std::int64_t samples) {
  constexpr bool Keep = Silu && std::is_same_v<T, float>;
  RT_DYNAMIC_SHARED(T, panel);
  const Part part(cut, blockIdx.x);
  const int elements = panel_elements<T>(cut, part);
  float* const gammas = reinterpret_cast<float*>(panel + 2 * elements);
  float* const betas = gammas + cut.panel;
  float* const means = room<2>();
  float* const rstds = room<3>();
  stage_numbers(gammas, gamma + part.channel, part.width);
  stage_numbers(betas, beta + part.channel, part.width);
  stage_numbers(means, mean + part.group, part.groups);
  stage_numbers(rstds, rstd + part.group, part.groups);
  stage<V>(panel, GlobalRows<const T>{x + part.first, cut.channels}, part.rows, part.width);
  stage<V>(panel + elements, GlobalRows<const T>{dy + part.first, cut.channels}, part.rows, part.width);
  staged();
  const SharedRows<const T> x_rows{panel, part.width};
  const SharedRows<T> dy_rows{panel + elements, part.width};
  const Norm norm{gammas, betas, means, rstds};
  float* const m1 = room<4>();
  float* const m2 = room<5>();
  const float inverse = 1.0f / cut.elements();
  add_rows<V, Silu, Keep>(cut, part, x_rows, dy_rows, norm, betas + cut.panel, ChannelSums(partial, cut, part),
                          [=](int g, const float(&sums)[2]) {
                            m1[g] = sums[0] * inverse;
                            m2[g] = sums[1] * inverse;
                          });
  if (dx != nullptr) {
    write_dx<V, Silu, Keep>(cut, part, x_rows, dy_rows, norm, m1, m2, dx);
  }
  if (counters != nullptr && rt_last_block(counters + part.panel, static_cast<unsigned>(samples))) {
    add_parts(partial, samples, cut.channels, part.channel, part.width, dgamma, dbeta);
  }
}

// Sums of a chunk: of each group to sums (N, G, chunks, 2), of each channel to partial (N * chunks, 2, C).
template <int V, bool Silu, class T>
__device__ __forceinline__ void chunk_sums(const Cut& cut, const T* __restrict__ x, const T* __restrict__ dy,
                                           const float* __restrict__ gamma, const float* __restrict__ beta,
                                           const float* __restrict__ mean, const float* __restrict__ rstd,
                                           float* __restrict__ sums, float* __restrict__ partial) {
  RT_DYNAMIC_SHARED(float, scratch);
  const Part part(cut, blockIdx.x);
  const int chunks = cut.chunks();
  add_rows<V, Silu, false>(cut, part, GlobalRows<const T>{x + part.first, cut.channels},
                           GlobalRows<const T>{dy + part.first, cut.channels},
                           Norm{gamma + part.channel, beta + part.channel, mean + part.group, rstd + part.group}, scratch,
                           ChannelSums(partial, cut, part), [=, &part](int g, const float(&of)[2]) {
                             float* const to = sums + ((part.group + g) * chunks + part.chunk) * 2;
                             to[0] = of[0];
                             to[1] = of[1];
                           });
}

// dx of a chunk from the sums of all chunks.
template <int V, bool Silu, class T>
__device__ __forceinline__ void chunk_dx(const Cut& cut, const T* __restrict__ x, const T* __restrict__ dy,
                                         const float* __restrict__ gamma, const float* __restrict__ beta,
                                         const float* __restrict__ mean, const float* __restrict__ rstd,
                                         const float* __restrict__ sums, T* __restrict__ dx) {
  float* const m1 = room<4>();
  float* const m2 = room<5>();
  const Part part(cut, gridDim.x - 1 - blockIdx.x);
  const int chunks = cut.chunks();
  const float inverse = 1.0f / cut.elements();
#pragma unroll 1
  for (int g = rt_warp(); g < part.groups; g += static_cast<int>(blockDim.x >> 5)) {
    const float* const of = sums + (part.group + g) * chunks * 2;
    float first = 0.0f;
    float second = 0.0f;
#pragma unroll 2
    for (int i = rt_lane(); i < chunks; i += 32) {
      first += of[2 * i];
      second += of[2 * i + 1];
    }
    first = rt_warp_sum(first);
    second = rt_warp_sum(second);
    if (rt_lane() == 0) {
      m1[g] = first * inverse;
      m2[g] = second * inverse;
    }
  }
  __syncthreads();
  write_dx<V, Silu, false>(cut, part, GlobalRows<const T>{x + part.first, cut.channels},
                           GlobalRows<const T>{dy + part.first, cut.channels},
                           Norm{gamma + part.channel, beta + part.channel, mean + part.group, rstd + part.group}, m1, m2,
                           dx);
}

}  // namespace

#define RT_GRADIENT_INPUTS(T)                                                                                \
  const T *__restrict__ x, const T *__restrict__ dy, const float *__restrict__ gamma,                        \
      const float *__restrict__ beta, const float *__restrict__ mean, const float *__restrict__ rstd

#define RT_GROUP_NORM_GRADIENT(suffix, T)                                                                             \
  RT_KERNEL_OCCUPANCY(rt_group_norm_gradient_##suffix, kThreads, 3,                                                   \
                      (RT_GRADIENT_INPUTS(T), T* __restrict__ dx, float* partial, float* dgamma, float* dbeta,        \
                       unsigned* counters, std::int64_t samples, std::int32_t silu, RT_CUT_PARAMETERS)) {             \
    with_variant<T>(pack, silu != 0, [=](auto width, auto fused) {                                                    \
      whole<decltype(width)::value, decltype(fused)::value>(RT_CUT, x, dy, gamma, beta, mean, rstd, dx, partial,      \
                                                            dgamma, dbeta, counters, samples);                        \
    });                                                                                                               \
  }                                                                                                                   \
  RT_KERNEL_OCCUPANCY(rt_group_norm_sums_##suffix, kThreads, 3,                                                       \
                      (RT_GRADIENT_INPUTS(T), float* __restrict__ sums, float* __restrict__ partial,                  \
                       std::int32_t silu, RT_CUT_PARAMETERS)) {                                                       \
    with_variant<T>(pack, silu != 0, [=](auto width, auto fused) {                                                    \
      chunk_sums<decltype(width)::value, decltype(fused)::value>(RT_CUT, x, dy, gamma, beta, mean, rstd, sums,        \
                                                                 partial);                                            \
    });                                                                                                               \
  }                                                                                                                   \
  RT_KERNEL_OCCUPANCY(rt_group_norm_dx_##suffix, kThreads, 3,                                                         \
                      (RT_GRADIENT_INPUTS(T), const float* __restrict__ sums, T* __restrict__ dx,                     \
                       std::int32_t silu, RT_CUT_PARAMETERS)) {                                                       \
    with_variant<T>(pack, silu != 0, [=](auto width, auto fused) {                                                    \
      chunk_dx<decltype(width)::value, decltype(fused)::value>(RT_CUT, x, dy, gamma, beta, mean, rstd, sums, dx);     \
    });                                                                                                               \
  }

RT_GROUP_NORM_GRADIENT(f32, float)
RT_GROUP_NORM_GRADIENT(bf16, rt_bf16)

// dgamma or dbeta may be null; partial (parts, 2, channels) holds sums of du, then of du xh.
RT_KERNEL_BOUNDS(rt_norm_parameters, kThreads,
                 (const float* __restrict__ partial, float* __restrict__ dgamma, float* __restrict__ dbeta,
                  std::int64_t parts, std::int32_t channels)) {
  const int channel = static_cast<int>(blockIdx.x) * kChannels;
  add_parts(partial, parts, channels, channel, min(kChannels, channels - channel), dgamma, dbeta);
}
