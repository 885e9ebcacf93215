/* attention.h   multi-head attention, forward and backward, without the matrix of scores.
 *
 *   s[i,j] = q[i] . k[j] / sqrt(d)      p[i,j] = exp(s[i,j] - lse[i])      lse[i] = ln sum_j exp(s[i,j])
 *   out[i] = sum_j p[i,j] v[j]
 * backward, with D[i] = dout[i] . out[i] and ds[i,j] = p[i,j] (dout[i] . v[j] - D[i]):
 *   dq[i] = sum_j ds[i,j] k[j] / sqrt(d)   dk[j] = sum_i ds[i,j] q[i] / sqrt(d)   dv[j] = sum_i p[i,j] dout[i]
 *
 * shapes  q (n, tq, heads, d)   k, v (n, tk, heads, d)   out, dout (n, tq, heads, d) dense   lse (n, heads, tq) float32
 *         Tokens of q are `q_row` elements apart, tokens of k and v `kv_row`; samples are tq * q_row and tk * kv_row
 *         apart; a head's d channels are dense. dq, dk, dv lie as q, k, v do. So q, k, v may be three blocks of one
 *         packed tensor (n, t, 3 * heads * d): q_row = kv_row = 3 * heads * d, and k, v start heads * d and
 *         2 * heads * d elements after q.
 * types   everything but lse has the storage type `dtype`; scores, softmax and sums are float32. Where the machine
 *         multiplies bfloat16, p and ds of bfloat16 tensors are rounded to it before they are multiplied: an error of
 *         up to 2^-8 of each, as Dao 2023 has it
 * limits  n >= 0; tq, tk, heads, d >= 1
 * Source: Vaswani et al. 2017, eq. 1; online softmax and backward: Dao et al. 2022, algorithms 1 and 4; Dao 2023.
 */
#ifndef RETORT_ATTENTION_H
#define RETORT_ATTENTION_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

rt_status rt_attention_forward(const void* q, const void* k, const void* v, void* out, float* lse, int64_t n,
                               int64_t heads, int64_t tq, int64_t tk, int64_t d, int64_t q_row, int64_t kv_row,
                               int32_t dtype);

/* `out` and `lse` as the forward pass wrote them. dq, dk and dv are overwritten; each may be NULL if not wanted. */
rt_status rt_attention_backward(const void* q, const void* k, const void* v, const void* out, const float* lse,
                                const void* dout, void* dq, void* dk, void* dv, int64_t n, int64_t heads, int64_t tq,
                                int64_t tk, int64_t d, int64_t q_row, int64_t kv_row, int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
