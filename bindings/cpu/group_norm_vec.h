// group_norm_vec.h   the passes of group_norm.cpp over V vectors of channels
// how       sums and constants of LANES V channels stay in registers over the rows of a block; the moments need one pass:
//           around the mean of the blocks before, whose distance from the block's is part of the variance, or around the
//           first position, which is one of the samples: the difference of sums loses a factor of at most a block's length
// numerics  f32 between loading and storing; the sigmoid of bfloat16 has a relative error of 2e-4 where storing has one of
//           4e-3, that of float32 one of 4e-7
// traffic   bf16 in the first-level cache, cycles of a Zen 4 for 16 channels: moments 3, map 6, with SiLU 16; first gradient
//           16, second 7
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cpu/vec_bf16.h"

namespace rt {

constexpr int LINE_BYTES = 64;
constexpr std::int64_t AHEAD = 32;  // rows between asking for one and reading it

// V vectors of a row of T: of float32 in order, of bfloat16, V even, pairs of even and odd channels.
template <int V, class T>
struct Channels {
  vec lane[V];

  Channels() : lane{} {}
  template <class U>
  explicit Channels(const U* p) {
    if constexpr (std::is_same_v<T, float>) {
#pragma GCC unroll 8
      for (int j = 0; j < V; ++j) {
        lane[j] = load_vec(p + j * LANES);
      }
    } else {
#pragma GCC unroll 4
      for (int j = 0; j < V; j += 2) {
        const Pair pair = load_pair(p + j * LANES);
        lane[j] = pair.even;
        lane[j + 1] = pair.odd;
      }
    }
  }
  template <class U>
  void store(U* p) const {
    if constexpr (std::is_same_v<T, float>) {
#pragma GCC unroll 8
      for (int j = 0; j < V; ++j) {
        store_vec(p + j * LANES, lane[j]);
      }
    } else {
#pragma GCC unroll 4
      for (int j = 0; j < V; j += 2) {
        store_pair(p + j * LANES, {lane[j], lane[j + 1]});
      }
    }
  }
  // Past the caches where `streaming`.
  void store(T* p, bool streaming) const {
    if (!streaming) {
      store(p);
    } else if constexpr (std::is_same_v<T, float>) {
#pragma GCC unroll 8
      for (int j = 0; j < V; ++j) {
        stream_vec(p + j * LANES, lane[j]);
      }
    } else {
#pragma GCC unroll 4
      for (int j = 0; j < V; j += 2) {
        stream_vec(reinterpret_cast<float*>(p + j * LANES), reinterpret_cast<vec>(pair_words({lane[j], lane[j + 1]})));
      }
    }
  }
};

// The logistic function as precise as T.
template <class T>
inline vec sigmoid(vec x) {
  if constexpr (std::is_same_v<T, float>) {
    return sigmoid_vec(x);
  } else {
    return coarse_sigmoid(x);
  }
}

// Asks for the line at `p` before it is needed, to the second-level cache.
template <class T>
inline void soon(const T* p) {
  __builtin_prefetch(p, 0, 2);
}

// What weighs moments of `rows` positions against those of the `before` ones before them.
struct Merging {
  std::int64_t before;
  float inverse, share, weight;

  Merging(std::int64_t before, std::int64_t rows)
      : before(before),
        inverse(1.0f / static_cast<float>(rows)),
        share(static_cast<float>(static_cast<double>(rows) / static_cast<double>(before + rows))),
        weight(static_cast<float>(static_cast<double>(before) * static_cast<double>(rows) /
                                  static_cast<double>(before + rows))) {}
};

// Per channel: merges `rows` positions with a mean and a sum of centred squares of those before them.
template <int V, class T>
void channel_moments(const T* x, const Merging& merging, std::int64_t rows, std::int64_t stride, float* mean,
                     float* squares) {
  constexpr int R = V >= 4 ? 1 : 4 / V;  // rows side by side, or a sum would wait for the one before it
  Channels<V, T> origin(x);
  if (merging.before > 0) {
    origin = Channels<V, T>(mean);
  }
  Channels<V, T> sum[R];
  Channels<V, T> square[R];
  const auto add = [&](const T* row, int into) {
    const Channels<V, T> sample(row);
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
      const vec d = sample.lane[j] - origin.lane[j];
      sum[into].lane[j] += d;
      square[into].lane[j] += d * d;
    }
  };
  const std::int64_t whole = rows / R * R;
  for (std::int64_t r = 0; r < whole; r += R) {
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
      add(x + (r + i) * stride, i);
    }
  }
  for (std::int64_t r = whole; r < rows; ++r) {
    add(x + r * stride, 0);
  }
  Channels<V, T> total_mean(mean);
  Channels<V, T> total_squares(squares);
#pragma GCC unroll 8
  for (int j = 0; j < V; ++j) {
    vec s = sum[0].lane[j];
    vec q = square[0].lane[j];
#pragma GCC unroll 4
    for (int i = 1; i < R; ++i) {
      s += sum[i].lane[j];
      q += square[i].lane[j];
    }
    const vec centre = s * merging.inverse;
    const vec delta = origin.lane[j] + centre - total_mean.lane[j];
    total_squares.lane[j] += larger(vec{}, q - s * centre) + delta * delta * merging.weight;
    total_mean.lane[j] += delta * merging.share;
  }
  total_mean.store(mean);
  total_squares.store(squares);
}

