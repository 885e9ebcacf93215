// attention_gradient.cu   dq = ds k / sqrt(d)   dk = ds^T q / sqrt(d)   dv = p^T dout   with p = exp(q k^T / sqrt(d)
//                         - lse), ds = p (dout v^T - drift), drift = dout . out, and neither p nor ds in memory
// shapes    q, out, dout, dq (n, tq, heads, d)   k, v, dk, dv (n, tk, heads, d)   lse, drift (n, heads, tq) f32.
//           Tokens of q and dq are q_row elements apart, those of k, v, dk and dv kv_row; a head's d channels are
//           dense
// launch    rt_attention_drift first: 256 threads, 32 (token, head) a block. The others have 128 threads; grid.x =
//           ceil(own tokens / rows) * heads * n, where own tokens are queries (dq) or keys; grid.y = 1, of the _wide
//           kernels ceil(d / width), width 256 in bf16 and 128 in f32. Kernels for d up to 32, 64, 128 and, in bf16,
//           256; _wide for any d. Rows: 128 in bf16 up to 64, else 64. Dynamic shared memory in KB: bf16 33, 65, 97,
//           98, wide 66; f32 49, 97, 98, wide 66
// numerics  as in attention.cu; p is recomputed from lse, and ds rounded to the storage type. Each gradient is summed
//           in one block in a fixed order: no atomics, no partial sums
// traffic   s, dp and their gradients: dq 6 tq tk d FLOP a head, dk 6, dv 4, together dkv 8. d = 256, n 64, t 256 in
//           bf16: 17 GFLOP, two blocks a multiprocessor, shared memory allows 40 % of 798 TFLOP/s: 55 us; the bytes,
//           92 MB mostly from L2, 31 us at 3.0 TB/s. d = 64, n 64, 6 heads, t 1024: 360 GFLOP, 330 TFLOP/s expected,
//           1.1 ms
// measured  not measured yet
// spills    none
// limits    as attention.cu; a gradient whose pointer is null is not written
// source    retort/attention.h; Dao 2023 (FlashAttention-2), cut by output instead of added up atomically

#include "attention.cuh"

namespace {

// Bytes beside each slot: lse and drift of the columns where these are queries.
constexpr int kSide = 2 * kColumns * static_cast<int>(sizeof(float));

// What a kernel computes. Rows are queries or keys; `slopes` are ds, whose product is dq or dk, `weights` are p.
struct Dq {
  static constexpr bool of_keys = false, slopes = true, weights = false;
};
struct Dk {
  static constexpr bool of_keys = true, slopes = true, weights = false;
};
struct Dv {
  static constexpr bool of_keys = true, slopes = false, weights = true;
};
struct Dkv {
  static constexpr bool of_keys = true, slopes = true, weights = true;
};

// lse and drift of a warp's rows t / 4 + 8 i, where rows are queries.
template <class X>
struct RowSide {
  float lse[2 * X::bands], drift[2 * X::bands];

  __device__ __forceinline__ RowSide(const float* all_lse, const float* all_drift, int first, int count) {
#pragma unroll
    for (int i = 0; i < 2 * X::bands; i++) {
      const int row = first + 8 * i + rt_lane() / 4;
      lse[i] = row < count ? all_lse[row] : 0.0f;
      drift[i] = row < count ? all_drift[row] : 0.0f;
    }
  }
};

// p from s and ds from dp, as operands of the next products. `side` has lse of the columns and behind them their drift.
template <class X, class Role, int Tiles>
__device__ __forceinline__ void derive(const Sums<X::bands, Tiles>& s, const Sums<X::bands, Tiles>& dp, float scale,
                                       const RowSide<X>& rows, const float* side,
                                       Weights<typename X::type, X::bands, Tiles>& weights,
                                       Weights<typename X::type, X::bands, Tiles>& slopes) {
#pragma unroll
  for (int tile = 0; tile < Tiles; tile++) {
    const int column = 8 * tile + rt_lane() % 4 * 2;
#pragma unroll
    for (int band = 0; band < X::bands; band++) {
      float p[4];
      float ds[4];
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const float lse = Role::of_keys ? side[column + e % 2] : rows.lse[2 * band + e / 2];
        p[e] = rt_exp2(fmaf(scale * kLog2E, s[band][tile][e], -kLog2E * lse));
        if constexpr (Role::slopes) {
          const float drift = Role::of_keys ? side[kColumns + column + e % 2] : rows.drift[2 * band + e / 2];
          ds[e] = p[e] * (dp[band][tile][e] - drift);
        }
      }
      if constexpr (Role::weights) {
        weights.set(band, tile, p);
      }
      if constexpr (Role::slopes) {
        slopes.set(band, tile, ds);
      }
    }
  }
}

