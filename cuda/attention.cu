// attention.cu   out = softmax(q k^T / sqrt(d)) v, without the matrix of scores
// shapes    q, out (n, tq, heads, d)   k, v (n, tk, heads, d)   lse (n, heads, tq) f32, saved for backward. Tokens of
//           q are q_row elements apart, those of k and v kv_row; a head's d channels are dense. So q, k and v may be
//           blocks of one packed tensor
// launch    128 threads; grid.x = ceil(tq / rows) * heads * n, grid.y = 1, of the _wide kernels ceil(d / 256).
//           Kernels for d up to 32, 64, 128 and, in bf16, 256; _wide for any d. Rows: 128 in bf16 up to 128, else 64.
//           Dynamic shared memory in KB: bf16 24, 48, 96, 64, wide 64; f32 40, 80, 64, wide 64
// numerics  scores, softmax and sums in f32, running maximum. bf16 multiplies bf16, weights are rounded to it; f32 is
//           three tf32 products (3xTF32). Every sum has one block and a fixed order
// traffic   4 tq tk d FLOP a head. d = 256, n 64, t 256 in bf16: 4.3 GFLOP and 34 MB, 11 us at 3.0 TB/s; with tiles
//           of 64 x 64 shared memory allows 40 % of 798 TFLOP/s, 13 us. d = 64, n 64, 6 heads, t 1024: 103 GFLOP,
//           exponentials take as long as products: 330 TFLOP/s expected, 0.31 ms
// measured  not measured yet
// spills    none
// limits    tq, tk, heads, d >= 1, any tail, tokens < 2^31; chunks of 16 bytes are copied asynchronously where d,
//           rows and addresses allow it, single elements otherwise
// source    retort/attention.h; Vaswani et al. 2017, eq. 1; Dao 2023 (FlashAttention-2)

#include "attention.cuh"

namespace {

// The softmax of a warp's rows so far. A lane's sums cover its own columns until finish().
template <class X>
class Softmax {
 public:
  __device__ __forceinline__ Softmax() {
#pragma unroll
    for (int i = 0; i < 2 * X::bands; i++) {
      top_[i] = -kInfinity;
      sum_[i] = 0.0f;
    }
  }

  // Turns scores into weights exp2(slope (score - top)), and multiplies `out` by what the old top is worth at the new.
  template <int Tiles>
  __device__ __forceinline__ void add(const Sums<X::bands, Tiles>& scores, float slope,
                                      Weights<typename X::type, X::bands, Tiles>& weights,
                                      Sums<X::bands, X::tiles> (&out)[X::pages]) {
#pragma unroll
    for (int band = 0; band < X::bands; band++) {
      float top[2];
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int i = 2 * band + half;
        float largest = top_[i];
#pragma unroll
        for (int tile = 0; tile < Tiles; tile++) {
          largest = fmaxf(largest, fmaxf(scores[band][tile][2 * half], scores[band][tile][2 * half + 1]));
        }
        largest = fmaxf(largest, __shfl_xor_sync(RT_FULL_WARP, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(RT_FULL_WARP, largest, 2));
        const float fade = rt_exp2(slope * (top_[i] - largest));
        top_[i] = largest;
        top[half] = slope * largest;
        sum_[i] *= fade;
#pragma unroll
        for (int page = 0; page < X::pages; page++) {
#pragma unroll
          for (int tile = 0; tile < X::tiles; tile++) {
            out[page][band][tile][2 * half] *= fade;
            out[page][band][tile][2 * half + 1] *= fade;
          }
        }
      }
#pragma unroll
      for (int tile = 0; tile < Tiles; tile++) {
        float w[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
          w[e] = rt_exp2(fmaf(slope, scores[band][tile][e], -top[e / 2]));
          sum_[2 * band + e / 2] += w[e];
        }
        weights.set(band, tile, w);
      }
    }
  }

  // Divides `out` by the sums and writes the logarithms of the denominators of the rows that exist.
  __device__ __forceinline__ void finish(float scale, Sums<X::bands, X::tiles> (&out)[X::pages], float* lse, int first,
                                         int count) {
#pragma unroll
    for (int i = 0; i < 2 * X::bands; i++) {
      const float sum = rt_warp_sum<4>(sum_[i]);
      const float factor = 1.0f / sum;
#pragma unroll
      for (int page = 0; page < X::pages; page++) {
#pragma unroll
        for (int tile = 0; tile < X::tiles; tile++) {
          out[page][i / 2][tile][i % 2 * 2] *= factor;
          out[page][i / 2][tile][i % 2 * 2 + 1] *= factor;
        }
      }
      const int row = first + rt_warp() * 16 * X::bands + 8 * i + rt_lane() / 4;
      if (rt_lane() % 4 == 0 && row < count && blockIdx.y == 0) {
        lse[row] = fmaf(scale, top_[i], logf(sum));
      }
    }
  }

