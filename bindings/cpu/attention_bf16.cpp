// attention_bf16.cpp   attention.cpp's operations with VDPBF16PS: two products of bfloat16 a lane, summed in float32
// shapes    q, out, dout (tq, d)   k, v (tk, d)   one head of one sample; lse (tq) f32
// how       A left factor is read as words: two bfloat16 that follow each other along the summed axis. Of the right
//           factor a panel holds 64 columns, the words of a column 64 apart. Rows of q, k, v, dout are words along the
//           channels already; their panels along the channels are them turned, along the tokens two rows interleaved.
//           Forward: 64 queries x 128 keys of scores live at a time. Backward: P and dS of 256 queries x 256 keys,
//           bfloat16; S and dP leave the registers as such, six keys by 64 queries at a time
// launch    runs on the calling thread
// numerics  scores, softmax, statistics, sums, running output in f32; P and dS are rounded to bfloat16 before their
//           products (relative error up to 2^-8 each), as Dao 2023 does; lse is of the unrounded P. Order of summation fixed
// traffic   forward 4 tq tk d FLOP, backward 10; every operand read once, packed twice at most, results written once:
//           compute-bound. T256 D256: 67 + 168 MFLOP and 0.5 + 1.0 MB a head. One thread of a Zen 4 does 235 GFLOP/s of
//           VDPBF16PS (f32: 117), so B32 H1 T256 D256 takes 9.1 + 22.8 ms at least, B32 H4 T256 D64 the same
// measured  one thread of that Zen 4, beside other work (which adds up to 15 %), forward + backward in ms, their shares
//           of 235 GFLOP/s, and in brackets float32 products on copies, interleaved:
//           B32 H1 T256 D256 13.3 + 29.2 (69 %, 78 %) [23.8 + 59.7]   B32 H4 T256 D64 14.8 + 34.7 (62 %, 66 %) [25.9 + 64.3]
//           B32 H1 T256 D128 7.2 + 15.7 (64 %, 73 %) [13.5 + 32.2]    B16 H1 T196 D64 1.3 + 2.8 (51 %, 60 %) [2.2 + 5.2]
//           Two threads: 7.2 + 16.7 ms (63 %, 68 %), 7.8 + 17.3 (59 %, 66 %), 3.5 + 7.8 (65 %, 73 %), 0.6 + 1.3 (56 %, 66 %)
//           in this order, 1.81 to 1.94 times as fast as on copies
// limits    tq, tk, d >= 1, any tail. VDPBF16PS takes and gives subnormal numbers as 0
// source    retort/attention.h
#include "cpu/attention_bf16.h"

#if defined(__AVX512F__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numbers>

#include "cpu/onednn.h"
#include "cpu/tile.h"
#include "cpu/vec.h"

// To the end of the file: nothing here runs unless multiplies_bf16().
#pragma GCC target("avx512bf16")

