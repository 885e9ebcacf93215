// attention.cpp   out = softmax(q k^T / sqrt(d)) v  and its gradient, one tile of scores at a time
// shapes    q, out, dout (n, tq, heads, d)   k, v (n, tk, heads, d)   lse (n, heads, tq) f32, saved for backward
// launch    one (sample, head) per iteration, forward where these are fewer than threads a part of its queries; 64 queries x
//           128 keys (64 backward) of scores live at a time
// bfloat16  attention_bf16.cpp where the CPU multiplies it; elsewhere these kernels, on float32 copies
// numerics  scores, softmax and sums in f32; running maximum per query; P recomputed from lse in backward. Scores carry
//           the factor log2(e) so that softmax needs 2^x only. Order of summation fixed: the same on any thread count
// traffic   forward 4 tq tk d FLOP per head, backward 10; K, V, dK, dV of one head stay in the second-level cache:
//           compute-bound; B32 H4 T256 D64 and B32 H1 T256 D256 both 7.5 GFLOP = 14.2 ms at 530 GFLOP/s
// measured  2 cores Zen 5 shared with other work, forward + backward, share of 530 GFLOP/s:
//           B32 H4 T256 D64 6.6 + 15.3 ms (65 %), B32 H1 T256 D256 5.9 + 14.1 ms (71 %),
//           B8 H4 T1024 D64 24 + 56 ms (70 %), B32 H2 T64 D64 0.27 + 0.58 ms (52 %)
//           2 cores Zen 4, shared likewise, share of 234 GFLOP/s: B32 H4 T256 D64 16 + 39 ms (58 %; one thread 65 %),
//           B32 H1 T256 D256 13.6 + 33.6 ms (68 %; one thread 70 %)
// limits    tq, tk, heads, d >= 1, any tail; working memory per thread 4 tk d + O(64 d) floats
// source    retort/attention.h
#include "retort/attention.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>

#include "cpu/attention_bf16.h"
#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/registry.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"
#include "cpu/tile.h"
#include "cpu/vec.h"

namespace {

using rt::Left;
using rt::vec;
using std::int64_t;

constexpr int64_t QUERIES = 64;         // lanes of a tile of scores: four AVX-512 vectors, the register tile's width
constexpr int64_t FORWARD_KEYS = 128;   // one tile of scores: 32 KiB, fits the first-level cache
constexpr int64_t BACKWARD_KEYS = 64;   // two tiles (P and dS): 32 KiB
constexpr int64_t ROWS_AHEAD = 16;      // rows of a head are too far apart for the hardware to guess the next one
constexpr float LOG2_E = std::numbers::log2e_v<float>;
constexpr float LN_2 = std::numbers::ln2_v<float>;

struct Sizes : rt::AttentionSizes {
  int64_t packed() const { return rt::packed_row(d); }
  int64_t padded() const { return rt::whole_vectors(d); }

  // Whether a call is worth more than one thread.
  bool parallel() const { return n * heads * tq * tk * d > RT_PARALLEL_MIN; }

  // Queries of a head that one thread takes: all, or whole tiles where there are fewer heads than threads.
  int64_t part() const {
    const int64_t threads = parallel() ? rt::team_size() : 1;
    const int64_t tiles = (tq + QUERIES - 1) / QUERIES;
    const int64_t parts = std::clamp<int64_t>(threads / std::max<int64_t>(1, n * heads), 1, tiles);
    return (tiles + parts - 1) / parts * QUERIES;
  }
};

// Copies `rows` rows of `d` to float32 rows `packed` apart; the rest of each row and of `all_rows` becomes zero.
template <class T>
void unpack(const T* from, int64_t from_row, int64_t rows, int64_t all_rows, int64_t d, float* to, int64_t packed) {
  constexpr int64_t line = 64 / sizeof(T);
  for (int64_t r = 0; r < rows; ++r) {
    const T* ahead = from + std::min(r + ROWS_AHEAD, rows - 1) * from_row;
    for (int64_t c = 0; c < d; c += line) {
      __builtin_prefetch(ahead + c);
    }
    for (int64_t c = 0; c < d; ++c) {
      to[r * packed + c] = rt::load(from + r * from_row + c);
    }
    std::fill(to + r * packed + d, to + (r + 1) * packed, 0.0f);
  }
  std::fill(to + rows * packed, to + all_rows * packed, 0.0f);
}

template <class T>
void pack(const float* from, int64_t packed, int64_t rows, int64_t d, T* to, int64_t to_row) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < d; ++c) {
      rt::store(to + r * to_row + c, from[r * packed + c]);
    }
  }
}