 private:
  float top_[2 * X::bands], sum_[2 * X::bands];  // of rows t / 4 + 8 i
};

template <class X>
__device__ __forceinline__ void forward(const typename X::type* q, const typename X::type* k, const typename X::type* v,
                                        typename X::type* out, float* lse, std::int64_t heads, std::int64_t tq,
                                        std::int64_t tk, std::int64_t d, std::int64_t q_row, std::int64_t kv_row,
                                        float scale) {
  using T = typename X::type;
  RT_DYNAMIC_SHARED(std::byte, shared);
  const Task task(tq, X::rows, heads);
  const Tokens<const T> queries(q, task, tq, q_row, d);
  const Tokens<const T> keys(k, task, tk, kv_row, d);
  const Tokens<const T> values(v, task, tk, kv_row, d);
  const int pages = X::resident ? X::pages : (keys.width + X::channels - 1) / X::channels;
  const int channel = static_cast<int>(blockIdx.y) * X::width;  // first of the output
  const bool packed = queries.packed() && keys.packed() && values.packed();
  if constexpr (X::resident) {
#pragma unroll
    for (int page = 0; page < X::pages; page++) {
      load_page<X, X::rows>(shared + page * X::row_page, queries, packed, task.first, page * X::channels);
    }
  }
  const auto load = [&](int tile, int step, std::byte* slot) {
    const int first = tile * kColumns;
    if constexpr (X::whole) {
#pragma unroll
      for (int page = 0; page < X::pages; page++) {
        load_page<X, kColumns>(slot + page * X::page, keys, packed, first, page * X::channels);
        load_page<X, kColumns>(slot + (X::pages + page) * X::page, values, packed, first, page * X::channels);
      }
    } else {
      const bool of_keys = step < pages;
      load_page<X, kColumns>(slot, Tokens<const T>::choose(of_keys, keys, values), packed, first,
                             of_keys ? step * X::channels : channel + (step - pages) * X::channels);
      if (!X::resident && of_keys) {
        load_page<X, X::rows>(slot + X::page, queries, packed, task.first, step * X::channels);
      }
    }
  };
  const int tiles = (keys.count + kColumns - 1) / kColumns;
  std::byte* const ring = shared + (X::resident ? X::pages * X::row_page : 0);
  auto feed = feed_of<X::slots, X::slot>(ring, tiles, X::whole ? 1 : pages + X::pages, load);
  const bool active = task.first + rt_warp() * 16 * X::bands < queries.count;
  Sums<X::bands, X::tiles> sums[X::pages];
#pragma unroll
  for (int page = 0; page < X::pages; page++) {
    clear(sums[page]);
  }
  Softmax<X> softmax;
  for (int tile = 0; tile < tiles; tile++) {
    int slot = 0;
    if constexpr (X::whole) {
      slot = feed.next();
    }
    Sums<X::bands, kColumns / 8> scores;
    clear(scores);
#pragma unroll(X::whole ? X::pages : 1)
    for (int page = 0; page < pages; page++) {
      const std::byte* const columns = ring + (X::whole ? slot + page * X::page : feed.next());
      const std::byte* const rows = X::resident ? shared + page * X::row_page : columns + X::page;
      if (active) {
        add_scores<X>(scores, rows, columns, 0);
      }
    }
    Weights<T, X::bands, kColumns / 8> weights;
    if (active) {
      if (keys.count - tile * kColumns < kColumns) {
        mask(scores, keys.count - tile * kColumns);
      }
      softmax.add(scores, scale * kLog2E, weights, sums);
    }
#pragma unroll
    for (int page = 0; page < X::pages; page++) {
      const std::byte* const columns = ring + (X::whole ? slot + (X::pages + page) * X::page : feed.next());
      if (active) {
        add_values<X>(sums[page], weights, columns, 0);
      }
    }
  }
  __syncthreads();  // nobody reads shared memory any more
  softmax.finish(scale, sums, lse + task.item(heads) * tq, task.first, queries.count);
  store_rows<X>(shared, sums, 1.0f, Tokens<T>(out, task, tq, heads * d, d), task.first, channel);
}

}  // namespace

#define RT_ATTENTION_FORWARD(name, T, width, bands, whole, resident)                                                    \
  RT_KERNEL_OCCUPANCY(rt_attention_##name, kThreads, 1,                                                                 \
                      (const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v, T* __restrict__ out,  \
                       float* __restrict__ lse, std::int64_t heads, std::int64_t tq, std::int64_t tk, std::int64_t d,   \
                       std::int64_t q_row, std::int64_t kv_row, float scale)) {                                         \
    forward<Tiling<T, width, bands, whole, resident>>(q, k, v, out, lse, heads, tq, tk, d, q_row, kv_row, scale);       \
  }

RT_ATTENTION_FORWARD(32_f32, float, 32, 1, true, true)
RT_ATTENTION_FORWARD(64_f32, float, 64, 1, true, true)
RT_ATTENTION_FORWARD(128_f32, float, 128, 1, false, true)
RT_ATTENTION_FORWARD(wide_f32, float, 256, 1, false, false)
RT_ATTENTION_FORWARD(32_bf16, rt_bf16, 32, 2, true, true)
RT_ATTENTION_FORWARD(64_bf16, rt_bf16, 64, 2, true, true)
RT_ATTENTION_FORWARD(128_bf16, rt_bf16, 128, 2, true, true)
RT_ATTENTION_FORWARD(256_bf16, rt_bf16, 256, 1, false, true)
RT_ATTENTION_FORWARD(wide_bf16, rt_bf16, 256, 1, false, false)