namespace rt {
namespace {

using std::int64_t;
using word = std::uint32_t;  // two bfloat16, the first in the lower half

constexpr int64_t PANEL = 64;           // columns: four vectors, the register tile's width
constexpr int64_t PANEL_VECTORS = PANEL / LANES;
constexpr int64_t FORWARD_KEYS = 128;   // of a tile of scores: 32 KiB
constexpr int64_t BLOCK = 256;          // queries and keys of P and dS: longer sums store fewer results
constexpr int64_t SKEW = LANES;         // words between rows, lest rows a power of two apart share the cache's sets
constexpr int64_t ROWS_AHEAD = 16;      // rows of a head are too far apart for the hardware to guess the next one
constexpr float LOG2_E = std::numbers::log2e_v<float>;
constexpr float LN_2 = std::numbers::ln2_v<float>;

constexpr int64_t round_up(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }
constexpr int64_t panels(int64_t columns) { return (columns + PANEL - 1) / PANEL; }
constexpr int64_t pairs(int64_t count) { return (count + 1) / 2; }

// Vectors of panel `panel` that hold any of `columns` columns.
constexpr int64_t panel_vectors(int64_t panel, int64_t columns) {
  return (std::min(PANEL, columns - panel * PANEL) + LANES - 1) / LANES;
}

// Distance between rows of `count` bfloat16, in words.
constexpr int64_t row_words(int64_t count) { return round_up(pairs(count), LANES) + SKEW; }

inline __mmask32 first_of_32(int64_t count) {
  return count >= 32 ? 0xffffffffu : (1u << std::max<int64_t>(count, 0)) - 1;
}

inline __m512i load_words(const word* p) { return _mm512_loadu_si512(p); }

inline void store_words(word* p, __m512i v) { _mm512_storeu_si512(p, v); }

// Lane i: low[i], high[i] as bfloat16.
inline __m512i words_of(vec low, vec high) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_maskz_permutexvar_epi16(0xffffffffu, order, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// The first `count` of LANES floats, or all of them. A masked store costs more.
inline void store_narrow(bf16* p, vec v, int64_t count) {
  const auto narrow = (__m256i)_mm512_cvtneps_pbh(v);
  if (count >= LANES) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow);
  } else {
    _mm256_mask_storeu_epi16(p, static_cast<__mmask16>(first_of_32(count)), narrow);
  }
}

// --- operands ---------------------------------------------------------------------------------------------------

// Copies `rows` rows of `d` to rows `row` words apart, zero behind their end and from `rows` to `all_rows`.
void copy_rows(const bf16* from, int64_t from_row, int64_t rows, int64_t all_rows, int64_t d, word* to, int64_t row) {
  for (int64_t r = 0; r < all_rows; ++r) {
    const bf16* ahead = from + std::min(r + ROWS_AHEAD, rows - 1) * from_row;
    for (int64_t c = 0; c < d; c += 32) {
      __builtin_prefetch(ahead + c);
      const __mmask32 there = r < rows ? first_of_32(d - c) : 0;
      store_words(to + r * row + c / 2, _mm512_maskz_loadu_epi16(there, from + r * from_row + c));
    }
  }
}

// Panels of rows as columns, `depth` words of each: panel p holds rows 64 p ... 64 p + 63. `rows` is a whole number of
// vectors, and so is the depth that is written.
void turn(const word* from, int64_t row, int64_t rows, int64_t depth, word* to) {
  const int64_t stored = round_up(depth, LANES);
  for (int64_t r = 0; r < rows; r += LANES) {
    word* panel = to + r / PANEL * stored * PANEL + r % PANEL;
    for (int64_t c = 0; c < stored; c += LANES) {
      vec block[LANES];
#pragma GCC unroll 16
      for (int i = 0; i < LANES; ++i) {
        block[i] = reinterpret_cast<vec>(load_words(from + (r + i) * row + c));
      }
      transpose_block(block);
#pragma GCC unroll 16
      for (int i = 0; i < LANES; ++i) {
        store_words(panel + (c + i) * PANEL, reinterpret_cast<__m512i>(block[i]));
      }
    }
  }
}

// Panels of `columns` columns, rows 2 r and 2 r + 1 in one word; `rows` is even. `stored` words lie between panels.
void interleave(const word* from, int64_t row, int64_t rows, int64_t columns, word* to, int64_t stored) {
  const __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                         5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i later = _mm512_add_epi16(order, _mm512_set1_epi16(16));
  for (int64_t r = 0; r < rows; r += 2) {
    for (int64_t c = 0; c < columns; c += 32) {
      const __m512i a = load_words(from + r * row + c / 2);
      const __m512i b = load_words(from + (r + 1) * row + c / 2);
      word* at = to + c / PANEL * stored + r / 2 * PANEL + c % PANEL;
      store_words(at, _mm512_permutex2var_epi16(a, order, b));
      store_words(at + LANES, _mm512_permutex2var_epi16(a, later, b));
    }
  }
}

// --- products ---------------------------------------------------------------------------------------------------

// start(i, j) gives what the sum of row i, vector j begins with, finish(sum) receives all of them.
template <Left left, int rows, int vectors, class Start, class Finish>
inline void bf16_tile(int64_t depth, const word* a, int64_t lda, const word* b, Start&& start, Finish&& finish) {
  vec sum[rows][vectors];
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) {
      sum[i][j] = start(i, j);
    }
  }
  for (int64_t step = 0; step < depth; ++step) {
    __m512bh right[vectors];
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) {
      right[j] = (__m512bh)load_words(b + j * LANES);
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      const auto value = (__m512bh)_mm512_set1_epi32(static_cast<int>(left == Left::rows ? a[i * lda] : a[i]));
#pragma GCC unroll 8
      for (int j = 0; j < vectors; ++j) {
        sum[i][j] = _mm512_dpbf16_ps(sum[i][j], value, right[j]);
      }
    }
    a += left == Left::rows ? 1 : lda;
    b += PANEL;
  }
  finish(sum);
}

