/* base.h   what every function of the contract shares: status, element types, threads, signatures.
 *
 * Every operation is `rt_status rt_<name>(...)`, returns RT_OK or a reason, and leaves a sentence behind for
 * rt_last_error(). Sizes are int64_t counts of elements, images are (N, H, W, C), the caller owns all memory.
 * A `dtype` argument is the storage type of activations and of their gradients; parameters, statistics and
 * losses are always float32 and so is all arithmetic.
 */
#ifndef RETORT_BASE_H
#define RETORT_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t rt_status;

enum {
  RT_OK = 0,            /* done */
  RT_INVALID = 1,       /* an argument is out of range */
  RT_UNSUPPORTED = 2,   /* valid, but this library has no kernel for it */
  RT_OUT_OF_MEMORY = 3, /* scratch memory could not be had */
  RT_INTERNAL = 4       /* a library underneath failed */
};

enum {
  RT_F32 = 0, /* IEEE 754 binary32 */
  RT_BF16 = 1 /* upper half of a binary32, rounded to nearest even */
};

/* Why the last call of this thread that did not return RT_OK failed. Never NULL, valid until the next call. */
const char* rt_last_error(void);

/* One line "name:arguments" per operation, sorted by name: p pointer, l int64, i int32, f float, d double. */
const char* rt_signature_table(void);

/* The instruction set this library was compiled for: "avx512", "avx2" or "base". */
const char* rt_isa(void);

/* Sets how many threads a call may use, here and in oneDNN; at least 1. */
rt_status rt_set_threads(int32_t threads);

/* Writes how many threads a call from this thread may use. */
rt_status rt_threads(int32_t* threads);

#ifdef __cplusplus
}
#endif

#endif
