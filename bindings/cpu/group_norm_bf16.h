// group_norm_bf16.h   the passes of group_norm.cpp over V vectors of bfloat16 channels
// how       sums and constants of LANES V channels stay in registers over the rows of a block; the moments need one pass:
//           around the first position of a block, which is one of its samples, so that its deviation is part of the variance
//           and the difference of sums loses a factor of at most a block's length
// numerics  f32 between loading and storing; the sigmoid has a relative error of 2e-4, storing one of 4e-3
// traffic   in the first-level cache, cycles of a Zen 4 for 16 channels: moments 3, map 6, with SiLU 16; first gradient 16,
//           second 7
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/vec_bf16.h"

namespace rt {

// V vectors of a row, V even: pairs of even and odd channels.
template <int V>
struct Channels {
  vec lane[V];

  Channels() : lane{} {}
  template <class T>
  explicit Channels(const T* p) {
#pragma GCC unroll 4
    for (int j = 0; j < V; j += 2) {
      const Pair pair = load_pair(p + j * LANES);
      lane[j] = pair.even;
      lane[j + 1] = pair.odd;
    }
  }
  template <class T>
  void store(T* p) const {
#pragma GCC unroll 4
    for (int j = 0; j < V; j += 2) {
      store_pair(p + j * LANES, {lane[j], lane[j + 1]});
    }
  }
};

// What weighs moments of `rows` positions against those of the `before` ones before them.
struct Merging {
  float inverse, share, weight;

  Merging(std::int64_t before, std::int64_t rows)
      : inverse(1.0f / static_cast<float>(rows)),
        share(static_cast<float>(static_cast<double>(rows) / static_cast<double>(before + rows))),
        weight(static_cast<float>(static_cast<double>(before) * static_cast<double>(rows) /
                                  static_cast<double>(before + rows))) {}
};

// Per channel: merges `rows` positions with a mean and a sum of centred squares of those before them.
template <int V>
void channel_moments(const bf16* x, const Merging& merging, std::int64_t rows, std::int64_t stride, float* mean,
                     float* squares) {
  constexpr int R = V >= 4 ? 1 : 4 / V;  // rows side by side, or a sum would wait for the one before it
  const Channels<V> origin(x);
  Channels<V> sum[R];
  Channels<V> square[R];
  const auto add = [&](const bf16* row, int into) {
    const Channels<V> sample(row);
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
  Channels<V> total_mean(mean);
  Channels<V> total_squares(squares);
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

// y = silu?((x - mean) * scale + shift)
template <int V, bool SILU>
void normalise(const bf16* x, bf16* y, std::int64_t rows, std::int64_t stride, const float* mean, const float* scale,
               const float* shift) {
  const Channels<V> centre(mean);
  const Channels<V> factor(scale);
  const Channels<V> start(shift);
  for (std::int64_t r = 0; r < rows; ++r) {
    Channels<V> row(x + r * stride);
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
      const vec u = (row.lane[j] - centre.lane[j]) * factor.lane[j] + start.lane[j];
      row.lane[j] = SILU ? u * coarse_sigmoid(u) : u;
    }
    row.store(y + r * stride);
  }
}

// The gradient at u = xh gamma + beta, given the one of y.
template <bool SILU>
inline vec before_activation(vec dy, vec u) {
  if constexpr (SILU) {
    const vec s = coarse_sigmoid(u);
    return dy * (s * (u - u * s) + s);
  }
  return dy;
}

// Per channel: adds the sums of du and du * xh over `rows` positions; with KEEP, du itself goes to `kept`, rows
// `kept_stride` apart, in the order of the lanes.
template <int V, bool SILU, bool KEEP>
void channel_gradients(const bf16* x, const bf16* dy, float* kept, std::int64_t kept_stride, std::int64_t rows,
                       std::int64_t stride, const float* mean, const float* rstd, const float* gamma, const float* beta,
                       double* sum_du, double* sum_duxh) {
  const Channels<V> centre(mean);
  const Channels<V> start(beta);
  const Channels<V> weight(gamma);
  Channels<V> factor(rstd);
#pragma GCC unroll 8
  for (int j = 0; j < V; ++j) {
    factor.lane[j] *= weight.lane[j];
  }
  Channels<V> block_du;
  Channels<V> block_dud;
  for (std::int64_t r = 0; r < rows; ++r) {
    const Channels<V> row(x + r * stride);
    const Channels<V> gradient(dy + r * stride);
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
      const vec d = row.lane[j] - centre.lane[j];
      const vec du = before_activation<SILU>(gradient.lane[j], d * factor.lane[j] + start.lane[j]);
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

template <int V>
inline Channels<V> stored_gradient(const bf16* dy) {
  return Channels<V>(dy);
}

// What [channel_gradients] kept, in its order of lanes.
template <int V>
inline Channels<V> stored_gradient(const float* kept) {
  Channels<V> row;
#pragma GCC unroll 8
  for (int j = 0; j < V; ++j) {
    row.lane[j] = load_vec(kept + j * LANES);
  }
  return row;
}

// dx = rstd * (gamma du - m1 - xh m2). `dy`, rows `dy_stride` apart, may hold du already (SILU false).
template <int V, bool SILU, class D>
void input_gradient(const bf16* x, const D* dy, std::int64_t dy_stride, bf16* dx, std::int64_t rows,
                    std::int64_t stride, const float* mean, const float* rstd, const float* gamma, const float* beta,
                    const float* m1, const float* m2) {
  const Channels<V> centre(mean);
  const Channels<V> start(beta);
  const Channels<V> scale(rstd);
  Channels<V> factor(gamma);
  Channels<V> offset(m1);
  Channels<V> slope(m2);
#pragma GCC unroll 8
  for (int j = 0; j < V; ++j) {
    factor.lane[j] *= scale.lane[j];
    offset.lane[j] *= -scale.lane[j];
    slope.lane[j] *= -scale.lane[j] * scale.lane[j];
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    Channels<V> row(x + r * stride);
    const auto gradient = stored_gradient<V>(dy + r * dy_stride);
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
      const vec d = row.lane[j] - centre.lane[j];
      const vec du = before_activation<SILU>(gradient.lane[j], d * factor.lane[j] + start.lane[j]);
      row.lane[j] = du * factor.lane[j] + (d * slope.lane[j] + offset.lane[j]);
    }
    row.store(dx + r * stride);
  }
}

}  // namespace rt