// Calls body.template operator()<rows>(i) for the rows i ... i + rows - 1 of every register tile; the last one may
// have one row more than there is.
template <class Body>
inline void every_tile(int64_t m, Body&& body) {
  int64_t i = 0;
  for (; i + TILE_ROWS <= m; i += TILE_ROWS) {
    body.template operator()<TILE_ROWS>(i);
  }
  switch (pairs(m - i)) {
    case 3:
      return body.template operator()<6>(i);
    case 2:
      return body.template operator()<4>(i);
    case 1:
      return body.template operator()<2>(i);
    default:
      return;
  }
}

// Calls body.template operator()<vectors>().
template <class Body>
inline void with_vectors(int64_t vectors, Body&& body) {
  switch (vectors) {
    case 4:
      return body.template operator()<4>();
    case 3:
      return body.template operator()<3>();
    case 2:
      return body.template operator()<2>();
    default:
      return body.template operator()<1>();
  }
}

// Sums of float32 that begin, go on or end with a product.
struct Sums {
  float* running;  // rows PANEL apart; read if the product is not the first, written if it is not the last
  bf16* result;    // rows `row` apart, `columns` of them wide; written if the product is the last
  int64_t row, columns;
  bool first, last;
};

// sums (m rows, one panel) = earlier * before[i] + a b; the result is that times after[i]. A null factor is 1, and
// `scale` multiplies the result too.
template <Left left>
void accumulate(int64_t m, int64_t depth, const word* a, int64_t lda, const word* b, const Sums& sums,
                const float* before, const float* after, float scale) {
  const int64_t down = left == Left::rows ? lda : 1;
  with_vectors((std::min(PANEL, sums.columns) + LANES - 1) / LANES, [&]<int vectors>() {
    every_tile(m, [&]<int rows>(int64_t i) {
      const int64_t there = std::min<int64_t>(rows, m - i);
      bf16_tile<left, rows, vectors>(
          depth, a + i * down, lda, b,
          [&](int r, int j) {
            if (sums.first) {
              return vec{};
            }
            const vec earlier = load_vec(sums.running + (i + r) * PANEL + j * LANES);
            return before == nullptr ? earlier : before[i + r] * earlier;
          },
          [&](vec(&sum)[rows][vectors]) {
#pragma GCC unroll 8
            for (int r = 0; r < rows; ++r) {
              if (r < there) {
                if (!sums.last) {
#pragma GCC unroll 8
                  for (int j = 0; j < vectors; ++j) {
                    store_vec(sums.running + (i + r) * PANEL + j * LANES, sum[r][j]);
                  }
                } else {
                  const float factor = after == nullptr ? scale : scale * after[i + r];
                  bf16* to = sums.result + (i + r) * sums.row;
#pragma GCC unroll 8
                  for (int j = 0; j < vectors; ++j) {
                    store_narrow(to + j * LANES, factor * sum[r][j], sums.columns - j * LANES);
                  }
                }
              }
            }
          });
    });
  });
}

class Memory {
 public:
  explicit Memory(float* start) : at_(start) {}
  float* floats(int64_t count) {
    float* start = at_;
    at_ += round_up(count, LANES);
    return start;
  }
  word* words(int64_t count) { return reinterpret_cast<word*>(floats(count)); }