float dot(const float* a, const float* b, int64_t padded) {
  vec sum{};
  for (int64_t c = 0; c < padded; c += rt::LANES) {
    sum += rt::load_vec(a + c) * rt::load_vec(b + c);
  }
  float total = 0;
  for (int lane = 0; lane < rt::LANES; ++lane) {
    total += sum[lane];
  }
  return total;
}

// Turns scores (keys x QUERIES, queries in lanes) into exp2(score - maximum) and brings the running maximum and sum of
// each query up to date; `fade` receives what everything accumulated so far must be multiplied with.
void online_softmax(float* scores, int64_t keys, int64_t lanes, float* maximum, float* sum, float* fade) {
  for (int64_t c = 0; c < lanes; c += rt::LANES) {
    vec top[4];
    std::fill(std::begin(top), std::end(top), rt::load_vec(maximum + c));
    int64_t j = 0;
    for (; j + 4 <= keys; j += 4) {
      for (int i = 0; i < 4; ++i) {
        top[i] = rt::larger(rt::load_vec(scores + (j + i) * QUERIES + c), top[i]);
      }
    }
    for (; j < keys; ++j) {
      top[0] = rt::larger(rt::load_vec(scores + j * QUERIES + c), top[0]);
    }
    const vec peak = rt::larger(rt::larger(top[0], top[1]), rt::larger(top[2], top[3]));
    const vec factor = rt::exp2_vec(rt::load_vec(maximum + c) - peak);
    vec total = rt::load_vec(sum + c) * factor;
    for (j = 0; j < keys; ++j) {
      const vec p = rt::exp2_vec(rt::load_vec(scores + j * QUERIES + c) - peak);
      rt::store_vec(scores + j * QUERIES + c, p);
      total += p;
    }
    rt::store_vec(maximum + c, peak);
    rt::store_vec(sum + c, total);
    rt::store_vec(fade + c, factor);
  }
}

void multiply_rows(float* rows, int64_t packed, int64_t padded, int64_t count, const float* factors) {
  for (int64_t r = 0; r < count; ++r) {
    if (factors[r] != 1.0f) {
      for (int64_t c = 0; c < padded; c += rt::LANES) {
        rt::store_vec(rows + r * packed + c, factors[r] * rt::load_vec(rows + r * packed + c));
      }
    }
  }
}

// One head of one sample.
template <class T>
struct Forward {
  Sizes s;
  const T *q, *k, *v;
  T* out;
  float* lse;

  static int64_t floats(const Sizes& s) {
    return 2 * s.tk * s.packed() + QUERIES * s.packed() + s.padded() * QUERIES + FORWARD_KEYS * QUERIES;
  }

  void run(float* memory) const {
    const int64_t packed = s.packed();
    float* keys = memory;
    float* values = keys + s.tk * packed;
    float* rows = values + s.tk * packed;
    float* turned = rows + QUERIES * packed;
    float* scores = turned + s.padded() * QUERIES;
    unpack(k, s.kv_row, s.tk, s.tk, s.d, keys, packed);
    unpack(v, s.kv_row, s.tk, s.tk, s.d, values, packed);
    for (int64_t start = 0; start < s.tq; start += QUERIES) {
      const int64_t count = std::min(QUERIES, s.tq - start);
      const int64_t lanes = rt::whole_vectors(count);
      unpack(q + start * s.q_row, s.q_row, count, lanes, s.d, rows, packed);
      rt::transpose_tile(lanes, s.padded(), rows, packed, turned, QUERIES, s.scale() * LOG2_E);
      block(keys, values, turned, scores, rows, start, count, lanes);
    }
  }

