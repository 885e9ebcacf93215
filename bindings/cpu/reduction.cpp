// reduction.cpp   out_k = scale sum_d x_kd,   out_k = scale sum_d x_kd y_kd,   out_kd = scale small_k
// shapes    large (k0,d0,k1,d1,k2,d2), small (k0,k1,k2)
// numerics  float64 accumulators, one rounding at the end; products of two float32 are exact in float64
// order     fixed slices of the dropped elements, chosen from the shape; 16 lanes inside a slice: same bits on any machine
// traffic   one read of each large array (or one write): memory-bound, floor = bytes / bandwidth
// measured  (224,32,32,64), 59 MB, 2 cores Zen 5, against 50-60 GB/s of DRAM: sum of all 0.85 ms 69 GB/s, to (C), (N,C) and
//           (N) 0.82-0.85 ms 69-71 GB/s (part of it from the caches), to 3 channels 2.2 ms 26 GB/s
// limits    any extents, empty sums are 0

#include "retort/reduction.h"

#include <algorithm>
#include <vector>

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/registry.h"

namespace {

constexpr std::int64_t kTasks = 64;     // slices to aim for: enough to balance many cores, few enough to combine cheaply
constexpr std::int64_t kPiece = 4096;   // least elements worth a slice of their own
constexpr std::int64_t kColumns = 256;  // columns summed at once: 2 KB of accumulators stay in the first-level cache
constexpr std::int64_t kNarrow = 32;    // rows below this width are summed several at a time to fill the vector lanes
constexpr int kLanes = 16;
constexpr std::int64_t kParallel = 8 * RT_PARALLEL_MIN;  // elements from which waking other threads pays: adding is cheap

struct Groups {
  std::int64_t k0, d0, k1, d1, k2, d2;
  std::int64_t dropped_rows() const { return d0 * d1; }
  std::int64_t large() const { return k0 * d0 * k1 * d1 * k2 * d2; }
  std::int64_t small() const { return k0 * k1 * k2; }
  // Offset of dropped row r = (d0, d1) of unit u = (k0, k1), in rows of k2 d2 elements.
  std::int64_t row(std::int64_t unit, std::int64_t r) const {
    return ((unit / k1 * d0 + r / d1) * k1 + unit % k1) * d1 + r % d1;
  }
};

template <class T>
struct Value {
  const T* x;
  double operator()(std::int64_t i) const { return rt::load(x + i); }
};

template <class T>
struct Product {
  const T* x;
  const T* y;
  double operator()(std::int64_t i) const {
    return static_cast<double>(rt::load(x + i)) * static_cast<double>(rt::load(y + i));
  }
};

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Sum of source(begin .. begin + count - 1).
template <class Source>
double run_sum(Source source, std::int64_t begin, std::int64_t count) {
  double lanes[kLanes] = {};
  const std::int64_t whole = count / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
#pragma omp simd
    for (int lane = 0; lane < kLanes; lane++) {
      lanes[lane] += source(begin + i + lane);
    }
  }
  for (std::int64_t i = whole; i < count; i++) {
    lanes[i - whole] += source(begin + i);
  }
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; lane++) {
      lanes[lane] += lanes[lane + half];
    }
  }
  return lanes[0];
}

// d2 != 1: each small element is the sum of d0 d1 contiguous runs of d2, cut into pieces.
template <class Source>
void sum_runs(Source source, const Groups& g, std::int64_t slices, double* partial) {
  const std::int64_t parts = divide_up(g.d2, kPiece);
  const std::int64_t pieces = g.dropped_rows() * parts;
  const std::int64_t kept = g.small();
#pragma omp parallel for schedule(static) if (g.large() > kParallel)
  for (std::int64_t task = 0; task < slices * kept; task++) {
    const std::int64_t slice = task / kept;
    const std::int64_t k = task % kept;
    double total = 0;
    for (std::int64_t p = pieces * slice / slices; p < pieces * (slice + 1) / slices; p++) {
      const std::int64_t run = g.row(k / g.k2, p / parts) * g.k2 + k % g.k2;
      const std::int64_t begin = p % parts * kPiece;
      total += run_sum(source, run * g.d2 + begin, std::min(kPiece, g.d2 - begin));
    }
    partial[task] = total;
  }
}

// totals[c] += source(begin + c) over `rows` contiguous rows of `width` columns, `columns` of them wanted.
template <class Source>
void add_rows(Source source, std::int64_t begin, std::int64_t rows, std::int64_t width, std::int64_t columns,
              double* totals) {
  for (std::int64_t r = 0; r < rows; r++) {
    const std::int64_t row = begin + r * width;
#pragma omp simd
    for (std::int64_t c = 0; c < columns; c++) {
      totals[c] += source(row + c);
    }
  }
}

// d2 = 1: rows of k2 columns are added up; `columns` of them from `first` on, dropped rows [from, to) of one unit.
template <class Source>
void add_block(Source source, const Groups& g, std::int64_t unit, std::int64_t from, std::int64_t to, std::int64_t first,
               std::int64_t columns, double* totals) {
  double wide[kColumns] = {};
  const std::int64_t fold = g.k2 < kNarrow ? kColumns / g.k2 : 1;
  for (std::int64_t r = from; r < to;) {
    const std::int64_t rows = std::min(to - r, g.d1 - r % g.d1);
    const std::int64_t begin = g.row(unit, r) * g.k2 + first;
    const std::int64_t folded = rows / fold;
    add_rows(source, begin, folded, g.k2 * fold, columns * fold, wide);
    if (fold > 1) {
      add_rows(source, begin + folded * fold * g.k2, rows % fold, g.k2, columns, wide);
    }
    r += rows;
  }
  std::fill_n(totals, columns, 0.0);
  for (std::int64_t f = 0; f < fold; f++) {
    for (std::int64_t c = 0; c < columns; c++) {
      totals[c] += wide[f * columns + c];
    }
  }
}