// `by_slopes` is dq or dk, `by_weights` dv.
template <class X, class Role>
__device__ __forceinline__ void gradient(const typename X::type* q, const typename X::type* k, const typename X::type* v,
                                         const float* lse, const float* drift, const typename X::type* dout,
                                         typename X::type* by_slopes, typename X::type* by_weights, std::int64_t heads,
                                         std::int64_t tq, std::int64_t tk, std::int64_t d, std::int64_t q_row,
                                         std::int64_t kv_row, float scale) {
  using T = typename X::type;
  // Columns at a time: s, dp and what becomes of them are in registers together.
  constexpr int kPass = X::whole && (X::bands > 1 || sizeof(T) == 4) ? kColumns / 2 : kColumns;
  constexpr int kPages = Role::slopes ? 2 * X::pages : X::pages;  // of the rows
  RT_DYNAMIC_SHARED(std::byte, shared);
  const Task task(Role::of_keys ? tk : tq, X::rows, heads);
  const Tokens<const T> queries(q, task, tq, q_row, d);
  const Tokens<const T> keys(k, task, tk, kv_row, d);
  const Tokens<const T> values(v, task, tk, kv_row, d);
  const Tokens<const T> gradients(dout, task, tq, heads * d, d);
  const bool packed = queries.packed() && keys.packed() && values.packed() && gradients.packed();
  // s = rows columns^T, dp = dp_rows dp_columns^T
  const Tokens<const T>& rows = Role::of_keys ? keys : queries;
  const Tokens<const T>& columns = Role::of_keys ? queries : keys;
  const Tokens<const T>& dp_rows = Role::of_keys ? values : gradients;
  const Tokens<const T>& dp_columns = Role::of_keys ? gradients : values;
  lse += task.item(heads) * tq;
  drift += task.item(heads) * tq;
  const int pages = X::resident ? X::pages : (rows.width + X::channels - 1) / X::channels;
  const int products = Role::slopes ? 2 * pages : pages;        // steps before p and ds are known
  const int channel = static_cast<int>(blockIdx.y) * X::width;  // first of the output
  if constexpr (X::resident) {
#pragma unroll
    for (int page = 0; page < kPages; page++) {
      load_page<X, X::rows>(shared + page * X::row_page, Tokens<const T>::choose(page < X::pages, rows, dp_rows), packed,
                            task.first, page % X::pages * X::channels);
    }
  }
  const auto load = [&](int tile, int step, std::byte* slot) {
    const int first = tile * kColumns;
    if constexpr (X::whole) {
#pragma unroll
      for (int page = 0; page < X::pages; page++) {
        load_page<X, kColumns>(slot + page * X::page, columns, packed, first, page * X::channels);
        load_page<X, kColumns>(slot + (X::pages + page) * X::page, dp_columns, packed, first, page * X::channels);
      }
    } else {
      // Pages of s, of dp, then of what p and ds are multiplied with.
      const bool of_dp = step < products ? step >= pages : Role::weights && step < products + X::pages;
      const int page = step < products ? step % pages : (step - products) % X::pages;
      const int at = page * X::channels + (step < products ? 0 : channel);
      load_page<X, kColumns>(slot, Tokens<const T>::choose(of_dp, dp_columns, columns), packed, first, at);
      if (!X::resident && step < products) {
        load_page<X, X::rows>(slot + X::page, Tokens<const T>::choose(of_dp, dp_rows, rows), packed, task.first, at);
      }
    }
    if (Role::of_keys && (X::whole || step == products - 1)) {
      // Queries that do not exist get zeros here too: their p is 1, times rows of zeros.
      const int thread = static_cast<int>(threadIdx.x);
      const int query = first + thread % kColumns;
      if (thread < kColumns || Role::slopes) {
        rt_cp_async_4(slot + X::slot + thread * sizeof(float), (thread < kColumns ? lse : drift) + query, query < tq);
      }
    }
  };
  const int tiles = (columns.count + kColumns - 1) / kColumns;
  const int steps = X::whole ? 1 : products + (Role::slopes ? X::pages : 0) + (Role::weights ? X::pages : 0);
  std::byte* const ring = shared + (X::resident ? kPages * X::row_page : 0);
  auto feed = feed_of<X::slots, X::slot + kSide>(ring, tiles, steps, load);
  const int own = task.first + rt_warp() * 16 * X::bands;
  const bool active = X::width == 256 || own < rows.count;  // no register is left to tell idle warps at 256
  const RowSide<X> row_side(lse, drift, own, Role::of_keys ? 0 : rows.count);
  Sums<X::bands, X::tiles> slope_sums[X::pages];
  Sums<X::bands, X::tiles> weight_sums[X::pages];
#pragma unroll
  for (int page = 0; page < X::pages; page++) {
    clear(slope_sums[page]);
    clear(weight_sums[page]);
  }
  for (int tile = 0; tile < tiles; tile++) {
    int slot = X::whole ? feed.next() : 0;
    const auto next = [&](int page) -> const std::byte* {
      if constexpr (X::whole) {
        return ring + slot + page * X::page;
      } else {
        slot = feed.next();
        return ring + slot;
      }
    };
#pragma unroll 1
    for (int first = 0; first < kColumns; first += kPass) {
      Sums<X::bands, kPass / 8> s;
      Sums<X::bands, kPass / 8> dp;
      clear(s);
      clear(dp);
#pragma unroll(X::whole ? X::pages : 1)
      for (int page = 0; page < pages; page++) {
        const std::byte* const other = next(page);
        if (active) {
          add_scores<X>(s, X::resident ? shared + page * X::row_page : other + X::page, other, first);
        }
      }
      if constexpr (Role::slopes) {
#pragma unroll(X::whole ? X::pages : 1)
        for (int page = 0; page < pages; page++) {
          const std::byte* const other = next(X::pages + page);
          if (active) {
            add_scores<X>(dp, X::resident ? shared + (X::pages + page) * X::row_page : other + X::page, other, first);
          }
        }
      }
      Weights<T, X::bands, kPass / 8> weights;
      Weights<T, X::bands, kPass / 8> slopes;
      if (active) {
        if (!Role::of_keys && columns.count - tile * kColumns < kColumns) {
          mask(s, columns.count - tile * kColumns - first);
        }
        const auto* const side = reinterpret_cast<const float*>(ring + slot + X::slot) + first;
        derive<X, Role>(s, dp, scale, row_side, side, weights, slopes);
      }
      if constexpr (Role::weights) {
#pragma unroll
        for (int page = 0; page < X::pages; page++) {
          const std::byte* const other = next(X::pages + page);
          if (active) {
            add_values<X>(weight_sums[page], weights, other, first);
          }
        }
      }
      if constexpr (Role::slopes) {
#pragma unroll
        for (int page = 0; page < X::pages; page++) {
          const std::byte* const other = next(page);
          if (active) {
            add_values<X>(slope_sums[page], slopes, other, first);
          }
        }
      }
    }
  }
  __syncthreads();  // nobody reads shared memory any more
  if (Role::slopes && by_slopes != nullptr) {
    const Tokens<T> to(by_slopes, task, Role::of_keys ? tk : tq, Role::of_keys ? kv_row : q_row, d);
    store_rows<X>(shared, slope_sums, scale, to, task.first, channel);
  }
  if (Role::weights && by_weights != nullptr) {
    store_rows<X>(shared, weight_sums, 1.0f, Tokens<T>(by_weights, task, tk, kv_row, d), task.first, channel);
  }
}

