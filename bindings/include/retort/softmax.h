/* softmax.h   softmax over the last axis, and the cross-entropy of class labels under it.
 *
 *   softmax        y[r,i] = exp(x[r,i] - m_r) / sum_j exp(x[r,j] - m_r),  m_r = max_j x[r,j]
 *                  dx[r,i] = y[r,i] (dy[r,i] - sum_j dy[r,j] y[r,j])
 *   cross-entropy  loss = 1/rows sum_r ( log sum_j exp(x[r,j]) - x[r,label_r] )
 *                  dx[r,i] = g / rows (softmax(x)[r,i] - [i = label_r]),  g the gradient of the loss
 *
 * x, y, dx, dy (rows, classes) have the type `dtype`; probabilities, loss and g are float32; classes >= 1, rows >= 1.
 */
#ifndef RETORT_SOFTMAX_H
#define RETORT_SOFTMAX_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

rt_status rt_softmax_forward(const void* x, void* y, int64_t rows, int64_t classes, int32_t dtype);

rt_status rt_softmax_backward(const void* y, const void* dy, void* dx, int64_t rows, int64_t classes, int32_t dtype);

/* Writes one `loss` and the (rows, classes) `probabilities` that the gradient needs; RT_INVALID if a label is not in
 * [0, classes). */
rt_status rt_cross_entropy_forward(const void* x, const int64_t* labels, float* loss, float* probabilities,
                                   int64_t rows, int64_t classes, int32_t dtype);

/* `gradient` points to the one g. */
rt_status rt_cross_entropy_backward(const float* probabilities, const int64_t* labels, const float* gradient,
                                    void* dx, int64_t rows, int64_t classes, int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
