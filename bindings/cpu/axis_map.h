// axis_map.h   a sparse linear map along one image axis, and two of them applied to images: y = (R (x) C) x.
//
// Average pooling, FIR resampling and the backward passes of both are such maps; a backward pass is the transposed map.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "cpu/dtype.h"
#include "cpu/vec_bf16.h"

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

inline Pair add_scaled(Pair sum, float by, Pair value) {
  return {sum.even + by * value.even, sum.odd + by * value.odd};
}

// One output row from TAPS x TAPS taps a pixel, a number the compiler knows: per pixel one loop over channels.
template <int TAPS, class T>
void row(const AxisMap& rows, const AxisMap& columns, std::int64_t row, const T* image, T* y, std::int64_t channels) {
  std::array<const T*, TAPS> line;
  for (int i = 0; i < TAPS; ++i) {
    line[i] = image + rows.index(row)[i] * columns.inputs() * channels;
  }
  for (std::int64_t column = 0; column < columns.outputs(); ++column) {
    std::array<const T*, TAPS * TAPS> from;
    std::array<float, TAPS * TAPS> by;
    for (int i = 0; i < TAPS; ++i) {
      for (int j = 0; j < TAPS; ++j) {
        from[i * TAPS + j] = line[i] + columns.index(column)[j] * channels;
        by[i * TAPS + j] = rows.weight(row)[i] * columns.weight(column)[j];
      }
    }
    const auto gather = [&]<std::size_t... I>(std::index_sequence<I...>) {
      T* const pixel = y + column * channels;
      std::int64_t done = 0;
      if constexpr (std::is_same_v<T, bf16>) {
        for (; done + PAIR <= channels; done += PAIR) {
          Pair sum{};
          ((sum = add_scaled(sum, by[I], load_pair(from[I] + done))), ...);
          store_pair(pixel + done, sum);
        }
      }
#pragma GCC ivdep
      for (std::int64_t c = done; c < channels; ++c) {
        float sum = 0;
        ((sum += by[I] * load(from[I] + c)), ...);
        store(pixel + c, sum);
      }
    };
    gather(std::make_index_sequence<TAPS * TAPS>{});
  }
}

// The same for any number of taps, 32 channels at once.
template <class T>
void row_of_any(const AxisMap& rows, const AxisMap& columns, std::int64_t row, const T* image, T* y,
                std::int64_t channels) {
  constexpr std::int64_t WIDTH = 32;
  for (std::int64_t column = 0; column < columns.outputs(); ++column) {
    for (std::int64_t first = 0; first < channels; first += WIDTH) {
      const std::int64_t width = std::min(WIDTH, channels - first);
      float sum[WIDTH] = {};
      for (std::int64_t i = 0; i < rows.taps(); ++i) {
        const T* const line = image + rows.index(row)[i] * columns.inputs() * channels + first;
        for (std::int64_t j = 0; j < columns.taps(); ++j) {
          const float weight = rows.weight(row)[i] * columns.weight(column)[j];
          const T* const pixel = line + columns.index(column)[j] * channels;
          for (std::int64_t c = 0; c < width; ++c) {
            sum[c] += weight * load(pixel + c);
          }
        }
      }
      for (std::int64_t c = 0; c < width; ++c) {
        store(y + column * channels + first + c, sum[c]);
      }
    }
  }
}

}  // namespace axis_map_detail

// x (n, rows.inputs, columns.inputs, channels) -> y (n, rows.outputs, columns.outputs, channels).
template <class T>
void apply(const AxisMap& rows, const AxisMap& columns, const T* x, T* y, std::int64_t n, std::int64_t channels) {
  const std::int64_t image = rows.inputs() * columns.inputs() * channels;
  const std::int64_t line = columns.outputs() * channels;
  const std::int64_t lines = n * rows.outputs();
  const std::int64_t taps = rows.taps() == columns.taps() ? rows.taps() : 0;
#pragma omp parallel for schedule(static) if (lines * line * rows.taps() * columns.taps() > RT_PARALLEL_MIN)
  for (std::int64_t out = 0; out < lines; ++out) {
    const std::int64_t row = out % rows.outputs();
    const T* const from = x + out / rows.outputs() * image;
    if (taps == 1) {
      axis_map_detail::row<1>(rows, columns, row, from, y + out * line, channels);
    } else if (taps == 2) {
      axis_map_detail::row<2>(rows, columns, row, from, y + out * line, channels);
    } else if (taps == 4) {
      axis_map_detail::row<4>(rows, columns, row, from, y + out * line, channels);
    } else {
      axis_map_detail::row_of_any(rows, columns, row, from, y + out * line, channels);
    }
  }
}

}  // namespace rt