// Eight lanes a (token, head).
template <class T>
__device__ __forceinline__ void row_products(const T* out, const T* dout, float* drift, std::int64_t heads,
                                             std::int64_t tq, std::int64_t d, std::int64_t rows) {
  constexpr int N = RT_WIDTH<T>;
  const std::int64_t row = rt_global_thread() / 8;
  const int lane = rt_lane() % 8;
  const std::int64_t size = row < rows ? d : 0;
  out += row * d;
  dout += row * d;
  float sum = 0.0f;
  if (d % N == 0 && rt_aligned(out, dout)) {
    for (std::int64_t c = lane * N; c < size; c += 8 * N) {
      float u[N];
      float v[N];
      rt_load(out + c, u);
      rt_load(dout + c, v);
#pragma unroll
      for (int i = 0; i < N; i++) {
        sum = fmaf(u[i], v[i], sum);
      }
    }
  } else {
    for (std::int64_t c = lane; c < size; c += 8) {
      sum = fmaf(rt_load(out + c), rt_load(dout + c), sum);
    }
  }
  sum = rt_warp_sum<8>(sum);
  if (lane == 0 && row < rows) {
    const std::int64_t token = row / heads;
    drift[(token / tq * heads + row % heads) * tq + token % tq] = sum;
  }
}

}  // namespace

