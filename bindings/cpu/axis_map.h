// axis_map.h   a sparse linear map along one image axis, and two of them applied to images: y = (R (x) C) x.
//
// Average pooling, FIR resampling and the backward passes of both are such maps; a backward pass is the transposed map.
#pragma once

#include <omp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "cpu/dtype.h"

namespace rt {

// out[o] = sum over t of weight[o * taps + t] * in[index[o * taps + t]].
class AxisMap {
 public:
  struct Entry {
    std::int64_t out;
    std::int64_t in;
    float weight;
  };

  // Outputs with fewer entries than others are padded with zero weights on an input they read anyway, so that a non-finite
  // input spreads no further than its support; an output without entries is 0 times input 0. Entries stay in their order.
  AxisMap(std::int64_t inputs, std::int64_t outputs, const std::vector<Entry>& entries) : inputs_(inputs), outputs_(outputs) {
    std::vector<std::int64_t> count(static_cast<std::size_t>(outputs));
    for (const Entry& entry : entries) {
      taps_ = std::max(taps_, ++count[static_cast<std::size_t>(entry.out)]);
    }
    index_.assign(static_cast<std::size_t>(outputs * taps_), 0);
    weight_.assign(static_cast<std::size_t>(outputs * taps_), 0.0f);
    std::fill(count.begin(), count.end(), 0);
    for (const Entry& entry : entries) {
      const auto first = static_cast<std::size_t>(entry.out * taps_);
      const auto used = static_cast<std::size_t>(count[static_cast<std::size_t>(entry.out)]++);
      weight_[first + used] = entry.weight;
      std::fill(index_.begin() + static_cast<std::ptrdiff_t>(first + used),
                index_.begin() + static_cast<std::ptrdiff_t>(first) + taps_, entry.in);
    }
  }

  // Adjoint of the map with these entries.
  static AxisMap transposed(std::int64_t inputs, std::int64_t outputs, std::vector<Entry> entries) {
    for (Entry& entry : entries) {
      std::swap(entry.out, entry.in);
    }
    return AxisMap(outputs, inputs, entries);
  }

  std::int64_t inputs() const { return inputs_; }
  std::int64_t outputs() const { return outputs_; }
  std::int64_t taps() const { return taps_; }
  const std::int64_t* index(std::int64_t out) const { return index_.data() + out * taps_; }
  const float* weight(std::int64_t out) const { return weight_.data() + out * taps_; }

 private:
  std::int64_t inputs_;
  std::int64_t outputs_;
  std::int64_t taps_ = 1;
  std::vector<std::int64_t> index_;
  std::vector<float> weight_;
};

namespace axis_map_detail {

// One output pixel from a number of taps known to the compiler: one loop over channels.
template <class T, std::size_t... I>
inline void pixel(const T* const* source, const float* weight, T* y, std::int64_t channels, std::index_sequence<I...>) {
  const std::array<const T*, sizeof...(I)> from{source[I]...};
  const std::array<float, sizeof...(I)> by{weight[I]...};
#pragma GCC ivdep
  for (std::int64_t c = 0; c < channels; ++c) {
    float sum = 0;
    ((sum += by[I] * load(from[I] + c)), ...);
    store(y + c, sum);
  }
}

// The same for any number of taps, 32 channels at once.
template <class T>
inline void pixel(const T* const* source, const float* weight, std::int64_t taps, T* y, std::int64_t channels) {
  constexpr std::int64_t WIDTH = 32;
  for (std::int64_t first = 0; first < channels; first += WIDTH) {
    const std::int64_t width = std::min(WIDTH, channels - first);
    float sum[WIDTH] = {};
    for (std::int64_t t = 0; t < taps; ++t) {
      for (std::int64_t j = 0; j < width; ++j) {
        sum[j] += weight[t] * load(source[t] + first + j);
      }
    }
    for (std::int64_t j = 0; j < width; ++j) {
      store(y + first + j, sum[j]);
    }
  }
}

}  // namespace axis_map_detail

// x (n, rows.inputs, columns.inputs, channels) -> y (n, rows.outputs, columns.outputs, channels).
template <class T>
void apply(const AxisMap& rows, const AxisMap& columns, const T* x, T* y, std::int64_t n, std::int64_t channels) {
  const std::int64_t taps = rows.taps() * columns.taps();
  const std::int64_t work = n * rows.outputs() * columns.outputs() * channels * taps;
  const std::int64_t outputs = n * rows.outputs();
  const int team = work > RT_PARALLEL_MIN ? omp_get_max_threads() : 1;
  std::vector<const T*> sources(static_cast<std::size_t>(team * taps));
  std::vector<float> weights(static_cast<std::size_t>(team * taps));
#pragma omp parallel num_threads(team)
  {
    const T** const source = sources.data() + omp_get_thread_num() * taps;
    float* const weight = weights.data() + omp_get_thread_num() * taps;
#pragma omp for schedule(static)
    for (std::int64_t out = 0; out < outputs; ++out) {
      const std::int64_t row = out % rows.outputs();
      const T* const image = x + out / rows.outputs() * rows.inputs() * columns.inputs() * channels;
      for (std::int64_t column = 0; column < columns.outputs(); ++column) {
        std::int64_t t = 0;
        for (std::int64_t i = 0; i < rows.taps(); ++i) {
          const T* const line = image + rows.index(row)[i] * columns.inputs() * channels;
          for (std::int64_t j = 0; j < columns.taps(); ++j, ++t) {
            source[t] = line + columns.index(column)[j] * channels;
            weight[t] = rows.weight(row)[i] * columns.weight(column)[j];
          }
        }
        T* const pixel = y + (out * columns.outputs() + column) * channels;
        if (taps == 1) {
          axis_map_detail::pixel(source, weight, pixel, channels, std::make_index_sequence<1>{});
        } else if (taps == 4) {
          axis_map_detail::pixel(source, weight, pixel, channels, std::make_index_sequence<4>{});
        } else if (taps == 16) {
          axis_map_detail::pixel(source, weight, pixel, channels, std::make_index_sequence<16>{});
        } else {
          axis_map_detail::pixel(source, weight, taps, pixel, channels);
        }
      }
    }
  }
}

}  // namespace rt