 private:
  float* at_;
};

// --- forward ----------------------------------------------------------------------------------------------------

// Rows that `count` rows take where they go in pairs.
int64_t even(int64_t count) { return pairs(count) * 2; }

// What the queries of one panel know of their scores, in units of ln 2.
struct Softmax {
  float peak[PANEL];
  float sum[PANEL];
  float fade[PANEL];  // factor of everything summed before the last tile

  Softmax() {
    std::fill(std::begin(peak), std::end(peak), -std::numeric_limits<float>::infinity());
    std::fill(std::begin(sum), std::end(sum), 0.0f);
  }

  // Turns scores (keys x PANEL, queries in lanes), which `top` are the largest of, into words of exp2(scores * unit -
  // peak), two keys in one.
  void advance(const float* scores, int64_t keys, int64_t vectors, const float* top, float unit, word* p) {
    for (int64_t c = 0; c < vectors * LANES; c += LANES) {
      const vec before = load_vec(peak + c);
      const vec now = larger(load_vec(top + c) * unit, before);
      const vec factor = exp2_vec(before - now);
      vec even_sum = load_vec(sum + c) * factor;
      vec odd_sum{};
      const float* from = scores + c;
      word* to = p + c;
      int64_t j = 0;
      for (; j + 2 <= keys; j += 2) {
        const vec low = exp2_vec(load_vec(from) * unit - now);
        const vec high = exp2_vec(load_vec(from + PANEL) * unit - now);
        even_sum += low;
        odd_sum += high;
        store_words(to, words_of(low, high));
        from += 2 * PANEL;
        to += PANEL;
      }
      if (j < keys) {
        const vec low = exp2_vec(load_vec(from) * unit - now);
        even_sum += low;
        store_words(to, words_of(low, vec{}));
      }
      store_vec(peak + c, now);
      store_vec(sum + c, even_sum + odd_sum);
      store_vec(fade + c, factor);
    }
  }
};

// scores (keys x PANEL) = k q^T; top[i] = the largest of query i that is a number.
void scores_of(int64_t keys, int64_t vectors, int64_t depth, const word* k, int64_t row, const word* q, float* scores,
               float* top) {
  std::fill(top, top + PANEL, -std::numeric_limits<float>::infinity());
  with_vectors(vectors, [&]<int columns>() {
    every_tile(keys, [&]<int rows>(int64_t i) {
      const int64_t there = std::min<int64_t>(rows, keys - i);
      bf16_tile<Left::rows, rows, columns>(
          depth, k + i * row, row, q, [](int, int) { return vec{}; },
          [&](vec(&sum)[rows][columns]) {
#pragma GCC unroll 8
            for (int j = 0; j < columns; ++j) {
              vec most = load_vec(top + j * LANES);
#pragma GCC unroll 8
              for (int r = 0; r < rows; ++r) {
                if (r < there) {
                  most = larger(sum[r][j], most);
                  store_vec(scores + (i + r) * PANEL + j * LANES, sum[r][j]);
                }
              }
              store_vec(top + j * LANES, most);
            }
          });
    });
  });
}

}  // namespace

bool multiplies_bf16() {
  static const bool can = onednn::compute_type(RT_BF16) == onednn::Type::bf16;
  return can;
}

std::int64_t Bf16AttentionForward::floats(const AttentionSizes& s) {
  const int64_t row = row_words(s.d);
  const int64_t wide = panels(s.d) * PANEL;
  return 2 * even(s.tk) * row + pairs(s.tk) * wide + PANEL * row + round_up(pairs(s.d), LANES) * PANEL +
         FORWARD_KEYS * PANEL + pairs(FORWARD_KEYS) * PANEL + PANEL * wide + 8 * LANES;
}

