// gemm.cpp   c = alpha * op(a) op(b) + beta * c in float32
// shapes    op(a) (m, k), op(b) (k, n), c (m, n), row-major with explicit row distances
// numerics  float32 accumulation in the blocks of oneDNN's generated kernels; fixed order for one thread count
// traffic   2 m n k FLOP; compute-bound from about 64 x 64 x 64 on
// measured  2 cores Zen 5, one thread: 64x64x64 2.7 us (74 % of 265 GFLOP/s), 64x256x64 9.5 us (83 %),
//           256x64x256 37 us (87 %), 1024^3 9.6 ms (84 %); two calls side by side 415 GFLOP/s (78 % of 530)
// limits    any size including 0
// source    oneDNN dnnl_sgemm
#include "cpu/gemm.h"

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>

#include "cpu/error.h"
#include "cpu/threads.h"

namespace rt {

namespace {

// Multiply-adds that one core does in about 30 us: below it a second thread arrives too late.
constexpr double kAloneMultiplyAdds = 3.0e6;

}  // namespace

void gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  if (m == 0 || n == 0) {
    return;
  }
  if (k == 0) {
    for (std::int64_t row = 0; row < m; ++row) {
      std::transform(c + row * ldc, c + row * ldc + n, c + row * ldc,
                     [beta](float value) { return beta == 0 ? 0.0f : beta * value; });
    }
    return;
  }
  const bool alone = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) < kAloneMultiplyAdds;
  const ThreadLimit limit(alone ? 1 : 0);
  const dnnl_status_t status =
      dnnl_sgemm(static_cast<char>(ta), static_cast<char>(tb), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  if (status != dnnl_success) {
    fail_with(RT_INTERNAL, "gemm: oneDNN refused (m, n, k) = (%ld, %ld, %ld) with status %d", static_cast<long>(m),
              static_cast<long>(n), static_cast<long>(k), static_cast<int>(status));
  }
}

}  // namespace rt
