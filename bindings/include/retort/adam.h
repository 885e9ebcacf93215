/* adam.h   one optimizer step over a whole network: norm, clip, Adam or AdamW, and an averaged copy.
 *
 * All arenas are flat float32 of n elements (every parameter of a network in one piece; padding is zero and stays so).
 *   norm  = sqrt(sum g^2)                                  over the whole arena
 *   g'    = g * min(1, clip / norm)                        if clip > 0
 *   m     = beta1 m + (1 - beta1) g'       v = beta2 v + (1 - beta2) g'^2
 *   value = value (1 - lr decay) - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
 *   ema   = ema + (1 - ema_decay) (value - ema)            if ema is not null
 * Source: Kingma & Ba 2015, algorithm 1; decoupled decay: Loshchilov & Hutter 2019, algorithm 2.
 */
#ifndef RETORT_ADAM_H
#define RETORT_ADAM_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `step` is t, counted from 1. `norm` receives the gradient norm before clipping; if it is not finite nothing is
 * updated and RT_OK is returned, so that the caller can say which term went wrong. */
rt_status rt_adam_step(float* value, const float* gradient, float* m, float* v, float* ema, int64_t n,
                       int64_t step, double lr, double beta1, double beta2, double eps, double decay,
                       double clip, double ema_decay, double* norm);

#ifdef __cplusplus
}
#endif

#endif
