// tile.h   c = a b  or  c += a b  on small packed tiles, inlined into kernels that fuse a product with something else.
//
// The right factor and the result are row-major and padded to whole vectors, so that a row is read and written as
// vectors; the left factor is read one number at a time and may lie either way. Register tile: 6 rows x up to
// TILE_VECTORS vectors; it stays in registers over the whole of k. Runs on the calling thread; order of summation is
// k ascending, always. For products of whole matrices see gemm.h.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "cpu/vec.h"

namespace rt {

constexpr int TILE_ROWS = 6;
constexpr int TILE_VECTORS = LANES == 16 ? 4 : 2;  // 24 of 32 or 12 of 16 registers hold the result

// How the left factor lies in memory.
enum class Left { rows, columns };  // rows: a[i * lda + k]   columns: a[k * lda + i]

template <Left left, int rows, int vectors>
inline void register_tile(std::int64_t k, const float* __restrict a, std::int64_t lda, const float* __restrict b,
                          std::int64_t ldb, float* __restrict c, std::int64_t ldc, bool accumulate) {
  vec sum[rows][vectors];
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < vectors; ++j) {
      sum[i][j] = accumulate ? load_vec(c + i * ldc + j * LANES) : vec{};
    }
  }
  if (accumulate) {
    // The sums of the tile below come from further away than the factors; a request past the end does nothing.
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < vectors; ++j) {
        __builtin_prefetch(c + (rows + i) * ldc + j * LANES, 1);
      }
    }
  }
  for (std::int64_t step = 0; step < k; ++step) {
    vec right[vectors];
    for (int j = 0; j < vectors; ++j) {
      right[j] = load_vec(b + j * LANES);
    }
    for (int i = 0; i < rows; ++i) {
      const float value = left == Left::rows ? a[i * lda] : a[i];
      for (int j = 0; j < vectors; ++j) {
        sum[i][j] += value * right[j];
      }
    }
    a += left == Left::rows ? 1 : lda;
    b += ldb;
  }
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < vectors; ++j) {
      store_vec(c + i * ldc + j * LANES, sum[i][j]);
    }
  }
}

// All rows of one strip of `vectors` vectors.
template <Left left, int vectors>
void tile_strip(std::int64_t m, std::int64_t k, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
                float* c, std::int64_t ldc, bool accumulate) {
  const std::int64_t down = left == Left::rows ? lda : 1;
  std::int64_t i = 0;
  for (; i + TILE_ROWS <= m; i += TILE_ROWS) {
    register_tile<left, TILE_ROWS, vectors>(k, a + i * down, lda, b, ldb, c + i * ldc, ldc, accumulate);
  }
  switch (m - i) {
    case 5:
      return register_tile<left, 5, vectors>(k, a + i * down, lda, b, ldb, c + i * ldc, ldc, accumulate);
    case 4:
      return register_tile<left, 4, vectors>(k, a + i * down, lda, b, ldb, c + i * ldc, ldc, accumulate);
    case 3:
      return register_tile<left, 3, vectors>(k, a + i * down, lda, b, ldb, c + i * ldc, ldc, accumulate);
    case 2:
      return register_tile<left, 2, vectors>(k, a + i * down, lda, b, ldb, c + i * ldc, ldc, accumulate);
    case 1:
      return register_tile<left, 1, vectors>(k, a + i * down, lda, b, ldb, c + i * ldc, ldc, accumulate);
    default:
      return;
  }
}

// c (m, n) = a (m, k) b (k, n), or += if `accumulate`; n is a whole number of vectors.
template <Left left>
void tile_product(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t lda, const float* b,
                  std::int64_t ldb, float* c, std::int64_t ldc, bool accumulate) {
  constexpr std::int64_t strip = TILE_VECTORS * LANES;
  std::int64_t j = 0;
  for (; j + strip <= n; j += strip) {
    tile_strip<left, TILE_VECTORS>(m, k, a, lda, b + j, ldb, c + j, ldc, accumulate);
  }
  if constexpr (TILE_VECTORS == 4) {
    if (n - j == 3 * LANES) {
      return tile_strip<left, 3>(m, k, a, lda, b + j, ldb, c + j, ldc, accumulate);
    }
    if (n - j == 2 * LANES) {
      return tile_strip<left, 2>(m, k, a, lda, b + j, ldb, c + j, ldc, accumulate);
    }
  }
  if (n - j == LANES) {
    tile_strip<left, 1>(m, k, a, lda, b + j, ldb, c + j, ldc, accumulate);
  }
}

constexpr std::int64_t whole_vectors(std::int64_t count) { return (count + LANES - 1) / LANES * LANES; }

// Distance between rows of a packed tile of `columns` floats: one vector more than a multiple of 256 bytes, because
// rows a power of two apart would all fall into the same few sets of the first-level cache.
constexpr std::int64_t packed_row(std::int64_t columns) { return (columns + 63) / 64 * 64 + LANES; }

// Lane numbers that exchange the off-diagonal s x s blocks of two rows s apart; numbers from LANES on mean the second.
template <int s, bool upper>
consteval std::array<std::int32_t, LANES> exchanged_lanes() {
  std::array<std::int32_t, LANES> lanes{};
  for (int lane = 0; lane < LANES; ++lane) {
    const bool moves = ((lane & s) != 0) == upper;
    lanes[lane] = upper ? (moves ? LANES + lane - s : lane) : (moves ? lane + s : LANES + lane);
  }
  return lanes;
}

template <int s>
inline void exchange_blocks(vec (&row)[LANES]) {
  static constexpr auto upper = exchanged_lanes<s, true>();
  static constexpr auto lower = exchanged_lanes<s, false>();
  ivec first;
  ivec second;
  std::memcpy(&first, upper.data(), sizeof first);
  std::memcpy(&second, lower.data(), sizeof second);
#pragma GCC unroll 16
  for (int i = 0; i < LANES; ++i) {
    if ((i & s) == 0) {
      const vec a = row[i];
      const vec b = row[i + s];
      row[i] = __builtin_shuffle(a, b, first);
      row[i + s] = __builtin_shuffle(a, b, second);
    }
  }
}

// A block of LANES x LANES numbers turned; the bits of each stay as they are.
inline void transpose_block(vec (&block)[LANES]) {
  exchange_blocks<1>(block);
  exchange_blocks<2>(block);
  if constexpr (LANES > 4) {
    exchange_blocks<4>(block);
  }
  if constexpr (LANES > 8) {
    exchange_blocks<8>(block);
  }
}

// to[c * to_row + r] = factor * from[r * from_row + c]; rows and columns are whole numbers of vectors.
inline void transpose_tile(std::int64_t rows, std::int64_t columns, const float* from, std::int64_t from_row, float* to,
                           std::int64_t to_row, float factor) {
  for (std::int64_t r = 0; r < rows; r += LANES) {
    for (std::int64_t c = 0; c < columns; c += LANES) {
      vec block[LANES];
#pragma GCC unroll 16
      for (int i = 0; i < LANES; ++i) {
        block[i] = factor * load_vec(from + (r + i) * from_row + c);
      }
      transpose_block(block);
#pragma GCC unroll 16
      for (int i = 0; i < LANES; ++i) {
        store_vec(to + (c + i) * to_row + r, block[i]);
      }
    }
  }
}

}  // namespace rt