 private:
  // `count` queries against every key; `rows` collects the output.
  void block(const float* keys, const float* values, const float* turned, float* scores, float* rows, int64_t start,
             int64_t count, int64_t lanes) const {
    const int64_t packed = s.packed();
    float maximum[QUERIES];
    float sum[QUERIES] = {};
    float fade[QUERIES];
    std::fill(std::begin(maximum), std::end(maximum), -std::numeric_limits<float>::infinity());
    for (int64_t first = 0; first < s.tk; first += FORWARD_KEYS) {
      const int64_t size = std::min(FORWARD_KEYS, s.tk - first);
      rt::tile_product<Left::rows>(size, lanes, s.d, keys + first * packed, packed, turned, QUERIES, scores, QUERIES,
                                   false);
      online_softmax(scores, size, lanes, maximum, sum, fade);
      if (first > 0) {
        multiply_rows(rows, packed, s.padded(), count, fade);
      }
      rt::tile_product<Left::columns>(count, s.padded(), size, scores, QUERIES, values + first * packed, packed, rows,
                                      packed, first > 0);
    }
    for (int64_t i = 0; i < count; ++i) {
      lse[start + i] = (maximum[i] + std::log2(sum[i])) * LN_2;
      fade[i] = 1.0f / sum[i];
    }
    multiply_rows(rows, packed, s.padded(), count, fade);
    pack(rows, packed, count, s.d, out + start * s.heads * s.d, s.heads * s.d);
  }
};

// One head of one sample; dq, dk, dv may be null.
template <class T>
struct Backward {
  Sizes s;
  const T *q, *k, *v, *out;
  const float* lse;
  const T* dout;
  T *dq, *dk, *dv;

  // Packed float32 copies; `turned` ones have queries in lanes.
  struct Tiles {
    float *keys, *values, *dkeys, *dvalues, *queries, *gradients, *rows, *turned_queries, *turned_gradients, *p, *ds;
  };

  static int64_t floats(const Sizes& s) {
    return (4 * s.tk + 3 * QUERIES) * s.packed() + 2 * s.padded() * QUERIES + 2 * BACKWARD_KEYS * QUERIES;
  }

  void run(float* memory) const {
    const int64_t packed = s.packed();
    const auto take = [&memory](int64_t floats) {
      float* start = memory;
      memory += floats;
      return start;
    };
    const Tiles t{take(s.tk * packed),         take(s.tk * packed),          take(s.tk * packed),
                  take(s.tk * packed),         take(QUERIES * packed),       take(QUERIES * packed),
                  take(QUERIES * packed),      take(s.padded() * QUERIES),   take(s.padded() * QUERIES),
                  take(BACKWARD_KEYS * QUERIES), take(BACKWARD_KEYS * QUERIES)};
    unpack(k, s.kv_row, s.tk, s.tk, s.d, t.keys, packed);
    unpack(v, s.kv_row, s.tk, s.tk, s.d, t.values, packed);
    for (int64_t start = 0; start < s.tq; start += QUERIES) {
      block(t, start, std::min(QUERIES, s.tq - start));
    }
    if (dk != nullptr) {
      pack(t.dkeys, packed, s.tk, s.d, dk, s.kv_row);
    }
    if (dv != nullptr) {
      pack(t.dvalues, packed, s.tk, s.d, dv, s.kv_row);
    }
  }

