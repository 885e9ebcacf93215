/* matmul.h   products of matrices: batched, and with a weight and a bias (a dense layer).
 *
 *   matmul   c[b] = op(a[b]) op(b[b])      op(a) (m, k), op(b) (k, n), c (m, n), for each of `batch` matrices
 *   linear   y[r,o] = bias[o] + sum_i x[r,i] weight[o,i]       x (rows, in), weight (out, in), y (rows, out)
 *
 * Matrices are dense and row-major; a transposed operand is stored (k, m) or (n, k). a, b, c, x, y and their
 * gradients have the type `dtype`; weight, bias and their gradients are float32. In bfloat16 the weights are
 * rounded for the product, sums are float32. No argument may be null but `packed`, `bias` and `dbias`; extents are at least 1.
 */
#ifndef RETORT_MATMUL_H
#define RETORT_MATMUL_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* c, overwritten; `transpose_a` and `transpose_b` are 0 or 1. */
rt_status rt_matmul(const void* a, const void* b, void* c, int64_t batch, int64_t m, int64_t n, int64_t k,
                    int32_t transpose_a, int32_t transpose_b, int32_t dtype);

/* How rt_linear_forward with these extents had better have its weight laid out: layout[0] is a number for the layout,
 * equal for equal ones and 0 where it makes no difference, layout[1] the bytes of a block of rt_linear_pack. */
rt_status rt_linear_layout(int64_t rows, int64_t in, int64_t out, int32_t dtype, int64_t* layout);

/* Lays a weight out in a block for all calls whose layout has the number `layout`, this call's. */
rt_status rt_linear_pack(const float* weight, void* packed, int64_t layout, int64_t rows, int64_t in, int64_t out,
                         int32_t dtype);

/* y from x; `bias` may be null for none. `packed` is the same weight from rt_linear_pack, or null; one that is laid out
 * otherwise is not read. */
rt_status rt_linear_forward(const void* x, const float* weight, const void* packed, const float* bias, void* y,
                            int64_t rows, int64_t in, int64_t out, int32_t dtype);

/* dx = dy weight, overwritten. */
rt_status rt_linear_backward_data(const void* dy, const float* weight, void* dx, int64_t rows, int64_t in,
                                  int64_t out, int32_t dtype);

/* dweight = dy^T x, overwritten. */
rt_status rt_linear_backward_weight(const void* x, const void* dy, float* dweight, int64_t rows, int64_t in,
                                    int64_t out, int32_t dtype);

/* dbias[o] = sum_r dy[r,o], overwritten. */
rt_status rt_linear_backward_bias(const void* dy, float* dbias, int64_t rows, int64_t out, int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
