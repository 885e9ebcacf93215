// group_norm.cu   y = (x - mean_g) rstd_g gamma_c + beta_c, then SiLU if asked; its gradients
// shapes    x,y,dx,dy (N,P,C) f32 or bf16   gamma,beta,dgamma,dbeta (C), mean,rstd (N,G) f32   groups of D = C / G channels
// launch    blocks of at most 192 threads, each with a panel: `panel` channels, whole groups, of one sample, 64 bytes a
//           position where the groups allow it. If all positions of a panel fit shared memory (x; for gradients x and dy)
//           one block takes them (rt_group_norm, _gradient: N * panels blocks, panels fastest). If not, a panel is cut into
//           chunks of positions and two launches of N * chunks * panels blocks do it: _moments then _apply, _sums then _dx.
//           rt_norm_parameters: blocks of 8 channels. Dynamic shared memory: the panel, and partial sums (CudaNorm)
// numerics  f32. Forward: mean, then centred squares whose rest corrects the rounded mean, chunks merged by Chan's rule; so a
//           mean of 1000 costs no digits. The order of sums is given by the shape and the launch. SiLU by __expf and
//           __fdividef, to 4e-7 of its largest term: with the exact ones arithmetic would take half as long as memory
// traffic   one block: forward reads x and writes y, backward reads x, dy and writes dx: 2 and 3 tensors, memory-bound, the
//           floor is bytes / bandwidth. In chunks x (and dy) are read twice, the second time backwards to meet what is still
//           in the second-level cache. At most 12 and 30 FLOP an element.
//           H100 at 3.0 TB/s, (64,32x32,256): forward f32 134 MB 45 us, bf16 67 MB 22 us; backward f32 67 us, bf16 34 us.
//           Expected 80% of that: a block loads, reduces and stores in turn, three blocks a multiprocessor overlap these.
//           (64,8x8,256) f32 8.4 MB: 2.8 us by bytes, bound by the latency of launch, load and two barriers, 5 us expected;
//           (1,32x32,256): 32 blocks of 32 KB, 4 us expected
// measured  not measured yet
// spills    none
// limits    C % G == 0, every size >= 1, any tail. `pack` neighbours are read at once: 16 bytes, 8, or one element; it divides D
// source    Wu & He 2018, eq. 7; Chan, Golub & LeVeque 1983, eq. 2.1; backward in retort/group_norm.h

#include "common/last_block.cuh"
#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kThreads = 192;   // most threads of a block: three of these blocks leave each thread 96 registers
constexpr int kParameters = 8;  // channels of a block of rt_norm_parameters: one 32-byte sector a row

__device__ __forceinline__ float sigmoid(float u) { return __fdividef(1.0f, 1.0f + __expf(-u)); }

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