 private:
  void block(const Tiles& t, int64_t start, int64_t count) const {
    const int64_t packed = s.packed();
    const int64_t lanes = rt::whole_vectors(count);
    const int64_t out_row = s.heads * s.d;
    float drift[QUERIES] = {};  // dout . out
    float level[QUERIES] = {};  // lse in units of ln 2
    unpack(dout + start * out_row, out_row, count, lanes, s.d, t.gradients, packed);
    unpack(out + start * out_row, out_row, count, count, s.d, t.rows, packed);
    for (int64_t i = 0; i < count; ++i) {
      drift[i] = dot(t.gradients + i * packed, t.rows + i * packed, s.padded());
      level[i] = lse[start + i] * LOG2_E;
    }
    unpack(q + start * s.q_row, s.q_row, count, lanes, s.d, t.queries, packed);
    rt::transpose_tile(lanes, s.padded(), t.queries, packed, t.turned_queries, QUERIES, s.scale() * LOG2_E);
    rt::transpose_tile(lanes, s.padded(), t.gradients, packed, t.turned_gradients, QUERIES, 1.0f);
    for (int64_t first = 0; first < s.tk; first += BACKWARD_KEYS) {
      keys(t, first, std::min(BACKWARD_KEYS, s.tk - first), count, lanes, start > 0, drift, level);
    }
    if (dq != nullptr) {
      pack(t.rows, packed, count, s.d, dq + start * s.q_row, s.q_row);
    }
  }

  // One tile of `size` keys x `count` queries; `later` if earlier queries have already added to dk and dv.
  void keys(const Tiles& t, int64_t first, int64_t size, int64_t count, int64_t lanes, bool later, const float* drift,
            const float* level) const {
    const int64_t packed = s.packed();
    const int64_t padded = s.padded();
    const float* key_rows = t.keys + first * packed;
    rt::tile_product<Left::rows>(size, lanes, s.d, key_rows, packed, t.turned_queries, QUERIES, t.p, QUERIES, false);
    rt::tile_product<Left::rows>(size, lanes, s.d, t.values + first * packed, packed, t.turned_gradients, QUERIES, t.ds,
                                 QUERIES, false);
    const float scale = s.scale();
    for (int64_t c = 0; c < lanes; c += rt::LANES) {
      const vec offset = rt::load_vec(level + c);
      const vec mean = rt::load_vec(drift + c);
      for (int64_t j = 0; j < size; ++j) {
        float* at = t.p + j * QUERIES + c;
        float* slope = t.ds + j * QUERIES + c;
        const vec p = rt::exp2_vec(rt::load_vec(at) - offset);
        rt::store_vec(at, p);
        rt::store_vec(slope, p * (rt::load_vec(slope) - mean) * scale);
      }
    }
    if (dv != nullptr) {
      rt::tile_product<Left::rows>(size, padded, count, t.p, QUERIES, t.gradients, packed, t.dvalues + first * packed,
                                   packed, later);
    }
    if (dk != nullptr) {
      rt::tile_product<Left::rows>(size, padded, count, t.ds, QUERIES, t.queries, packed, t.dkeys + first * packed,
                                   packed, later);
    }
    if (dq != nullptr) {
      rt::tile_product<Left::columns>(count, padded, size, t.ds, QUERIES, key_rows, packed, t.rows, packed, first > 0);
    }
  }
};

// Calls head(sample, head, part).run(memory) for every part of every head of every sample.
template <class Head>
void every_head(const Sizes& s, int64_t parts, int64_t floats, const Head& head) {
  const int64_t stride = (floats + 63) / 64 * 64;
  float* memory = rt::scratch(stride * (s.parallel() ? omp_get_max_threads() : 1));
#pragma omp parallel for schedule(dynamic) if (s.parallel())
  for (int64_t item = 0; item < s.n * s.heads * parts; ++item) {
    const int64_t place = item / parts;
    head(place / s.heads, place % s.heads, item % parts).run(memory + omp_get_thread_num() * stride);
  }
}