#define RT_ATTENTION_DRIFT(suffix, T)                                                                                   \
  RT_KERNEL(rt_attention_drift_##suffix,                                                                                \
            (const T* __restrict__ out, const T* __restrict__ dout, float* __restrict__ drift, std::int64_t heads,      \
             std::int64_t tq, std::int64_t d, std::int64_t rows)) {                                                     \
    row_products(out, dout, drift, heads, tq, d, rows);                                                                 \
  }

RT_ATTENTION_DRIFT(f32, float)
RT_ATTENTION_DRIFT(bf16, rt_bf16)

#define RT_ATTENTION_GRADIENT(which, Role, name, T, width, bands, whole, resident)                                      \
  RT_KERNEL_OCCUPANCY(rt_attention_##which##_##name, kThreads, 1,                                                       \
                      (const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,                       \
                       const float* __restrict__ lse, const float* __restrict__ drift, const T* __restrict__ dout,      \
                       T* __restrict__ by_slopes, T* __restrict__ by_weights, std::int64_t heads, std::int64_t tq,      \
                       std::int64_t tk, std::int64_t d, std::int64_t q_row, std::int64_t kv_row, float scale)) {        \
    gradient<Tiling<T, width, bands, whole, resident>, Role>(q, k, v, lse, drift, dout, by_slopes, by_weights, heads,   \
                                                             tq, tk, d, q_row, kv_row, scale);                          \
  }

// Where the sums of dk and dv fit the registers together, one kernel saves a product; otherwise each has its own.
#define RT_ATTENTION_TOGETHER(name, T, width, bands)                     \
  RT_ATTENTION_GRADIENT(dq, Dq, name, T, width, bands, true, true)       \
  RT_ATTENTION_GRADIENT(dkv, Dkv, name, T, width, bands, true, true)
#define RT_ATTENTION_APART(name, T, width, resident)                     \
  RT_ATTENTION_GRADIENT(dq, Dq, name, T, width, 1, false, resident)      \
  RT_ATTENTION_GRADIENT(dk, Dk, name, T, width, 1, false, resident)      \
  RT_ATTENTION_GRADIENT(dv, Dv, name, T, width, 1, false, resident)

RT_ATTENTION_TOGETHER(32_f32, float, 32, 1)
RT_ATTENTION_TOGETHER(64_f32, float, 64, 1)
RT_ATTENTION_APART(128_f32, float, 128, true)
RT_ATTENTION_APART(wide_f32, float, 128, false)
RT_ATTENTION_TOGETHER(32_bf16, rt_bf16, 32, 2)
RT_ATTENTION_TOGETHER(64_bf16, rt_bf16, 64, 2)
RT_ATTENTION_TOGETHER(128_bf16, rt_bf16, 128, 1)
RT_ATTENTION_APART(256_bf16, rt_bf16, 256, true)
RT_ATTENTION_APART(wide_bf16, rt_bf16, 256, false)