// The block's part: `rows` positions from the chunk's first on, of `width` channels.
struct Part {
  std::int64_t sample, first;  // element of x where it begins
  int chunk, rows, panel, channel, width, groups;
  std::int64_t group;  // its first group, counted over samples

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

// How the threads of a block share rows of `columns` packs: each keeps to one column and strides over rows, so what belongs
// to a column stays in its registers. Up to 32 columns a warp takes whole rows. If there are more columns than threads, a
// thread takes all rows of several columns in turn.
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

template <int V>
struct Cell {
  float x[V];
};

template <int V>
struct Pair {
  float x[V], dy[V];
};

// Rows that a thread has in flight, as many as leave room for three blocks on a multiprocessor.
constexpr int kBatch = 4;
template <int V>
constexpr int kPairBatch = V == 8 ? 1 : 2;

// Shared memory for one number a thread, or a group of the panel.
template <int Index>
__device__ __forceinline__ float* room() {
  RT_SHARED(float[kThreads], numbers);
  return numbers;
}

// Adds up each value over the threads whose column lies in one group of `span` columns, and calls finish(group, sums) in one
// thread for each group; all threads see what it wrote. Where a thread has several columns there is one group only.
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
  #pragma unroll 1
  for (int q = lanes.column; q < lanes.columns; q += lanes.column_step) {
      for (int r = lanes.row; r < rows; r += lanes.row_step) {
        rt_cp_async_16(panel + r * width + q * W, from.at(r, q * W));
      }
    }
  } else {
    const Lanes lanes(width / V);
  #pragma unroll 1
  for (int q = lanes.column; q < lanes.columns; q += lanes.column_step) {
      lanes.for_rows<kBatch, Cell<V>>(
          rows, [&](int r, Cell<V>& cell) { rt_load(from.at(r, q * V), cell.x); },
          [&](int r, Cell<V>& cell) { rt_store(panel + r * width + q * V, cell.x); });
    }
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

// --- forward -------------------------------------------------------------------------------------------

// Calls finish(group, mean, centred squares) for each group of the panel; `mean` is room for a number a group.
template <int V, class Source, class Finish>
__device__ __forceinline__ void group_moments(const Lanes& lanes, int groups, int per_group, Source source, int rows,
                                              float* mean, Finish finish) {
  const int span = per_group / V;
  const float inverse = 1.0f / (static_cast<float>(rows) * static_cast<float>(per_group));
  float total[1] = {};
#pragma unroll 1
  for (int q = lanes.column; q < lanes.columns; q += lanes.column_step) {
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
  }
  sum_groups(lanes, groups, span, total, [=](int g, const float(&sums)[1]) { mean[g] = sums[0] * inverse; });
  float centred[2] = {};
#pragma unroll 1
  for (int q = lanes.column; q < lanes.columns; q += lanes.column_step) {
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
  }
  // The rounded mean leaves a small rest, which corrects both.
  sum_groups(lanes, groups, span, centred, [=](int g, const float(&sums)[2]) {
    const float correction = sums[0] * inverse;
    const float squares = sums[1] - sums[0] * correction;
    finish(g, mean[g] + correction, squares < 0.0f ? 0.0f : squares);
  });
}

__device__ __forceinline__ float reciprocal_deviation(float variance, float eps) { return 1.0f / sqrtf(variance + eps); }

// gamma and beta of one column.
template <int V>
struct Affine {
  float gamma[V], beta[V];
  __device__ __forceinline__ Affine(const float* gammas, const float* betas, int channel) {
    rt_load(gammas + channel, gamma);
    rt_load(betas + channel, beta);
  }
};

// y = silu?((x - mean) rstd gamma + beta); mean and rstd one a group of the panel, gamma and beta one a channel of it.
template <int V, bool Silu, class Source, class T>
__device__ __forceinline__ void normalise(const Lanes& lanes, int span, Source source, GlobalRows<T> y, int rows,
                                          const float* mean, const float* rstd, const float* gamma, const float* beta) {
#pragma unroll 1
  for (int q = lanes.column; q < lanes.columns; q += lanes.column_step) {
    Affine<V> affine(gamma, beta, q * V);
    const float centre = mean[q / span];
    const float scale = rstd[q / span];
#pragma unroll
    for (int j = 0; j < V; j++) {
      affine.gamma[j] *= scale;
    }
    lanes.for_rows<kBatch, Cell<V>>(
        rows, [&](int r, Cell<V>& cell) { rt_load(source.at(r, q * V), cell.x); },
        [&](int r, Cell<V>& cell) {
#pragma unroll
          for (int j = 0; j < V; j++) {
            const float u = (cell.x[j] - centre) * affine.gamma[j] + affine.beta[j];
            cell.x[j] = Silu ? u * sigmoid(u) : u;
          }
          rt_store(y.at(r, q * V), cell.x);
        });
  }
}

// A block has all positions of its panel.
template <int V, bool Silu, class T>
__device__ __forceinline__ void forward(const Cut& cut, const T* __restrict__ x, const float* __restrict__ gamma,
                                        const float* __restrict__ beta, T* __restrict__ y, float* __restrict__ mean,
                                        float* __restrict__ rstd, float eps) {
  RT_DYNAMIC_SHARED(T, panel);
  float* const means = room<2>();
  float* const rstds = room<3>();
  const Part part(cut, blockIdx.x);
  const SharedRows<const T> rows{panel, part.width};
  float* const gammas = reinterpret_cast<float*>(panel + panel_elements<T>(cut, part));
  float* const betas = gammas + cut.panel;
  stage_numbers(gammas, gamma + part.channel, part.width);
  stage_numbers(betas, beta + part.channel, part.width);
  stage<V>(panel, GlobalRows<const T>{x + part.first, cut.channels}, part.rows, part.width);
  staged();
  const Lanes lanes(part.width / V);
  const float inverse = 1.0f / cut.elements();
  group_moments<V>(lanes, part.groups, cut.per_group, rows, part.rows, means,
                   [=, &part](int g, float m, float squares) {
                     const float r = reciprocal_deviation(squares * inverse, eps);
                     means[g] = m;
                     rstds[g] = r;
                     mean[part.group + g] = m;
                     rstd[part.group + g] = r;
                   });
  normalise<V, Silu>(lanes, cut.per_group / V, rows, GlobalRows<T>{y + part.first, cut.channels}, part.rows, means, rstds,
                     gammas, betas);
}

// Mean and centred squares of each group over a chunk to moments (N, G, chunks, 2); `stage_rows` positions at a time go
// through shared memory, 0 if a single one does not fit.
template <int V, class T>
__device__ __forceinline__ void moments(const Cut& cut, const T* __restrict__ x, float* __restrict__ moments,
                                        int stage_rows) {
  RT_DYNAMIC_SHARED(T, panel);
  float* const means = room<2>();
  float* const squares = room<3>();
  float* const chunk_means = room<4>();
  const Part part(cut, blockIdx.x);
  const Lanes lanes(part.width / V);
  for (int done = 0; done < part.rows;) {
    const int rows = stage_rows == 0 ? part.rows : min(stage_rows, part.rows - done);
    const GlobalRows<const T> from{x + part.first + static_cast<std::int64_t>(done) * cut.channels, cut.channels};
    const float before = static_cast<float>(done) * static_cast<float>(cut.per_group);
    const float added = static_cast<float>(rows) * static_cast<float>(cut.per_group);
    GlobalRows<const T> source = from;  // an address of either kind: the second pass over global memory meets the caches
    if (stage_rows != 0) {
      stage<V>(panel, from, rows, part.width);
      staged();
      source = {panel, part.width};
    }
    group_moments<V>(lanes, part.groups, cut.per_group, source, rows, chunk_means, [=](int g, float m, float s) {
      const float delta = before == 0.0f ? 0.0f : m - means[g];
      const float share = added / (before + added);
      means[g] = before == 0.0f ? m : means[g] + delta * share;
      squares[g] = before == 0.0f ? s : squares[g] + s + delta * delta * before * share;
    });
    done += rows;
  }
  for (int g = static_cast<int>(threadIdx.x); g < part.groups; g += static_cast<int>(blockDim.x)) {
    float* const out = moments + ((part.group + g) * cut.chunks() + part.chunk) * 2;
    out[0] = means[g];
    out[1] = squares[g];
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
  normalise<V, Silu>(Lanes(part.width / V), cut.per_group / V, GlobalRows<const T>{x + part.first, cut.channels},
                     GlobalRows<T>{y + part.first, cut.channels}, part.rows, means, rstds, gamma + part.channel,
                     beta + part.channel);
}

// --- backward ------------------------------------------------------------------------------------------

// What the gradients of one column need; xh = (x - mean) rstd, du = dy silu'(xh gamma + beta).
template <int V, bool Silu>
struct Column {
  Affine<V> affine;
  float mean, rstd;

  __device__ __forceinline__ float normalised(float x) const { return (x - mean) * rstd; }
  __device__ __forceinline__ float slope(float dy, float xh, int j) const {
    if constexpr (Silu) {
      const float u = xh * affine.gamma[j] + affine.beta[j];
      const float s = sigmoid(u);
      return dy * (s * (1.0f + u * (1.0f - s)));
    } else {
      return dy;
    }
  }
};

// Where a block leaves sums of du, then of du xh, one a channel of its panel; `part` is null if nobody wants them.
struct ChannelSums {
  float* part;  // (2, C), at the panel's first channel
  int channels;
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

// Sums over rows; gamma and beta begin at the panel's first channel, mean and rstd at its first group. finish(group, {sum of gamma du, sum of gamma du xh}) is called for each group. With Keep du replaces dy.
template <int V, bool Silu, bool Keep, class X, class Dy, class Finish>
__device__ __forceinline__ void gradient_sums(const Lanes& lanes, const Cut& cut, const Part& part, X x, Dy dy,
                                              const float* gamma, const float* beta, const float* mean,
                                              const float* rstd, float* scratch, const ChannelSums& out, Finish finish) {
  const int span = cut.per_group / V;
  float totals[2] = {};
  float du[V] = {};
  float duxh[V] = {};
#pragma unroll 1
  for (int q = lanes.column; q < lanes.columns; q += lanes.column_step) {
    const Column<V, Silu> column{Affine<V>(gamma, beta, q * V), mean[q / span], rstd[q / span]};
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
            const float xh = column.normalised(pair.x[j]);
            pair.dy[j] = column.slope(pair.dy[j], xh, j);
            du[j] += pair.dy[j];
            duxh[j] += pair.dy[j] * xh;
          }
          if constexpr (Keep) {
            rt_store(dy.at(r, q * V), pair.dy);
          }
        });
#pragma unroll
    for (int j = 0; j < V; j++) {
      totals[0] += column.affine.gamma[j] * du[j];
      totals[1] += column.affine.gamma[j] * duxh[j];
    }
    if (!lanes.single() && out.part != nullptr) {
      rt_store(out.part + q * V, du);
      rt_store(out.part + out.channels + q * V, duxh);
    }
  }
  if (lanes.single() && out.part != nullptr) {
    write_channels(lanes, du, duxh, part.width, scratch, out);
  }
  sum_groups(lanes, part.groups, span, totals, finish);
}

