// gemm.h   single-precision matrix product on raw row-major memory, for kernels that have a product inside.
#pragma once

#include <cstdint>

namespace rt {

enum class Transpose : char { no = 'N', yes = 'T' };

// c = alpha * op(a) op(b) + beta * c, with op(a) (m, k), op(b) (k, n), c (m, n), all row-major.
//
// `lda`, `ldb`, `ldc` are the distances between stored rows in floats: a transposed `a` is stored (k, m), lda >= m.
// beta == 0 never reads c. Inside an active OpenMP region it runs on the calling thread alone, outside on the
// whole team if the product is large enough to pay for waking it. Bit-identical from run to run for one thread
// count. 220 GFLOP/s per core from about 64 x 64 x 64 on if b is not transposed; 140-210 if it is.
void gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc);

}  // namespace rt
