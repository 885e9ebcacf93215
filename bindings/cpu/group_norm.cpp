// group_norm.cpp   y = (x - mean_g) * rstd_g * gamma_c + beta_c, optionally SiLU of it
// shapes    x,y,dx,dy (N,P,C) f32 or bf16   gamma,beta (C)   mean,rstd (N,G) f32
// how       one task per (sample, panel): a panel is a run of whole groups of about 64 channels (128 of bf16), so that its
//           map stays in L2 between the passes, and of whole cache lines where groups allow it. Inside, vectors run over
//           channels: sums are kept per channel and folded into groups at the end, so a group of 1, 2 or 4 channels costs no
//           more than one of 64. Whole vectors of channels take the passes of group_norm_vec.h. What a pass will read next
//           is asked for while it computes. Maps of 8 MB and more are written past the caches: a line need not be read to
//           be written, and whoever reads such a map next would not find its start there anyway
// numerics  f32; mean and centred squares per block of 64 positions, in vectors around the mean so far, blocks merged by
//           Chan's rule: E[x^2] - E[x]^2 never appears, so a mean of 1000 costs no digits. The order of
//           sums depends on the shape only, not on the threads.
// traffic   forward reads x and writes y; backward reads x, dy and writes dx (second passes hit L2): memory-bound, 2 and 3
//           tensors, 84 MB at 32x32x32x128 f32, a third tensor read where a written one goes through the caches. SiLU adds
//           one exponential and one reciprocal per element and pass
// measured  32x32x32x128, 32 groups, SiLU, two threads of a Zen 4 beside other work, medians in ms, in brackets before
//           vectors of f32, streaming and the kept scratch map, in the same run:
//           f32 forward 0.92-1.00 (1.24-1.30), backward 1.39-1.60 (2.4-3.2), both 2.3-2.5 (4.4-5.1): 33-36 GB/s, about 70 %
//           of the 48 GB/s that copying past the caches reached then (32 GB/s through them)
//           bf16 both 1.6 (2.1): compute-bound
//           32x16x16x128 f32, which stays in the caches: both 0.69 (0.77). 128x28x28x64 f32: both 3.6 (6.7)
//           statistics taken by whoever wrote x would save 6 to 12 % of a forward call (two threads, both types, this pass left
//           out), at most 0.3 % of a bf16 training step of the U-Net of `bench steps`, 0.7 % of its forward pass: not done. Nor is
//           the rest by whoever reads y: Winograd's patches overlap, 36 reads and exponentials for 16
// limits    C % G == 0, every size >= 1, any tail
// source    Wu & He 2018, eq. 7; Chan, Golub & LeVeque 1983, eq. 2.1; backward in retort/group_norm.h
#include "retort/group_norm.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <vector>

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/group_norm_vec.h"
#include "cpu/registry.h"
#include "cpu/scratch.h"
#include "math/exp.h"

namespace {

using std::int64_t;

constexpr int64_t PANEL = 64;  // channels: 32 x 32 positions of f32 are 256 KB, two such maps fit an L2 of 1 MB
constexpr int64_t LINE = 16;   // channels: a cache line, a full vector
constexpr int64_t BLOCK = 64;  // positions: 64 x 64 f32 are 16 KB, re-read from L1
constexpr int64_t STREAMED_BYTES = 8 << 20;  // of a map that is written past the caches
constexpr int64_t KEPT_BYTES = 512 << 10;  // of a scratch map that stays in an L2 of 1 MB beside its inputs

// Channels at once where two sums a channel are kept: 8 vectors of 16.
template <class T>
constexpr int SUM_WIDTH = 4 * rt::LANES;

// Channels at once where an exponential needs registers too.
template <class T>
constexpr int MAP_WIDTH = std::is_same_v<T, float> ? 2 * rt::LANES : 4 * rt::LANES;

struct Geometry {
  int64_t n, positions, channels, groups, per_group, panel, panels;

  Geometry(int64_t n, int64_t positions, int64_t channels, int64_t groups, int32_t dtype)
      : n(n),
        positions(positions),
        channels(channels),
        groups(groups),
        per_group(channels / groups),
        panel(std::min(channels, panel_of(channels / groups, dtype == RT_F32 ? PANEL : 2 * PANEL))),
        panels((channels + panel - 1) / panel) {}