void Bf16AttentionForward::run(float* memory) const {
  const int64_t row = row_words(s.d);
  const int64_t depth = pairs(s.d);
  const int64_t value_panel = pairs(s.tk) * PANEL;
  Memory take(memory);
  word* const keys = take.words(even(s.tk) * row);
  word* const value_rows = take.words(even(s.tk) * row);
  word* const values = take.words(panels(s.d) * value_panel);
  word* const query_rows = take.words(PANEL * row);
  word* const queries = take.words(round_up(depth, LANES) * PANEL);
  float* const scores = take.floats(FORWARD_KEYS * PANEL);
  word* const p = take.words(pairs(FORWARD_KEYS) * PANEL);
  float* const running = take.floats(panels(s.d) * PANEL * PANEL);
  copy_rows(k, s.kv_row, s.tk, even(s.tk), s.d, keys, row);
  copy_rows(v, s.kv_row, s.tk, even(s.tk), s.d, value_rows, row);
  interleave(value_rows, row, even(s.tk), s.d, values, value_panel);
  const float unit = s.scale() * LOG2_E;
  for (int64_t start = 0; start < s.tq; start += PANEL) {
    const int64_t count = std::min(PANEL, s.tq - start);
    const int64_t vectors = panel_vectors(0, count);
    copy_rows(q + start * s.q_row, s.q_row, count, vectors * LANES, s.d, query_rows, row);
    turn(query_rows, row, vectors * LANES, depth, queries);
    Softmax softmax;
    float after[PANEL];
    for (int64_t first = 0; first < s.tk; first += FORWARD_KEYS) {
      const int64_t size = std::min(FORWARD_KEYS, s.tk - first);
      const bool last = first + size == s.tk;
      float top[PANEL];
      scores_of(size, vectors, depth, keys + first * row, row, queries, scores, top);
      softmax.advance(scores, size, vectors, top, unit, p);
      for (int64_t i = 0; last && i < count; ++i) {
        lse[start + i] = (softmax.peak[i] + std::log2(softmax.sum[i])) * LN_2;
        after[i] = 1.0f / softmax.sum[i];
      }
      for (int64_t panel = 0; panel < panels(s.d); ++panel) {
        const Sums sums{running + panel * PANEL * PANEL, out + start * s.heads * s.d + panel * PANEL, s.heads * s.d,
                        s.d - panel * PANEL,             first == 0,                                  last};
        accumulate<Left::columns>(count, pairs(size), p, PANEL, values + panel * value_panel + first / 2 * PANEL, sums,
                                  softmax.fade, after, 1.0f);
      }
    }
  }
}

// --- backward ---------------------------------------------------------------------------------------------------

namespace {

// Queries of a block in every form that a product wants them in, and what is known of each.
struct QueryBlock {
  word *rows, *turned, *paired;              // q
  word *gradient_rows, *turned_gradients, *paired_gradients;  // dout
  float *drift, *level;                      // dout . out, lse in units of ln 2
};

// P and dS of one block: rows are keys, words two queries; paired: rows are two keys, panels of queries.
struct ScoreBlock {
  word *p, *ds, *paired;
};

constexpr int64_t SCORE_ROW = BLOCK / 2 + SKEW;
constexpr int64_t PAIRED_PANEL = BLOCK / 2 * PANEL;

// a . b of two rows of d bfloat16, `b` with zeros behind its end.
float dot(const bf16* a, const word* b, int64_t d) {
  vec sum{};
  for (int64_t c = 0; c < d; c += 32) {
    const __m512i left = _mm512_maskz_loadu_epi16(first_of_32(d - c), a + c);
    sum = _mm512_dpbf16_ps(sum, (__m512bh)left, (__m512bh)load_words(b + c / 2));
  }
  float total = 0;
  for (int lane = 0; lane < LANES; ++lane) {
    total += sum[lane];
  }
  return total;
}

// P and dS of rows i, i + 1 ... of one panel of queries.
template <int rows, int vectors>
inline void slopes(const vec (&scores)[rows][vectors], const float* dp, int64_t i, int64_t there, float unit,
                   const float* level, const float* drift, word* p_rows, word* ds_rows, word* paired) {
#pragma GCC unroll 8
  for (int j = 0; j < vectors; j += 2) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; r += 2) {
      vec p[2][2] = {};
      vec ds[2][2] = {};
#pragma GCC unroll 8
      for (int across = 0; across < 2; ++across) {
        if (j + across < vectors) {
          const int column = (j + across) * LANES;
          const vec offset = load_vec(level + column);
          const vec mean = load_vec(drift + column);
#pragma GCC unroll 8
          for (int down = 0; down < 2; ++down) {
            if (r + down < there) {
              const vec weight = exp2_vec(scores[r + down][j + across] * unit - offset);
              p[down][across] = weight;
              ds[down][across] = weight * (load_vec(dp + (r + down) * PANEL + column) - mean);
            }
          }
          store_words(paired + (i + r) / 2 * PANEL + column, words_of(ds[0][across], ds[1][across]));
        }
      }
#pragma GCC unroll 8
      for (int down = 0; down < 2; ++down) {
        const int64_t at = (i + r + down) * SCORE_ROW + j * LANES / 2;
        store_words(p_rows + at, (__m512i)_mm512_cvtne2ps_pbh(p[down][1], p[down][0]));
        store_words(ds_rows + at, (__m512i)_mm512_cvtne2ps_pbh(ds[down][1], ds[down][0]));
      }
    }
  }
}

