// layer_norm.cu   y = (x - mean_r) rstd_r gamma_c + beta_c over the last axis; its gradients
// shapes    x,y,dx,dy (R,C) f32 or bf16   gamma,beta (C), mean,rstd (R) f32   partial (blocks, 2, C) f32
// launch    128 threads. A row belongs to a team, a warp (`warps` != 0, for C <= 512) or the block, and any
//           one-dimensional grid will do: teams stride over rows. The gradient's grid says how many partial sums there
//           are; rt_norm_parameters (group_norm_gradient.cu) adds them
// numerics  f32; mean, then centred squares whose rest corrects the rounded mean: a mean of 1000 costs no digits. The
//           order of sums is given by C and, for parameter gradients, by the grid
// traffic   forward reads x and writes y, backward reads x, dy and writes dx, once each while a row fits a team's
//           registers (C <= 512 a warp, 2048 a block; wider rows are read again, from a cache if they fit it):
//           memory-bound at 8 and 15 FLOP an element. H100 at 3.0 TB/s, (65536,256): forward f32 134 MB 45 us, bf16 22
//           us; backward 67 and 34 us; expected 85% of that, since 12 warps a multiprocessor have 32 KB and more in
//           flight
// measured  not measured yet
// spills    none
// limits    R >= 1, 1 <= C < 2^31. `pack` neighbours are read at once: 16 bytes or one element; it divides C
// source    Ba, Kiros & Hinton 2016, eq. 3-4; backward in retort/layer_norm.h

#include "common/reduce.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kThreads = 128;
constexpr int kHeld = 16;               // elements of a row that a thread keeps in registers
constexpr int kWarpRow = 32 * kHeld;    // longest row of a warp

// The threads that share a row.
template <bool Warp>
struct Team {
  static constexpr int size = Warp ? 32 : kThreads;

  __device__ __forceinline__ int lane() const { return Warp ? rt_lane() : static_cast<int>(threadIdx.x); }
  __device__ __forceinline__ std::int64_t first() const {
    return Warp ? static_cast<std::int64_t>(blockIdx.x) * (kThreads / 32) + rt_warp() : blockIdx.x;
  }
  __device__ __forceinline__ std::int64_t step() const {
    return static_cast<std::int64_t>(gridDim.x) * (Warp ? kThreads / 32 : 1);
  }

  template <int N>
  __device__ __forceinline__ void sum(float (&values)[N]) const {
    if constexpr (Warp) {
#pragma unroll
      for (int i = 0; i < N; i++) {
        values[i] = rt_warp_sum(values[i]);
      }
    } else {
      rt_block_reduce(values, rt_plus{});
    }
  }
};

// Which columns a thread keeps: packs of V, `kHeld / V` of them `size` packs apart, from `sweep` on.
template <int V, bool Warp>
struct Columns {
  static constexpr int packs = kHeld / V;
  static constexpr int sweep = kHeld * Team<Warp>::size;
  int channels;

  __device__ __forceinline__ bool all() const { return channels <= sweep; }

  // body(k, channel) for each pack k that is there.
  template <class Body>
  __device__ __forceinline__ void each(int from, Body body) const {
#pragma unroll
    for (int k = 0; k < packs; k++) {
      const int c = from + (k * Team<Warp>::size + Team<Warp>().lane()) * V;
      if (c < channels) {
        body(k, c);
      }
    }
  }

  template <class T>
  __device__ __forceinline__ void load(const T* row, int from, float (&v)[packs][V]) const {
    each(from, [&](int k, int c) { rt_load(row + c, v[k]); });
  }
};