// dx = rstd (gamma du - m1 - xh m2); with Kept dy is du already.
template <int V, bool Silu, bool Kept, class X, class Dy, class T>
__device__ __forceinline__ void input_gradient(const Lanes& lanes, const Cut& cut, const Part& part, X x, Dy dy,
                                               GlobalRows<T> dx, const float* gamma, const float* beta,
                                               const float* mean, const float* rstd, const float* m1, const float* m2) {
  const int span = cut.per_group / V;
#pragma unroll 1
  for (int q = lanes.column; q < lanes.columns; q += lanes.column_step) {
    const Column<V, Silu && !Kept> column{Affine<V>(gamma, beta, q * V), mean[q / span], rstd[q / span]};
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
            const float xh = column.normalised(pair.x[j]);
            const float du = column.slope(pair.dy[j], xh, j);
            pair.x[j] = column.rstd * (column.affine.gamma[j] * du - first - xh * second);
          }
          rt_store(dx.at(r, q * V), pair.x);
        });
  }
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

__device__ __forceinline__ ChannelSums channel_sums(float* partial, const Cut& cut, const Part& part) {
  const std::int64_t index = part.sample * cut.chunks() + part.chunk;
  return {partial == nullptr ? nullptr : partial + index * 2 * cut.channels + part.channel, cut.channels};
}

