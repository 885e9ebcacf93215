/* layout.h   moving elements without looking at them: sizes are bytes, any element type.
 *
 * Concatenation and slices along an axis see (outer, axis * inner) rows. Padding sees images (n, h, row), where a row of
 * pixels is contiguous; a slice along any axis is a crop with h = 1.
 */
#ifndef RETORT_LAYOUT_H
#define RETORT_LAYOUT_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Row r of `row` bytes goes from from + r from_stride to to + r to_stride; strides in bytes. */
rt_status rt_copy_rows(const void* from, void* to, int64_t rows, int64_t row, int64_t from_stride, int64_t to_stride);

/* x (n, h, row) into the middle of out (n, top + h + bottom, left + row + right), zero around it. */
rt_status rt_pad(const void* x, void* out, int64_t n, int64_t h, int64_t row, int64_t top, int64_t bottom, int64_t left,
                 int64_t right);

/* The middle (n, h, row) of x (n, top + h + bottom, left + row + right). */
rt_status rt_crop(const void* x, void* out, int64_t n, int64_t h, int64_t row, int64_t top, int64_t bottom, int64_t left,
                  int64_t right);

/* out[i0][i1][i2][i3][i4] = x[i0 s0 + ... + i4 s4]: extents e and strides s in elements of 2, 4 or 8 bytes; out is dense. */
rt_status rt_permute(const void* x, void* out, int32_t element_bytes, int64_t e0, int64_t e1, int64_t e2, int64_t e3,
                     int64_t e4, int64_t s0, int64_t s1, int64_t s2, int64_t s3, int64_t s4);

#ifdef __cplusplus
}
#endif

#endif
