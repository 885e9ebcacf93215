// column_sums.h   the gradient of a bias: sums over all rows.
#pragma once

#include <cstdint>

namespace rt {

// sums[c] = sum over rows of x[row, c]; x (rows, columns) of type `dtype`, sums float32, overwritten.
//
// Added in a fixed order, the same on any thread count. One read of x: memory-bound.
void column_sums(const void* x, std::int32_t dtype, std::int64_t rows, std::int64_t columns, float* sums);

}  // namespace rt
