/* random.h   Philox4x32-10 numbers: element i of a stream depends on the key and i only.
 *
 * A key is seed (64 bits), tag (purpose and stream, 32 bits) and step (64 bits). Element i takes word i % 4 of the block
 * with key words (seed low, seed high) and counter (i / 4, tag, step low, step high); bindings/math/philox.h is the
 * definition. `first` is the index of the first element written, so that any part of a stream can be computed alone.
 */
#ifndef RETORT_RANDOM_H
#define RETORT_RANDOM_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out_i = mean + deviation z, z standard normal by Box-Muller on words (0,1) and (2,3) of a block */
rt_status rt_random_normal(float* out, int64_t n, double mean, double deviation, int64_t seed, int32_t tag,
                           int64_t step, int64_t first);

/* out_i = low + (high - low) u, u = (word >> 8) 2^-24 in [0, 1) */
rt_status rt_random_uniform(float* out, int64_t n, double low, double high, int64_t seed, int32_t tag, int64_t step,
                            int64_t first);

/* out_i = u_i < p ? 0 : x_i / (1 - p), u as above; 0 <= p < 1 */
rt_status rt_dropout(const void* x, void* out, int64_t n, double p, int64_t seed, int32_t tag, int64_t step,
                     int64_t first, int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