template <int V, bool Warp, class T>
__device__ __forceinline__ void forward(const T* __restrict__ x, const float* __restrict__ gamma,
                                        const float* __restrict__ beta, T* __restrict__ y, float* __restrict__ mean,
                                        float* __restrict__ rstd, std::int64_t rows, int channels, float eps) {
  const Team<Warp> team;
  const Columns<V, Warp> columns{channels};
  constexpr int sweep = Columns<V, Warp>::sweep;
  const float inverse = 1.0f / static_cast<float>(channels);
  for (std::int64_t r = team.first(); r < rows; r += team.step()) {
    const T* const row = x + r * channels;
    float v[columns.packs][V];
    float total[1] = {};
    for (int from = 0; from < channels; from += sweep) {
      columns.load(row, from, v);
      columns.each(from, [&](int k, int) {
#pragma unroll
        for (int j = 0; j < V; j++) {
          total[0] += v[k][j];
        }
      });
    }
    team.sum(total);
    const float centre = total[0] * inverse;
    float centred[2] = {};
    for (int from = 0; from < channels; from += sweep) {
      if (!columns.all()) {
        columns.load(row, from, v);
      }
      columns.each(from, [&](int k, int) {
#pragma unroll
        for (int j = 0; j < V; j++) {
          const float d = v[k][j] - centre;
          centred[0] += d;
          centred[1] += d * d;
        }
      });
    }
    team.sum(centred);
    // The rounded mean leaves a small rest, which corrects both.
    const float correction = centred[0] * inverse;
    const float squares = centred[1] - centred[0] * correction;
    const float m = centre + correction;
    const float scale = 1.0f / sqrtf((squares < 0.0f ? 0.0f : squares) * inverse + eps);
    if (team.lane() == 0) {
      mean[r] = m;
      rstd[r] = scale;
    }
    for (int from = 0; from < channels; from += sweep) {
      if (!columns.all()) {
        columns.load(row, from, v);
      }
      columns.each(from, [&](int k, int c) {
        float g[V], b[V];
        rt_load(gamma + c, g);
        rt_load(beta + c, b);
#pragma unroll
        for (int j = 0; j < V; j++) {
          b[j] += (v[k][j] - m) * scale * g[j];
        }
        rt_store(y + r * channels + c, b);
      });
    }
  }
}

// dx, and the block's sums of dy and of dy xh over its rows to partial. Either may be null.
template <int V, bool Warp, class T>
__device__ __forceinline__ void backward(const T* __restrict__ x, const T* __restrict__ dy,
                                         const float* __restrict__ gamma, const float* __restrict__ mean,
                                         const float* __restrict__ rstd, T* __restrict__ dx,
                                         float* __restrict__ partial, std::int64_t rows, int channels) {
  const Team<Warp> team;
  const Columns<V, Warp> columns{channels};
  constexpr int packs = Columns<V, Warp>::packs;
  constexpr int sweep = Columns<V, Warp>::sweep;
  const float inverse = 1.0f / static_cast<float>(channels);
  float* const sums = partial == nullptr ? nullptr : partial + 2 * static_cast<std::int64_t>(blockIdx.x) * channels;
  float xh[packs][V], g[packs][V];
  float dbeta[packs][V] = {};
  float dgamma[packs][V] = {};
  if (sums != nullptr && !columns.all()) {  // sums of more columns than a thread can keep stay in memory
    for (int from = 0; from < channels; from += sweep) {
      columns.each(from, [&](int k, int c) {
        rt_store(sums + c, dbeta[k]);
        rt_store(sums + channels + c, dgamma[k]);
      });
    }
  }
  for (std::int64_t r = team.first(); r < rows; r += team.step()) {
    const float centre = mean[r];
    const float scale = rstd[r];
    const auto load = [&](int from) {
      columns.load(x + r * channels, from, xh);
      columns.load(dy + r * channels, from, g);
      columns.each(from, [&](int k, int) {
#pragma unroll
        for (int j = 0; j < V; j++) {
          xh[k][j] = (xh[k][j] - centre) * scale;
        }
      });
    };
    const auto weigh = [&](int from) {
      columns.each(from, [&](int k, int c) {
        float weight[V];
        rt_load(gamma + c, weight);
#pragma unroll
        for (int j = 0; j < V; j++) {
          g[k][j] *= weight[j];
        }
      });
    };
    float totals[2] = {};
    for (int from = 0; from < channels; from += sweep) {
      load(from);
      if (sums != nullptr) {
        columns.each(from, [&](int k, int c) {
          if (!columns.all()) {
            rt_load(sums + c, dbeta[k]);
            rt_load(sums + channels + c, dgamma[k]);
          }
#pragma unroll
          for (int j = 0; j < V; j++) {
            dbeta[k][j] += g[k][j];
            dgamma[k][j] += g[k][j] * xh[k][j];
          }
          if (!columns.all()) {
            rt_store(sums + c, dbeta[k]);
            rt_store(sums + channels + c, dgamma[k]);
          }
        });
      }
      weigh(from);
      columns.each(from, [&](int k, int) {
#pragma unroll
        for (int j = 0; j < V; j++) {
          totals[0] += g[k][j];
          totals[1] += g[k][j] * xh[k][j];
        }
      });
    }
    if (dx == nullptr) {
      continue;
    }
    team.sum(totals);
    const float m1 = totals[0] * inverse;
    const float m2 = totals[1] * inverse;
    for (int from = 0; from < channels; from += sweep) {
      if (!columns.all()) {
        load(from);
        weigh(from);
      }
      columns.each(from, [&](int k, int c) {
        float out[V];
#pragma unroll
        for (int j = 0; j < V; j++) {
          out[j] = scale * (g[k][j] - m1 - xh[k][j] * m2);
        }
        rt_store(dx + r * channels + c, out);
      });
    }
  }
  if (sums == nullptr || !columns.all()) {
    return;
  }
  if constexpr (Warp) {
    RT_SHARED(float[2][kWarpRow], block);
    for (int warp = 0; warp < kThreads / 32; warp++) {
      __syncthreads();
      if (rt_warp() == warp) {
        columns.each(0, [&](int k, int c) {
#pragma unroll
          for (int j = 0; j < V; j++) {
            block[0][c + j] = (warp == 0 ? 0.0f : block[0][c + j]) + dbeta[k][j];
            block[1][c + j] = (warp == 0 ? 0.0f : block[1][c + j]) + dgamma[k][j];
          }
        });
      }
    }
    __syncthreads();
    for (int c = static_cast<int>(threadIdx.x); c < channels; c += kThreads) {
      sums[c] = block[0][c];
      sums[channels + c] = block[1][c];
    }
  } else {
    columns.each(0, [&](int k, int c) {
      rt_store(sums + c, dbeta[k]);
      rt_store(sums + channels + c, dgamma[k]);
    });
  }
}