// Fills a block of P and dS for `keys` keys and `queries` queries.
void score_block(int64_t keys, int64_t queries, int64_t depth, const word* k, const word* v, int64_t row, float unit,
                 const QueryBlock& block, const ScoreBlock& result) {
  const int64_t panel_words = round_up(depth, LANES) * PANEL;
  for (int64_t panel = 0; panel < panels(queries); ++panel) {
    const int64_t start = panel * PANEL;
    with_vectors(panel_vectors(panel, queries), [&]<int vectors>() {
      every_tile(keys, [&]<int rows>(int64_t i) {
        alignas(64) float dp[rows * PANEL];
        bf16_tile<Left::rows, rows, vectors>(
            depth, v + i * row, row, block.turned_gradients + panel * panel_words, [](int, int) { return vec{}; },
            [&](vec(&sum)[rows][vectors]) {
#pragma GCC unroll 8
              for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
                for (int j = 0; j < vectors; ++j) {
                  store_vec(dp + r * PANEL + j * LANES, sum[r][j]);
                }
              }
            });
        bf16_tile<Left::rows, rows, vectors>(
            depth, k + i * row, row, block.turned + panel * panel_words, [](int, int) { return vec{}; },
            [&](vec(&sum)[rows][vectors]) {
              slopes<rows, vectors>(sum, dp, i, std::min<int64_t>(rows, keys - i), unit, block.level + start,
                                    block.drift + start, result.p + start / 2, result.ds + start / 2,
                                    result.paired + panel * PAIRED_PANEL);
            });
      });
    });
  }
}

}  // namespace

std::int64_t Bf16AttentionBackward::floats(const AttentionSizes& s) {
  const int64_t row = row_words(s.d);
  const int64_t wide = panels(s.d) * PANEL;
  const int64_t queries = std::min(BLOCK, round_up(s.tq, PANEL));
  return 2 * even(s.tk) * row + pairs(s.tk) * wide + 2 * queries * row +
         2 * panels(queries) * round_up(pairs(s.d), LANES) * PANEL + queries * wide + 2 * BLOCK +
         2 * BLOCK * SCORE_ROW + panels(BLOCK) * PAIRED_PANEL + 2 * s.tk * wide + BLOCK * wide + 20 * LANES;
}