  // Groups of 6 channels: 48, which are three lines, and not 60, whose panels would share a line and end in odd pieces.
  static int64_t panel_of(int64_t per_group, int64_t wanted) {
    const int64_t lines = std::lcm(per_group, LINE);
    const int64_t unit = lines <= 2 * wanted ? lines : per_group;
    return std::max<int64_t>(1, wanted / unit) * unit;
  }

  // Offset of the first element of a panel.
  int64_t start(int64_t sample, int64_t p) const { return sample * positions * channels + p * panel; }

  // Whether a map of T at `p` goes past the caches: one that the next reader would not find there anyway, of whole lines.
  template <class T>
  bool streams(const T* p) const {
    constexpr int64_t unit = LINE * 4 / static_cast<int64_t>(sizeof(T));
    return n * positions * channels * static_cast<int64_t>(sizeof(T)) >= STREAMED_BYTES && channels % unit == 0 &&
           panel % unit == 0 && reinterpret_cast<std::uintptr_t>(p) % 64 == 0;
  }

  // Whether the float32 map of a panel stays near.
  bool kept() const { return positions * panel * 4 <= KEPT_BYTES; }

  bool parallel() const { return n * positions * channels > RT_PARALLEL_MIN; }
};

// Calls `body(width constant, first, width)` for pieces of WIDEST, ..., 32, 16 and 8 channels, whose sums stay in
// registers, and for the rest (width constant 0).
template <int WIDEST, class Body>
void for_columns(int64_t channels, Body&& body) {
  int64_t first = 0;
  const auto pieces = [&](auto constant) {
    for (; channels - first >= constant; first += constant) {
      body(constant, first, constant.value);
    }
  };
  if constexpr (WIDEST >= 64) {
    pieces(std::integral_constant<int, 64>{});
  }
  if constexpr (WIDEST >= 32) {
    pieces(std::integral_constant<int, 32>{});
  }
  pieces(std::integral_constant<int, 16>{});
  pieces(std::integral_constant<int, 8>{});
  if (first < channels) {
    body(std::integral_constant<int, 0>{}, first, static_cast<int>(channels - first));
  }
}

// Calls `body(first, rows, width constant, first channel, width)` for blocks of positions and in them for pieces of
// channels, so that a map is read row by row.
template <int WIDEST, class Body>
void for_blocks(int64_t positions, int64_t channels, Body&& body) {
  for (int64_t first = 0; first < positions; first += BLOCK) {
    for_columns<WIDEST>(channels, [&](auto constant, int64_t c, int w) {
      body(first, std::min(BLOCK, positions - first), constant, c, w);
    });
  }
}

template <int W>
constexpr int lanes = W > 0 ? W : 8;

// Whether W channels of T go to the passes of group_norm_vec.h.
template <int W, class T>
constexpr bool in_vectors = W >= (std::is_same_v<T, rt::bf16> ? rt::PAIR : rt::LANES);

// Per channel: merges `rows` positions with the mean and the sum of centred squares of the `before` ones before them.
template <int W, class T>
void channel_moments(const T* x, int64_t before, int64_t rows, int64_t stride, int width, float* mean, float* squares) {
  const rt::Merging merging(before, rows);
  if constexpr (in_vectors<W, T>) {
    return rt::channel_moments<W / rt::LANES>(x, merging, rows, stride, mean, squares);
  }
  const int w = W > 0 ? W : width;
  float sum[lanes<W>] = {};
  for (int64_t r = 0; r < rows; ++r) {
    for (int j = 0; j < w; ++j) {
      sum[j] += rt::load(x + r * stride + j);
    }
  }
  for (int j = 0; j < w; ++j) {
    sum[j] *= merging.inverse;
  }
  float centred[lanes<W>] = {};
  float rest[lanes<W>] = {};
  for (int64_t r = 0; r < rows; ++r) {
    for (int j = 0; j < w; ++j) {
      const float d = rt::load(x + r * stride + j) - sum[j];
      rest[j] += d;
      centred[j] += d * d;
    }
  }
  // The rounded mean leaves a small rest, which corrects both.
  for (int j = 0; j < w; ++j) {
    const float correction = rest[j] * merging.inverse;
    sum[j] += correction;
    centred[j] -= rest[j] * correction;
  }
  for (int j = 0; j < w; ++j) {
    const float delta = sum[j] - mean[j];
    mean[j] += delta * merging.share;
    squares[j] += centred[j] + delta * delta * merging.weight;
  }
}

// y = silu?((x - mean) * scale + shift). `next` is what will be read after this map; `streaming`: past the caches.
template <int W, bool SILU, class T>
void normalise(const T* x, const T* next, T* y, bool streaming, int64_t rows, int64_t stride, int width,
               const float* mean, const float* scale, const float* shift) {
  if constexpr (in_vectors<W, T>) {
    return rt::normalise<W / rt::LANES, SILU>(x, next, y, streaming, rows, stride, mean, scale, shift);
  }
  const int w = W > 0 ? W : width;
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC ivdep
    for (int j = 0; j < w; ++j) {
      const float u = (rt::load(x + r * stride + j) - mean[j]) * scale[j] + shift[j];
      rt::store(y + r * stride + j, SILU ? rt_silu(u) : u);
    }
  }
}