void check(const Sizes& s) {
  if (s.n < 0 || s.heads < 1 || s.tq < 1 || s.tk < 1 || s.d < 1) {
    rt::fail("attention: n >= 0 and heads, tq, tk, d >= 1 expected, got n %ld, heads %ld, tq %ld, tk %ld, d %ld",
             static_cast<long>(s.n), static_cast<long>(s.heads), static_cast<long>(s.tq), static_cast<long>(s.tk),
             static_cast<long>(s.d));
  }
}

template <class T>
T* shifted(T* start, int64_t elements) {
  return start == nullptr ? nullptr : start + elements;
}

template <class Head, class T>
void forward(const Sizes& s, const void* q, const void* k, const void* v, void* out, float* lse) {
  const int64_t part = s.part();
  every_head(s, (s.tq + part - 1) / part, Head::floats(s), [&](int64_t sample, int64_t head, int64_t index) {
    const int64_t first = index * part;
    Sizes own = s;
    own.tq = std::min(part, s.tq - first);
    return Head{own,
                static_cast<const T*>(q) + s.query(sample, head) + first * s.q_row,
                static_cast<const T*>(k) + s.key(sample, head),
                static_cast<const T*>(v) + s.key(sample, head),
                static_cast<T*>(out) + s.result(sample, head) + first * s.heads * s.d,
                lse + (sample * s.heads + head) * s.tq + first};
  });
}

template <class Head, class T>
void backward(const Sizes& s, const void* q, const void* k, const void* v, const void* out, const float* lse,
              const void* dout, void* dq, void* dk, void* dv) {
  every_head(s, 1, Head::floats(s), [&](int64_t sample, int64_t head, int64_t) {
    return Head{s,
                static_cast<const T*>(q) + s.query(sample, head),
                static_cast<const T*>(k) + s.key(sample, head),
                static_cast<const T*>(v) + s.key(sample, head),
                static_cast<const T*>(out) + s.result(sample, head),
                lse + (sample * s.heads + head) * s.tq,
                static_cast<const T*>(dout) + s.result(sample, head),
                shifted(static_cast<T*>(dq), s.query(sample, head)),
                shifted(static_cast<T*>(dk), s.key(sample, head)),
                shifted(static_cast<T*>(dv), s.key(sample, head))};
  });
}

}  // namespace

rt_status rt_attention_forward(const void* q, const void* k, const void* v, void* out, float* lse, int64_t n,
                               int64_t heads, int64_t tq, int64_t tk, int64_t d, int64_t q_row, int64_t kv_row,
                               int32_t dtype) {
  return rt::guarded([&] {
    const Sizes s{{n, heads, tq, tk, d, q_row, kv_row}};
    check(s);
#if defined(__AVX512F__)
    if (dtype == RT_BF16 && rt::multiplies_bf16()) {
      forward<rt::Bf16AttentionForward, rt::bf16>(s, q, k, v, out, lse);
      return;
    }
#endif
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      forward<Forward<T>, T>(s, q, k, v, out, lse);
    });
  });
}
RT_EXPORT(rt_attention_forward);

rt_status rt_attention_backward(const void* q, const void* k, const void* v, const void* out, const float* lse,
                                const void* dout, void* dq, void* dk, void* dv, int64_t n, int64_t heads, int64_t tq,
                                int64_t tk, int64_t d, int64_t q_row, int64_t kv_row, int32_t dtype) {
  return rt::guarded([&] {
    const Sizes s{{n, heads, tq, tk, d, q_row, kv_row}};
    check(s);
#if defined(__AVX512F__)
    if (dtype == RT_BF16 && rt::multiplies_bf16()) {
      backward<rt::Bf16AttentionBackward, rt::bf16>(s, q, k, v, out, lse, dout, dq, dk, dv);
      return;
    }
#endif
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      backward<Backward<T>, T>(s, q, k, v, out, lse, dout, dq, dk, dv);
    });
  });
}
RT_EXPORT(rt_attention_backward);
