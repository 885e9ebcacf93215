// group_norm.cuh   what the group norm and its gradients share: how a launch cuts (N,P,C), how a block works on its part
//
// A block has a panel, which is `panel` channels, whole groups, of one sample, with all its positions or a chunk of them.
// Blocks have at most 192 threads; panels are the fastest index of the grid, then chunks, then samples.
#pragma once

#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kThreads = 192;  // most threads of a block: three of these blocks leave each thread 96 registers

// --- what a block works on -----------------------------------------------------------------------------

// How a launch cuts (N, P, C).
struct Cut {
  std::int64_t positions;
  int channels, per_group, panel;
  int chunk;  // positions of a block

  __device__ __forceinline__ int groups() const { return channels / per_group; }
  __device__ __forceinline__ int chunks() const { return static_cast<int>((positions + chunk - 1) / chunk); }
  __device__ __forceinline__ float elements() const {
    return static_cast<float>(positions) * static_cast<float>(per_group);
  }
  // Elements of one group in a chunk.
  __device__ __forceinline__ float elements(int index) const {
    const std::int64_t left = positions - static_cast<std::int64_t>(index) * chunk;
    return static_cast<float>(left < chunk ? left : chunk) * static_cast<float>(per_group);
  }
};

// A block's part: `rows` positions of `width` channels, from `channel` on, which are `groups` groups.
struct Part {
  std::int64_t sample;
  std::int64_t first;  // element of x where it begins
  std::int64_t group;  // first group, counted over samples
  int chunk, rows, panel, channel, width, groups;

  __device__ __forceinline__ Part(const Cut& cut, unsigned block) {
    const unsigned panels = static_cast<unsigned>((cut.channels + cut.panel - 1) / cut.panel);
    const unsigned chunks = static_cast<unsigned>(cut.chunks());
    const unsigned slab = block / panels;
    panel = static_cast<int>(block - slab * panels);
    sample = slab / chunks;
    chunk = static_cast<int>(slab % chunks);
    const std::int64_t row = static_cast<std::int64_t>(chunk) * cut.chunk;
    const std::int64_t left = cut.positions - row;
    rows = left < cut.chunk ? static_cast<int>(left) : cut.chunk;
    channel = panel * cut.panel;
    width = min(cut.panel, cut.channels - channel);
    groups = width / cut.per_group;
    group = sample * cut.groups() + channel / cut.per_group;
    first = (sample * cut.positions + row) * cut.channels + channel;
  }
};

// Rows in memory: of a tensor, or of the panel in shared memory.
template <class T, class Stride>
struct Rows {
  T* first;
  Stride stride;
  __device__ __forceinline__ T* at(int row, int channel) const { return first + row * stride + channel; }
};

template <class T>
using GlobalRows = Rows<T, std::int64_t>;
template <class T>
using SharedRows = Rows<T, int>;

// How the threads of a block share rows of `columns` packs: each keeps to one column and strides over rows, so what
// belongs to a column stays in its registers. Up to 32 columns a warp takes whole rows. If there are more columns than
// threads, a thread takes all rows of several columns in turn.
struct Lanes {
  int columns, column, column_step;  // column >= columns: nothing to do
  int row, row_step;
  int warp_row, warp_rows;  // rows of one warp at a time
  int slot, slots;          // partial sums a column has in the block

  __device__ __forceinline__ explicit Lanes(int columns) : columns(columns) {
    const int threads = static_cast<int>(blockDim.x);
    const int thread = static_cast<int>(threadIdx.x);
    column_step = min(columns, threads);
    if (columns <= 32) {
      warp_rows = 32 / columns;
      warp_row = rt_lane() / columns;
      column = warp_row < warp_rows ? rt_lane() - warp_row * columns : columns;
      row = rt_warp() * warp_rows + warp_row;
      row_step = (threads >> 5) * warp_rows;
      slot = rt_warp();
      slots = threads >> 5;
    } else {
      warp_rows = 1;
      warp_row = 0;
      slots = threads / column_step;
      slot = thread / column_step;
      column = slot < slots ? thread - slot * column_step : columns;
      row = slot;
      row_step = slots;
    }
  }

  // Whether a thread has one column at most.
  __device__ __forceinline__ bool single() const { return columns <= static_cast<int>(blockDim.x); }

  // Whether this thread speaks for its slot and column after sum_warp_rows.
  __device__ __forceinline__ bool speaks() const { return column < columns && warp_row == 0; }

  // Sum over the rows that a warp takes at once, right in the lanes of its first row.
  __device__ __forceinline__ float sum_warp_rows(float value) const {
    for (int n = warp_rows; n > 1;) {
      const int half = (n + 1) / 2;
      const float other = __shfl_down_sync(RT_FULL_WARP, value, static_cast<unsigned>(half * columns));
      value += warp_row + half < n ? other : 0.0f;
      n = half;
    }
    return value;
  }

  // body(column) for each column of this thread.
  template <class Body>
  __device__ __forceinline__ void for_columns(Body body) const {
#pragma unroll 1
    for (int q = column; q < columns; q += column_step) {
      body(q);
    }
  }

  // load(row, cell) for `Batch` rows, then use(row, cell) for each of them, until all rows are done.
  template <int Batch, class Cell, class Load, class Use>
  __device__ __forceinline__ void for_rows(int rows, Load load, Use use) const {
#pragma unroll 1
    for (int r = row; r < rows; r += Batch * row_step) {
      Cell cells[Batch];
#pragma unroll
      for (int i = 0; i < Batch; i++) {
        if (r + i * row_step < rows) {
          load(r + i * row_step, cells[i]);
        }
      }
#pragma unroll
      for (int i = 0; i < Batch; i++) {
        if (r + i * row_step < rows) {
          use(r + i * row_step, cells[i]);
        }
      }
    }
  }
};