// A block has all positions of its panel. In float32 du stays in shared memory between the passes, which saves the second
// one an exponential; bfloat16 would round it.
template <int V, bool Silu, class T>
__device__ __forceinline__ void backward(const Cut& cut, const T* __restrict__ x, const T* __restrict__ dy,
                                         const float* __restrict__ gamma, const float* __restrict__ beta,
                                         const float* __restrict__ mean, const float* __restrict__ rstd,
                                         T* __restrict__ dx, float* partial, float* dgamma, float* dbeta,
                                         unsigned* counters, std::int64_t samples) {
  constexpr bool Keep = Silu && std::is_same_v<T, float>;
  RT_DYNAMIC_SHARED(T, panel);
  float* const m1 = room<2>();
  float* const m2 = room<3>();
  const Part part(cut, blockIdx.x);
  const int tile = panel_elements<T>(cut, part);
  const SharedRows<const T> x_rows{panel, part.width};
  const SharedRows<T> dy_rows{panel + tile, part.width};
  float* const gammas = reinterpret_cast<float*>(panel + 2 * tile);
  float* const betas = gammas + cut.panel;
  float* const means = room<4>();
  float* const rstds = room<5>();
  stage_numbers(gammas, gamma + part.channel, part.width);
  stage_numbers(betas, beta + part.channel, part.width);
  stage_numbers(means, mean + part.group, part.groups);
  stage_numbers(rstds, rstd + part.group, part.groups);
  stage<V>(panel, GlobalRows<const T>{x + part.first, cut.channels}, part.rows, part.width);
  stage<V>(dy_rows.first, GlobalRows<const T>{dy + part.first, cut.channels}, part.rows, part.width);
  staged();
  const Lanes lanes(part.width / V);
  const float inverse = 1.0f / cut.elements();
  gradient_sums<V, Silu, Keep>(lanes, cut, part, x_rows, dy_rows, gammas, betas, means, rstds, betas + cut.panel,
                               channel_sums(partial, cut, part),
                               [=](int g, const float(&sums)[2]) {
                                 m1[g] = sums[0] * inverse;
                                 m2[g] = sums[1] * inverse;
                               });
  if (dx != nullptr) {
    input_gradient<V, Silu, Keep>(lanes, cut, part, x_rows, dy_rows, GlobalRows<T>{dx + part.first, cut.channels}, gammas,
                                  betas, means, rstds, m1, m2);
  }
  if (counters != nullptr && rt_last_block(counters + part.panel, static_cast<unsigned>(samples))) {
    add_parts(partial, samples, cut.channels, part.channel, part.width, dgamma, dbeta);
  }
}