// Per channel: adds the sums of du and du * xh over `rows` positions; with KEEP, du itself goes to `kept`, rows
// `kept_stride` apart.
template <int W, bool SILU, bool KEEP, class T>
void channel_gradients(const T* x, const T* dy, float* kept, int64_t kept_stride, int64_t rows, int64_t stride, int width,
                       const float* mean, const float* rstd, const float* gamma, const float* beta, double* sum_du,
                       double* sum_duxh) {
  if constexpr (in_vectors<W, T>) {
    return rt::channel_gradients<W / rt::LANES, SILU, KEEP>(x, dy, kept, kept_stride, rows, stride, mean, rstd, gamma,
                                                            beta, sum_du, sum_duxh);
  }
  const int w = W > 0 ? W : width;
  float du_block[lanes<W>] = {};
  float duxh_block[lanes<W>] = {};
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC ivdep
    for (int j = 0; j < w; ++j) {
      const float xh = (rt::load(x + r * stride + j) - mean[j]) * rstd[j];
      float du = rt::load(dy + r * stride + j);
      if constexpr (SILU) {
        du *= rt_silu_gradient(xh * gamma[j] + beta[j]);
      }
      du_block[j] += du;
      duxh_block[j] += du * xh;
      if constexpr (KEEP) {
        kept[r * kept_stride + j] = du;
      }
    }
  }
  for (int j = 0; j < w; ++j) {
    sum_du[j] += static_cast<double>(du_block[j]);
    sum_duxh[j] += static_cast<double>(duxh_block[j]);
  }
}

// dx = rstd * (gamma du - m1 - xh m2). `dy`, rows `dy_stride` apart, may hold du already (SILU false), and may be dx.
template <int W, bool SILU, class T, class D>
void input_gradient(const T* x, const D* dy, int64_t dy_stride, T* dx, bool streaming, int64_t rows, int64_t stride,
                    int width, const float* mean, const float* rstd, const float* gamma, const float* beta, const float* m1,
                    const float* m2) {
  if constexpr (in_vectors<W, T>) {
    return rt::input_gradient<W / rt::LANES, SILU>(x, dy, dy_stride, dx, streaming, rows, stride, mean, rstd, gamma,
                                                   beta, m1, m2);
  }
  const int w = W > 0 ? W : width;
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC ivdep
    for (int j = 0; j < w; ++j) {
      const float xh = (rt::load(x + r * stride + j) - mean[j]) * rstd[j];
      float du = rt::load(dy + r * dy_stride + j);
      if constexpr (SILU) {
        du *= rt_silu_gradient(xh * gamma[j] + beta[j]);
      }
      rt::store(dx + r * stride + j, rstd[j] * (gamma[j] * du - m1[j] - xh * m2[j]));
    }
  }
}

// Variance of a group from the means and centred squares of its channels, each over the same number of positions; `mean`
// becomes the group's.
double fold_moments(int64_t per_group, int64_t positions, float* mean, const float* squares) {
  double sum = 0;
  for (int64_t c = 0; c < per_group; ++c) {
    sum += static_cast<double>(mean[c]);
  }
  const double group_mean = sum / static_cast<double>(per_group);
  double within = 0;
  double between = 0;
  for (int64_t c = 0; c < per_group; ++c) {
    const double d = static_cast<double>(mean[c]) - group_mean;
    within += static_cast<double>(squares[c]);
    between += d * d;
  }
  std::fill_n(mean, per_group, static_cast<float>(group_mean));
  return (within / static_cast<double>(positions) + between) / static_cast<double>(per_group);
}

// One block of floats per thread of the next parallel region, allocated before it: nothing may throw inside.
class Scratch {
 public:
  Scratch(int64_t panel, int64_t arrays)
      : panel_(panel),
        stride_((panel * arrays + LINE - 1) / LINE * LINE),
        floats_(rt::scratch(stride_ * omp_get_max_threads())) {}