// y = silu?((x - mean) * scale + shift). `next` is what will be read after this map, in the same places.
template <int V, bool SILU, class T>
void normalise(const T* x, const T* next, T* y, bool streaming, std::int64_t rows, std::int64_t stride,
               const float* mean, const float* scale, const float* shift) {
  const Channels<V, T> centre(mean);
  const Channels<V, T> factor(scale);
  const Channels<V, T> start(shift);
  for (std::int64_t r = 0; r < rows; ++r) {
    Channels<V, T> row(x + r * stride);
    for (int k = 0; k < V * LANES; k += LINE_BYTES / static_cast<int>(sizeof(T))) {
      soon(next + r * stride + k);
    }
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
      const vec u = (row.lane[j] - centre.lane[j]) * factor.lane[j] + start.lane[j];
      row.lane[j] = SILU ? u * sigmoid<T>(u) : u;
    }
    row.store(y + r * stride, streaming);
  }
}

// The gradient at u = xh gamma + beta, given the one of y.
template <bool SILU, class T>
inline vec before_activation(vec dy, vec u) {
  if constexpr (SILU) {
    const vec s = sigmoid<T>(u);
    return dy * (s * (u - u * s) + s);
  }
  return dy;
}

// Per channel: adds the sums of du and du * xh over `rows` positions; with KEEP, du itself goes to `kept`, rows
// `kept_stride` apart, in the order of the lanes.
template <int V, bool SILU, bool KEEP, class T>
void channel_gradients(const T* x, const T* dy, float* kept, std::int64_t kept_stride, std::int64_t rows,
                       std::int64_t stride, const float* mean, const float* rstd, const float* gamma, const float* beta,
                       double* sum_du, double* sum_duxh) {
  const Channels<V, T> centre(mean);
  const Channels<V, T> start(beta);
  const Channels<V, T> weight(gamma);
  Channels<V, T> factor(rstd);
#pragma GCC unroll 8
  for (int j = 0; j < V; ++j) {
    factor.lane[j] *= weight.lane[j];
  }
  Channels<V, T> block_du;
  Channels<V, T> block_dud;
  for (std::int64_t r = 0; r < rows; ++r) {
    const Channels<V, T> row(x + r * stride);
    const Channels<V, T> gradient(dy + r * stride);
    for (int k = 0; k < V * LANES; k += LINE_BYTES / static_cast<int>(sizeof(T))) {
      soon(x + (r + AHEAD) * stride + k);
      soon(dy + (r + AHEAD) * stride + k);
    }
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
      const vec d = row.lane[j] - centre.lane[j];
      const vec du = before_activation<SILU, T>(gradient.lane[j], d * factor.lane[j] + start.lane[j]);
      block_du.lane[j] += du;
      block_dud.lane[j] += du * d;
      if constexpr (KEEP) {
        store_vec(kept + r * kept_stride + j * LANES, du);
      }
    }
  }
  float block[2][V * LANES];
  block_du.store(block[0]);
  block_dud.store(block[1]);
  for (int c = 0; c < V * LANES; ++c) {
    sum_du[c] += static_cast<double>(block[0][c]);
    sum_duxh[c] += static_cast<double>(block[1][c]) * static_cast<double>(rstd[c]);
  }
}

template <int V, class T>
inline Channels<V, T> stored_gradient(const T* dy) {
  return Channels<V, T>(dy);
}

// What [channel_gradients] kept, in its order of lanes.
template <int V, class T>
inline Channels<V, T> stored_gradient(const float* kept)
  requires(!std::is_same_v<T, float>)
{
  Channels<V, T> row;
#pragma GCC unroll 8
  for (int j = 0; j < V; ++j) {
    row.lane[j] = load_vec(kept + j * LANES);
  }
  return row;
}

// dx = rstd * (gamma du - m1 - xh m2). `dy`, rows `dy_stride` apart, may hold du already (SILU false).
template <int V, bool SILU, class T, class D>
void input_gradient(const T* x, const D* dy, std::int64_t dy_stride, T* dx, bool streaming, std::int64_t rows,
                    std::int64_t stride, const float* mean, const float* rstd, const float* gamma, const float* beta,
                    const float* m1, const float* m2) {
  const Channels<V, T> centre(mean);
  const Channels<V, T> start(beta);
  const Channels<V, T> scale(rstd);
  Channels<V, T> factor(gamma);
  Channels<V, T> offset(m1);
  Channels<V, T> slope(m2);
#pragma GCC unroll 8
  for (int j = 0; j < V; ++j) {
    factor.lane[j] *= scale.lane[j];
    offset.lane[j] *= -scale.lane[j];
    slope.lane[j] *= -scale.lane[j] * scale.lane[j];
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    Channels<V, T> row(x + r * stride);
    const auto gradient = stored_gradient<V, T>(dy + r * dy_stride);
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
      const vec d = row.lane[j] - centre.lane[j];
      const vec du = before_activation<SILU, T>(gradient.lane[j], d * factor.lane[j] + start.lane[j]);
      row.lane[j] = du * factor.lane[j] + (d * slope.lane[j] + offset.lane[j]);
    }
    row.store(dx + r * stride, streaming);
  }
}

}  // namespace rt