// Sums of a chunk: of each group to sums (N, G, chunks, 2), of each channel to partial (N * chunks, 2, C).
template <int V, bool Silu, class T>
__device__ __forceinline__ void sums(const Cut& cut, const T* __restrict__ x, const T* __restrict__ dy,
                                     const float* __restrict__ gamma, const float* __restrict__ beta,
                                     const float* __restrict__ mean, const float* __restrict__ rstd,
                                     float* __restrict__ sums, float* __restrict__ partial) {
  RT_DYNAMIC_SHARED(float, scratch);
  const Part part(cut, blockIdx.x);
  const int chunks = cut.chunks();
  gradient_sums<V, Silu, false>(Lanes(part.width / V), cut, part, GlobalRows<const T>{x + part.first, cut.channels},
                                GlobalRows<const T>{dy + part.first, cut.channels}, gamma + part.channel,
                                beta + part.channel, mean + part.group, rstd + part.group, scratch,
                                channel_sums(partial, cut, part), [=, &part](int g, const float(&of)[2]) {
                                  float* const out = sums + ((part.group + g) * chunks + part.chunk) * 2;
                                  out[0] = of[0];
                                  out[1] = of[1];
                                });
}

// dx of a chunk from the sums of all chunks.
template <int V, bool Silu, class T>
__device__ __forceinline__ void dx(const Cut& cut, const T* __restrict__ x, const T* __restrict__ dy,
                                   const float* __restrict__ gamma, const float* __restrict__ beta,
                                   const float* __restrict__ mean, const float* __restrict__ rstd,
                                   const float* __restrict__ sums, T* __restrict__ dx) {
  float* const m1 = room<2>();
  float* const m2 = room<3>();
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
  input_gradient<V, Silu, false>(Lanes(part.width / V), cut, part, GlobalRows<const T>{x + part.first, cut.channels},
                                 GlobalRows<const T>{dy + part.first, cut.channels},
                                 GlobalRows<T>{dx + part.first, cut.channels}, gamma + part.channel, beta + part.channel,
                                 mean + part.group, rstd + part.group, m1, m2);
}

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

#define RT_CUT_PARAMETERS \
  std::int64_t positions, std::int32_t channels, std::int32_t per_group, std::int32_t panel, std::int32_t chunk, std::int32_t pack

#define RT_CUT (Cut{positions, channels, per_group, panel, chunk})

