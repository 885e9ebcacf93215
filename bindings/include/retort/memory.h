/* memory.h   raw blocks of host memory for the pool that sits above.
 *
 * Blocks start on 64 bytes; blocks of 2 MB or more start on 2 MB and ask the kernel for huge pages, because a
 * training step walks gigabytes and 4 KB pages cost it about a tenth of its time in address translation.
 * Contents are undefined until written.
 */
#ifndef RETORT_MEMORY_H
#define RETORT_MEMORY_H

#include "retort/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the address of a new block of `bytes` >= 1 bytes; RT_OUT_OF_MEMORY if the system has none. */
rt_status rt_memory_allocate(int64_t bytes, void** block);

/* Gives a block back to the system; `bytes` as it was allocated. */
rt_status rt_memory_free(void* block, int64_t bytes);

/* Sets every byte to the low 8 bits of `value`. */
rt_status rt_memory_fill(void* block, int32_t value, int64_t bytes);

/* Copies bytes; the ranges do not overlap. */
rt_status rt_memory_copy(const void* from, void* to, int64_t bytes);

/* Writes 1 if every byte equals the low 8 bits of `value`, else 0. */
rt_status rt_memory_holds(const void* block, int32_t value, int64_t bytes, int32_t* holds);

/* Writes the bytes of memory this process may use: the machine's, or its control group's limit if lower. */
rt_status rt_memory_physical(int64_t* bytes);

#ifdef __cplusplus
}
#endif

#endif
