// last_block.cuh   the block that comes last adds up what all blocks have left in global memory: a second launch saved
//
// `counter` is zero before the launch and again after it. What a block writes before the call, the block that gets true
// reads after it, with plain loads through pointers that are neither const nor __restrict__ (those may be cached). All
// threads of a block must call. The sums do not depend on which block is last if that block adds in a fixed order.
#pragma once

#include "common/simt.cuh"

// Whether `blocks` - 1 others have come here before this one.
__device__ __forceinline__ bool rt_last_block(unsigned* counter, unsigned blocks) {
  RT_SHARED(unsigned, before);
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    before = atomicInc(counter, blocks - 1);
    __threadfence();
  }
  __syncthreads();
  return before == blocks - 1;
}