// Kernels of one storage type. Of rt_group_norm and _gradient `chunk` is all positions.
#define RT_GROUP_NORM(suffix, T)                                                                                      \
  RT_KERNEL_OCCUPANCY(rt_group_norm_##suffix, kThreads, 3,                                                            \
                      (const T* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ beta,      \
                       T* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd, float eps,              \
                       std::int32_t silu, RT_CUT_PARAMETERS)) {                                                       \
    with_variant<T>(pack, silu != 0, [=](auto width, auto fused) {                                                    \
      forward<decltype(width)::value, decltype(fused)::value>(RT_CUT, x, gamma, beta, y, mean, rstd, eps);            \
    });                                                                                                               \
  }                                                                                                                   \
  RT_KERNEL_OCCUPANCY(rt_group_norm_moments_##suffix, kThreads, 2,                                                    \
                      (const T* __restrict__ x, float* __restrict__ out, std::int32_t stage_rows,                     \
                       RT_CUT_PARAMETERS)) {                                                                          \
    with_pack<T>(pack, [=](auto width) { moments<decltype(width)::value>(RT_CUT, x, out, stage_rows); });             \
  }                                                                                                                   \
  RT_KERNEL_OCCUPANCY(rt_group_norm_apply_##suffix, kThreads, 3,                                                      \
                      (const T* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ beta,      \
                       const float* __restrict__ from, T* __restrict__ y, float* __restrict__ mean,                   \
                       float* __restrict__ rstd, float eps, std::int32_t silu, RT_CUT_PARAMETERS)) {                  \
    with_variant<T>(pack, silu != 0, [=](auto width, auto fused) {                                                    \
      apply<decltype(width)::value, decltype(fused)::value>(RT_CUT, x, gamma, beta, from, y, mean, rstd, eps);        \
    });                                                                                                               \
  }                                                                                                                   \
  RT_KERNEL_OCCUPANCY(rt_group_norm_gradient_##suffix, kThreads, 3,                                                   \
                      (const T* __restrict__ x, const T* __restrict__ dy, const float* __restrict__ gamma,            \
                       const float* __restrict__ beta, const float* __restrict__ mean,                                \
                       const float* __restrict__ rstd, T* __restrict__ dx, float* partial, float* dgamma,             \
                       float* dbeta, unsigned* counters, std::int64_t samples, std::int32_t silu,                     \
                       RT_CUT_PARAMETERS)) {                                                                          \
    with_variant<T>(pack, silu != 0, [=](auto width, auto fused) {                                                    \
      backward<decltype(width)::value, decltype(fused)::value>(RT_CUT, x, dy, gamma, beta, mean, rstd, dx, partial,   \
                                                               dgamma, dbeta, counters, samples);                     \
    });                                                                                                               \
  }                                                                                                                   \
  RT_KERNEL_OCCUPANCY(rt_group_norm_sums_##suffix, kThreads, 3,                                                       \
                      (const T* __restrict__ x, const T* __restrict__ dy, const float* __restrict__ gamma,            \
                       const float* __restrict__ beta, const float* __restrict__ mean,                                \
                       const float* __restrict__ rstd, float* __restrict__ out, float* __restrict__ partial,          \
                       std::int32_t silu, RT_CUT_PARAMETERS)) {                                                       \
    with_variant<T>(pack, silu != 0, [=](auto width, auto fused) {                                                    \
      sums<decltype(width)::value, decltype(fused)::value>(RT_CUT, x, dy, gamma, beta, mean, rstd, out, partial);     \
    });                                                                                                               \
  }                                                                                                                   \
  RT_KERNEL_OCCUPANCY(rt_group_norm_dx_##suffix, kThreads, 3,                                                         \
                      (const T* __restrict__ x, const T* __restrict__ dy, const float* __restrict__ gamma,            \
                       const float* __restrict__ beta, const float* __restrict__ mean,                                \
                       const float* __restrict__ rstd, const float* __restrict__ from, T* __restrict__ out,           \
                       std::int32_t silu, RT_CUT_PARAMETERS)) {                                                       \
    with_variant<T>(pack, silu != 0, [=](auto width, auto fused) {                                                    \
      dx<decltype(width)::value, decltype(fused)::value>(RT_CUT, x, dy, gamma, beta, mean, rstd, from, out);          \
    });                                                                                                               \
  }

RT_GROUP_NORM(f32, float)
RT_GROUP_NORM(bf16, rt_bf16)

// dgamma or dbeta may be null; partial (parts, 2, channels) holds sums of du, then of du xh.
RT_KERNEL_BOUNDS(rt_norm_parameters, kThreads, (const float* __restrict__ partial, float* __restrict__ dgamma, float* __restrict__ dbeta,
                               std::int64_t parts, std::int32_t channels)) {
  const int channel = static_cast<int>(blockIdx.x) * kParameters;
  add_parts(partial, parts, channels, channel, min(kParameters, channels - channel), dgamma, dbeta);
}