  float* array(int64_t index) const { return floats_ + omp_get_thread_num() * stride_ + index * panel_; }

 private:
  int64_t panel_;
  int64_t stride_;
  float* floats_;
};

template <bool SILU, class T>
void forward(const Geometry& g, const T* x, const float* gamma, const float* beta, T* y, float* mean, float* rstd,
             double eps) {
  const Scratch scratch(g.panel, 2);
  const bool streaming = g.streams(y);
#pragma omp parallel for collapse(2) schedule(static) if (g.parallel())
  for (int64_t sample = 0; sample < g.n; ++sample) {
    for (int64_t p = 0; p < g.panels; ++p) {
      const int64_t c0 = p * g.panel;
      const int64_t width = std::min(g.panel, g.channels - c0);
      const int64_t at = g.start(sample, p);
      const int64_t next = p + 1 < g.panels ? g.start(sample, p + 1) : g.start(sample + 1, 0);
      float* const panel_mean = scratch.array(0);
      float* const panel_scale = scratch.array(1);
      std::fill_n(panel_mean, width, 0.0f);
      std::fill_n(panel_scale, width, 0.0f);
      for_blocks<SUM_WIDTH<T>>(g.positions, width, [&](int64_t first, int64_t rows, auto constant, int64_t c, int w) {
        channel_moments<constant.value>(x + at + first * g.channels + c, first, rows, g.channels, w, panel_mean + c,
                                        panel_scale + c);
      });
      const int64_t first_group = sample * g.groups + c0 / g.per_group;
      for (int64_t c = 0, group = first_group; c < width; c += g.per_group, ++group) {
        const double variance = fold_moments(g.per_group, g.positions, panel_mean + c, panel_scale + c);
        mean[group] = panel_mean[c];
        rstd[group] = static_cast<float>(1.0 / std::sqrt(variance + eps));
        for (int64_t k = c; k < c + g.per_group; ++k) {
          panel_scale[k] = rstd[group] * gamma[c0 + k];
        }
      }
      for_blocks<MAP_WIDTH<T>>(g.positions, width, [&](int64_t first, int64_t rows, auto constant, int64_t c, int w) {
        const int64_t from = at + first * g.channels + c;
        normalise<constant.value, SILU>(x + from, x + next + first * g.channels + c, y + from, streaming, rows,
                                        g.channels, w, panel_mean + c, panel_scale + c, beta + c0 + c);
      });
      _mm_sfence();
    }
  }
}