void Bf16AttentionBackward::run(float* memory) const {
  const int64_t row = row_words(s.d);
  const int64_t depth = pairs(s.d);
  const int64_t wide = panels(s.d);
  const int64_t most = std::min(BLOCK, round_up(s.tq, PANEL));
  const int64_t key_panel = pairs(s.tk) * PANEL;
  const int64_t query_panel = most / 2 * PANEL;
  const int64_t turned = panels(most) * round_up(depth, LANES) * PANEL;
  const int64_t out_row = s.heads * s.d;
  const float unit = s.scale() * LOG2_E;
  Memory take(memory);
  word* const keys = take.words(even(s.tk) * row);
  word* const values = take.words(even(s.tk) * row);
  word* const paired_keys = take.words(wide * key_panel);
  const QueryBlock block{take.words(most * row), take.words(turned),  take.words(wide * query_panel),
                         take.words(most * row), take.words(turned),  take.words(wide * query_panel),
                         take.floats(BLOCK),     take.floats(BLOCK)};
  const ScoreBlock scores{take.words(BLOCK * SCORE_ROW), take.words(BLOCK * SCORE_ROW),
                          take.words(panels(BLOCK) * PAIRED_PANEL)};
  float* const dkeys = take.floats(wide * s.tk * PANEL);
  float* const dvalues = take.floats(wide * s.tk * PANEL);
  float* const dqueries = take.floats(wide * BLOCK * PANEL);
  copy_rows(k, s.kv_row, s.tk, even(s.tk), s.d, keys, row);
  copy_rows(v, s.kv_row, s.tk, even(s.tk), s.d, values, row);
  interleave(keys, row, even(s.tk), s.d, paired_keys, key_panel);
  for (int64_t start = 0; start < s.tq; start += BLOCK) {
    const int64_t count = std::min(BLOCK, s.tq - start);
    const int64_t lanes = round_up(count, LANES);
    const bool last = start + count == s.tq;
    copy_rows(q + start * s.q_row, s.q_row, count, lanes, s.d, block.rows, row);
    copy_rows(dout + start * out_row, out_row, count, lanes, s.d, block.gradient_rows, row);
    turn(block.rows, row, lanes, depth, block.turned);
    turn(block.gradient_rows, row, lanes, depth, block.turned_gradients);
    interleave(block.rows, row, even(count), s.d, block.paired, query_panel);
    interleave(block.gradient_rows, row, even(count), s.d, block.paired_gradients, query_panel);
    for (int64_t i = 0; i < lanes; ++i) {
      const bool there = i < count;
      block.drift[i] = there ? dot(out + (start + i) * out_row, block.gradient_rows + i * row, s.d) : 0.0f;
      block.level[i] = there ? lse[start + i] * LOG2_E : 0.0f;
    }
    for (int64_t first = 0; first < s.tk; first += BLOCK) {
      const int64_t size = std::min(BLOCK, s.tk - first);
      score_block(size, count, depth, keys + first * row, values + first * row, row, unit, block, scores);
      for (int64_t panel = 0; panel < wide; ++panel) {
        const int64_t column = panel * PANEL;
        const auto sums = [&](float* running, bf16* result, int64_t result_row, bool begins, bool ends) {
          return Sums{running, result + column, result_row, s.d - column, begins, ends};
        };
        if (dv != nullptr) {
          accumulate<Left::rows>(
              size, pairs(count), scores.p, SCORE_ROW, block.paired_gradients + panel * query_panel,
              sums(dvalues + (panel * s.tk + first) * PANEL, dv + first * s.kv_row, s.kv_row, start == 0, last), nullptr,
              nullptr, 1.0f);
        }
        if (dk != nullptr) {
          accumulate<Left::rows>(
              size, pairs(count), scores.ds, SCORE_ROW, block.paired + panel * query_panel,
              sums(dkeys + (panel * s.tk + first) * PANEL, dk + first * s.kv_row, s.kv_row, start == 0, last), nullptr,
              nullptr, s.scale());
        }
        for (int64_t i = 0; dq != nullptr && i < count; i += PANEL) {
          accumulate<Left::columns>(std::min(PANEL, count - i), pairs(size), scores.paired + i / PANEL * PAIRED_PANEL,
                                    PANEL, paired_keys + panel * key_panel + first / 2 * PANEL,
                                    sums(dqueries + (panel * BLOCK + i) * PANEL, dq + (start + i) * s.q_row, s.q_row,
                                         first == 0, first + size == s.tk),
                                    nullptr, nullptr, s.scale());
        }
      }
    }
  }
}

}  // namespace rt

#endif
