// column_sums.cpp   sums[c] = sum_r x[r, c]
// shapes    x (rows, columns) f32 or bf16, sums (columns) f32
// numerics  float32 within a block of rows, blocks added in order: at most 64 blocks, whatever the team
// traffic   reads x once
// limits    any size
#include "cpu/column_sums.h"

#include <algorithm>

#include "cpu/dtype.h"
#include "cpu/scratch.h"

namespace rt {
namespace {

constexpr std::int64_t kBlocks = 64;
constexpr std::int64_t kLanes = 16;  // narrow matrices are read as wider ones with rows side by side

template <class T>
void block_sums(const T* x, std::int64_t rows, std::int64_t columns, float* sums) {
  std::fill_n(sums, columns, 0.0f);
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* values = x + row * columns;
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) {
      sums[c] += load(values + c);
    }
  }
}

}  // namespace

void column_sums(const void* x, std::int32_t dtype, std::int64_t rows, std::int64_t columns, float* sums) {
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* values = static_cast<const T*>(x);
    const std::int64_t side_by_side = std::max<std::int64_t>(1, kLanes / std::max<std::int64_t>(1, columns));
    const std::int64_t wide = columns * side_by_side;
    const std::int64_t wide_rows = rows / side_by_side;
    const std::int64_t per_block = (wide_rows + kBlocks - 1) / kBlocks;
    float* partial = scratch(kBlocks * wide);
#pragma omp parallel for schedule(static) if (rows * columns > RT_PARALLEL_MIN)
    for (std::int64_t block = 0; block < kBlocks; ++block) {
      const std::int64_t begin = std::min(wide_rows, block * per_block);
      const std::int64_t end = std::min(wide_rows, begin + per_block);
      block_sums(values + begin * wide, end - begin, wide, partial + block * wide);
    }
    // What does not fill a wide row, then all blocks.
    block_sums(values + wide_rows * wide, rows - wide_rows * side_by_side, columns, sums);
    for (std::int64_t row = 0; row < kBlocks * side_by_side; ++row) {
#pragma omp simd
      for (std::int64_t c = 0; c < columns; ++c) {
        sums[c] += partial[row * columns + c];
      }
    }
  });
}

}  // namespace rt