// Calls body(pack, whether a team is a warp), both as types.
template <class T, class Body>
__device__ __forceinline__ void with_variant(int pack, bool warps, Body body) {
  const auto with_team = [=](auto width) {
    if (warps) {
      body(width, std::true_type{});
    } else {
      body(width, std::false_type{});
    }
  };
  if (pack == 1) {
    with_team(std::integral_constant<int, 1>{});
  } else {
    with_team(std::integral_constant<int, RT_WIDTH<T>>{});
  }
}

}  // namespace

#define RT_LAYER_NORM(suffix, T)                                                                                      \
  RT_KERNEL_OCCUPANCY(rt_layer_norm_##suffix, kThreads, 3,                                                            \
                      (const T* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ beta,      \
                       T* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd, std::int64_t rows,      \
                       std::int32_t channels, float eps, std::int32_t pack, std::int32_t warps)) {                    \
    with_variant<T>(pack, warps != 0, [=](auto width, auto team) {                                                    \
      forward<decltype(width)::value, decltype(team)::value>(x, gamma, beta, y, mean, rstd, rows, channels, eps);     \
    });                                                                                                               \
  }                                                                                                                   \
  RT_KERNEL_OCCUPANCY(rt_layer_norm_gradient_##suffix, kThreads, 3,                                                   \
                      (const T* __restrict__ x, const T* __restrict__ dy, const float* __restrict__ gamma,            \
                       const float* __restrict__ mean, const float* __restrict__ rstd, T* __restrict__ dx,            \
                       float* __restrict__ partial, std::int64_t rows, std::int32_t channels, std::int32_t pack,      \
                       std::int32_t warps)) {                                                                         \
    with_variant<T>(pack, warps != 0, [=](auto width, auto team) {                                                    \
      backward<decltype(width)::value, decltype(team)::value>(x, dy, gamma, mean, rstd, dx, partial, rows, channels); \
    });                                                                                                               \
  }

RT_LAYER_NORM(f32, float)
RT_LAYER_NORM(bf16, rt_bf16)