// Rows of one tensor that a thread has in flight, as many as leave room for three blocks on a multiprocessor.
constexpr int kBatch = 4;

template <int V>
struct Cell {
  float x[V];
};

// Shared memory for one number a thread, or a group of the panel.
template <int Index>
__device__ __forceinline__ float* room() {
  RT_SHARED(float[kThreads], numbers);
  return numbers;
}

// Adds up each value over the threads whose column lies in one group of `span` columns, and calls finish(group, sums) in
// one thread for each group; all threads see what it wrote. Where a thread has several columns there is one group only.
template <int N, class Finish>
__device__ __forceinline__ void sum_groups(const Lanes& lanes, int groups, int span, float (&values)[N], Finish finish) {
  static_assert(N == 1 || N == 2);
  float* const partial[2] = {room<0>(), room<1>()};
  const int across = lanes.column_step;
#pragma unroll
  for (int i = 0; i < N; i++) {
    values[i] = lanes.sum_warp_rows(values[i]);
    if (lanes.speaks()) {
      partial[i][lanes.slot * across + lanes.column] = values[i];
    }
  }
  __syncthreads();
  const int width = min(span, across);
#pragma unroll 1
  for (int g = rt_warp(); g < groups; g += static_cast<int>(blockDim.x >> 5)) {
    float sums[N] = {};
#pragma unroll 1
    for (int i = rt_lane(); i < lanes.slots * width; i += 32) {
      const int slot = i / width;
      const int at = slot * across + g * width + i - slot * width;
#pragma unroll
      for (int j = 0; j < N; j++) {
        sums[j] += partial[j][at];
      }
    }
#pragma unroll
    for (int j = 0; j < N; j++) {
      sums[j] = rt_warp_sum(sums[j]);
    }
    if (rt_lane() == 0) {
      finish(g, sums);
    }
  }
  __syncthreads();
}

// Begins to copy a panel to shared memory, row by row without gaps.
template <int V, class T>
__device__ __forceinline__ void stage(T* panel, GlobalRows<const T> from, int rows, int width) {
  constexpr int W = RT_WIDTH<T>;
  if (V == W || (V > 1 && width % W == 0 && from.stride % W == 0 && rt_aligned(from.first))) {
    const Lanes lanes(width / W);
    lanes.for_columns([&](int q) {
      for (int r = lanes.row; r < rows; r += lanes.row_step) {
        rt_cp_async_16(panel + r * width + q * W, from.at(r, q * W));
      }
    });
  } else {
    const Lanes lanes(width / V);
    lanes.for_columns([&](int q) {
      lanes.for_rows<kBatch, Cell<V>>(
          rows, [&](int r, Cell<V>& cell) { rt_load(from.at(r, q * V), cell.x); },
          [&](int r, Cell<V>& cell) { rt_store(panel + r * width + q * V, cell.x); });
    });
  }
  rt_cp_async_commit();
}

// Begins to copy `count` numbers; they belong to the stage that follows.
__device__ __forceinline__ void stage_numbers(float* to, const float* from, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    rt_cp_async_4(to + i, from + i);
  }
}

// Elements of a panel in shared memory, up to the next 16 bytes.
template <class T>
__device__ __forceinline__ int panel_elements(const Cut& cut, const Part& part) {
  return (part.rows * cut.panel + RT_WIDTH<T> - 1) / RT_WIDTH<T> * RT_WIDTH<T>;
}

__device__ __forceinline__ void staged() {
  rt_cp_async_wait<0>();
  __syncthreads();
}

// --- what normalises a panel ---------------------------------------------------------------------------

// gamma and beta from the panel's first channel on, mean and rstd from its first group on.
struct Norm {
  const float* gamma;
  const float* beta;
  const float* mean;
  const float* rstd;
};

// The numbers of one column: y = (x - mean) rstd gamma + beta.
template <int V>
struct Column {
  float gamma[V], beta[V];
  float mean, rstd;

  __device__ __forceinline__ Column(const Norm& norm, int column, int span)
      : mean(norm.mean[column / span]), rstd(norm.rstd[column / span]) {
    rt_load(norm.gamma + column * V, gamma);
    rt_load(norm.beta + column * V, beta);
  }
};

__device__ __forceinline__ float sigmoid(float u) { return __fdividef(1.0f, 1.0f + __expf(-u)); }

// --- choosing the variant ------------------------------------------------------------------------------

template <int V>
using Width = std::integral_constant<int, V>;

// Calls body(width) with the pack as a type.
template <class T, class Body>
__device__ __forceinline__ void with_pack(int pack, Body body) {
  if (pack == 1) {
    body(Width<1>{});
  } else if (std::is_same_v<T, float> || pack == 4) {
    body(Width<4>{});
  } else if constexpr (!std::is_same_v<T, float>) {
    body(Width<8>{});
  }
}

// Calls body(width, silu) with both as types.
template <class T, class Body>
__device__ __forceinline__ void with_variant(int pack, bool silu, Body body) {
  with_pack<T>(pack, [=](auto width) {
    if (silu) {
      body(width, std::true_type{});
    } else {
      body(width, std::false_type{});
    }
  });
}

}  // namespace

// Last parameters of a kernel; where a block has all positions of its panel `chunk` is their number.
#define RT_CUT_PARAMETERS                                                                                       \
  std::int64_t positions, std::int32_t channels, std::int32_t per_group, std::int32_t panel, std::int32_t chunk, \
      std::int32_t pack
#define RT_CUT (Cut{positions, channels, per_group, panel, chunk})