template <class Source>
void sum_rows(Source source, const Groups& g, std::int64_t slices, double* partial) {
  const std::int64_t tiles = divide_up(g.k2, kColumns);
  const std::int64_t units = g.k0 * g.k1;
  const std::int64_t rows = g.dropped_rows();
#pragma omp parallel for schedule(static) if (g.large() > kParallel)
  for (std::int64_t task = 0; task < slices * units * tiles; task++) {
    const std::int64_t slice = task / (units * tiles);
    const std::int64_t unit = task / tiles % units;
    const std::int64_t first = task % tiles * kColumns;
    add_block(source, g, unit, rows * slice / slices, rows * (slice + 1) / slices, first,
              std::min(kColumns, g.k2 - first), partial + (slice * units + unit) * g.k2 + first);
  }
}

template <class Source, class Out>
void reduce(Source source, const Groups& g, double scale, Out* out) {
  const std::int64_t kept = g.small();
  const bool runs = g.d2 != 1;
  const std::int64_t work = runs ? g.dropped_rows() * divide_up(g.d2, kPiece)
                                 : divide_up(g.dropped_rows() * std::min(g.k2, kColumns), kPiece);
  const std::int64_t blocks = runs ? kept : g.k0 * g.k1 * divide_up(g.k2, kColumns);
  const std::int64_t slices =
      std::clamp<std::int64_t>(divide_up(kTasks, std::max<std::int64_t>(1, blocks)), 1, std::max<std::int64_t>(1, work));
  std::vector<double> partial(slices * kept);
  if (runs) {
    sum_runs(source, g, slices, partial.data());
  } else {
    sum_rows(source, g, slices, partial.data());
  }
  for (std::int64_t k = 0; k < kept; k++) {
    double total = 0;
    for (std::int64_t slice = 0; slice < slices; slice++) {
      total += partial[slice * kept + k];
    }
    rt::store(out + k, static_cast<float>(scale * total));
  }
}

template <class In, class Out>
void expand(const In* small, const Groups& g, float scale, Out* out) {
  const std::int64_t rows = g.k0 * g.d0 * g.k1 * g.d1;
#pragma omp parallel for schedule(static) if (g.large() > kParallel)
  for (std::int64_t row = 0; row < rows * (g.d2 != 1 ? g.k2 : 1); row++) {
    const std::int64_t large = g.d2 != 1 ? row / g.k2 : row;
    const std::int64_t k = large / g.d1;
    const std::int64_t source = (k / (g.d0 * g.k1) * g.k1 + k % g.k1) * g.k2;
    if (g.d2 != 1) {
      const float value = scale * rt::load(small + source + row % g.k2);
      Out* target = out + row * g.d2;
#pragma omp simd
      for (std::int64_t i = 0; i < g.d2; i++) {
        rt::store(target + i, value);
      }
    } else {
      Out* target = out + row * g.k2;
#pragma omp simd
      for (std::int64_t i = 0; i < g.k2; i++) {
        rt::store(target + i, scale * rt::load(small + source + i));
      }
    }
  }
}

}  // namespace

rt_status rt_sum(const void* x, void* out, double scale, int64_t k0, int64_t d0, int64_t k1, int64_t d1, int64_t k2,
                 int64_t d2, int32_t dtype, int32_t out_dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto in) {
      rt::dispatch(out_dtype, [&](auto to) {
        using In = typename decltype(in)::type;
        using Out = typename decltype(to)::type;
        reduce(Value<In>{static_cast<const In*>(x)}, Groups{k0, d0, k1, d1, k2, d2}, scale, static_cast<Out*>(out));
      });
    });
  });
}
RT_EXPORT(rt_sum);

rt_status rt_sum_of_products(const void* x, const void* y, void* out, double scale, int64_t k0, int64_t d0, int64_t k1,
                             int64_t d1, int64_t k2, int64_t d2, int32_t dtype, int32_t out_dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto in) {
      rt::dispatch(out_dtype, [&](auto to) {
        using In = typename decltype(in)::type;
        using Out = typename decltype(to)::type;
        reduce(Product<In>{static_cast<const In*>(x), static_cast<const In*>(y)}, Groups{k0, d0, k1, d1, k2, d2}, scale,
               static_cast<Out*>(out));
      });
    });
  });
}
RT_EXPORT(rt_sum_of_products);

rt_status rt_expand(const void* small, void* out, double scale, int64_t k0, int64_t d0, int64_t k1, int64_t d1,
                    int64_t k2, int64_t d2, int32_t dtype, int32_t out_dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto in) {
      rt::dispatch(out_dtype, [&](auto to) {
        using In = typename decltype(in)::type;
        using Out = typename decltype(to)::type;
        expand(static_cast<const In*>(small), Groups{k0, d0, k1, d1, k2, d2}, static_cast<float>(scale),
               static_cast<Out*>(out));
      });
    });
  });
}
RT_EXPORT(rt_expand);