// KEEP: the first pass leaves du behind, which saves the second one an exponential: in a scratch map of one panel, or,
// float32 maps that are too large for one, in dx.
template <bool SILU, bool KEEP, class T>
void backward(const Geometry& g, const T* x, const T* dy, const float* gamma, const float* beta, const float* mean,
              const float* rstd, T* dx, float* dgamma, float* dbeta) {
  const bool aside = KEEP && g.kept();
  const Scratch scratch(g.panel, 4 + (aside ? g.positions : 0));
  const bool streaming = (aside || !KEEP) && g.streams(dx);
  std::vector<double> sums(static_cast<std::size_t>(2 * g.n * g.channels));
  double* const sums_du = sums.data();
  double* const sums_duxh = sums.data() + g.n * g.channels;
#pragma omp parallel for collapse(2) schedule(static) if (g.parallel())
  for (int64_t sample = 0; sample < g.n; ++sample) {
    for (int64_t p = 0; p < g.panels; ++p) {
      const int64_t c0 = p * g.panel;
      const int64_t width = std::min(g.panel, g.channels - c0);
      const int64_t at = sample * g.positions * g.channels + c0;
      double* const du = sums_du + sample * g.channels + c0;
      double* const duxh = sums_duxh + sample * g.channels + c0;
      float* const panel_mean = scratch.array(0);
      float* const panel_rstd = scratch.array(1);
      float* const m1 = scratch.array(2);
      float* const m2 = scratch.array(3);
      float* kept = aside ? scratch.array(4) : nullptr;
      const int64_t kept_stride = aside ? g.panel : g.channels;
      if constexpr (KEEP && std::is_same_v<T, float>) {
        kept = aside ? kept : dx + at;
      }
      const int64_t first_group = sample * g.groups + c0 / g.per_group;
      for (int64_t c = 0, group = first_group; c < width; c += g.per_group, ++group) {
        std::fill_n(panel_mean + c, g.per_group, mean[group]);
        std::fill_n(panel_rstd + c, g.per_group, rstd[group]);
      }
      for_blocks<MAP_WIDTH<T>>(g.positions, width, [&](int64_t first, int64_t rows, auto constant, int64_t c, int w) {
        const int64_t from = at + first * g.channels + c;
        channel_gradients<constant.value, SILU, KEEP>(x + from, dy + from,
                                                      KEEP ? kept + first * kept_stride + c : nullptr, kept_stride, rows,
                                                      g.channels, w, panel_mean + c, panel_rstd + c, gamma + c0 + c,
                                                      beta + c0 + c, du + c, duxh + c);
      });
      if (dx == nullptr) {
        continue;
      }
      const double elements = static_cast<double>(g.positions * g.per_group);
      for (int64_t first = 0; first < width; first += g.per_group) {
        double a = 0;
        double b = 0;
        for (int64_t c = first; c < first + g.per_group; ++c) {
          a += static_cast<double>(gamma[c0 + c]) * du[c];
          b += static_cast<double>(gamma[c0 + c]) * duxh[c];
        }
        std::fill_n(m1 + first, g.per_group, static_cast<float>(a / elements));
        std::fill_n(m2 + first, g.per_group, static_cast<float>(b / elements));
      }
      for_blocks<MAP_WIDTH<T>>(g.positions, width, [&](int64_t first, int64_t rows, auto constant, int64_t c, int w) {
        const int64_t from = at + first * g.channels + c;
        const auto finish = [&](const auto* gradient, int64_t gradient_stride) {
          input_gradient<constant.value, SILU && !KEEP>(x + from, gradient, gradient_stride, dx + from, streaming, rows,
                                                        g.channels, w, panel_mean + c, panel_rstd + c, gamma + c0 + c, beta + c0 + c,
                                                        m1 + c, m2 + c);
        };
        if constexpr (KEEP) {
          finish(kept + first * kept_stride + c, kept_stride);
        } else {
          finish(dy + from, g.channels);
        }
      });
      _mm_sfence();
    }
  }
  for (int64_t c = 0; c < g.channels; ++c) {
    double du = 0;
    double duxh = 0;
    for (int64_t sample = 0; sample < g.n; ++sample) {
      du += sums_du[sample * g.channels + c];
      duxh += sums_duxh[sample * g.channels + c];
    }
    if (dgamma != nullptr) {
      dgamma[c] = static_cast<float>(duxh);
    }
    if (dbeta != nullptr) {
      dbeta[c] = static_cast<float>(du);
    }
  }
}

// Calls `body` with a flag as a type.
template <class Body>
void with_flag(bool flag, Body&& body) {
  if (flag) {
    body(std::true_type{});
  } else {
    body(std::false_type{});
  }
}

}  // namespace

rt_status rt_group_norm_forward(const void* x, const float* gamma, const float* beta, void* y, float* mean, float* rstd,
                                int64_t n, int64_t positions, int64_t channels, int64_t groups, double eps, int32_t silu,
                                int32_t dtype) {
  return rt::guarded([&] {
    const Geometry geometry(n, positions, channels, groups, dtype);
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      with_flag(silu != 0, [&](auto fused) {
        forward<fused.value>(geometry, static_cast<const T*>(x), gamma, beta, static_cast<T*>(y), mean, rstd, eps);
      });
    });
  });
}
RT_EXPORT(rt_group_norm_forward);

rt_status rt_group_norm_backward(const void* x, const void* dy, const float* gamma, const float* beta, const float* mean,
                                 const float* rstd, void* dx, float* dgamma, float* dbeta, int64_t n, int64_t positions,
                                 int64_t channels, int64_t groups, int32_t silu, int32_t dtype) {
  return rt::guarded([&] {
    const Geometry geometry(n, positions, channels, groups, dtype);
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      with_flag(silu != 0, [&](auto fused) {
        const bool fits = std::is_same_v<T, float> || geometry.kept();
        with_flag(dx != nullptr && fits, [&](auto keep) {
          backward<fused.value, fused.value && keep.value>(
              geometry, static_cast<const T*>(x), static_cast<const T*>(dy), gamma, beta, mean, rstd, static_cast<T*>(dx),
              dgamma, dbeta);
        });
      });
    });
  });
}
RT_EXPORT(rt_group_norm_backward);
