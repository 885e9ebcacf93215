// fault.cuh   how a kernel tells the host that a value in device memory is wrong, without the host waiting for it
//
// The report lies in pinned host memory that the device writes directly. It stays empty as long as nothing is wrong, which
// costs nothing; the host looks at it whenever it waits for the stream anyway (CudaFaults). The first report is kept.
#pragma once

#include "common/simt.cuh"

// What was wrong; the numbers of CudaFaults.Kind.
enum rt_fault_kind : int {
  RT_FAULT_LABEL = 1,  // of cross_entropy
  RT_FAULT_ID = 2,     // of lookup
};

// The same layout as CudaFaults reads.
struct rt_fault {
  int kind;  // 0: nothing was wrong
  std::int64_t place, value, limit;
};

// `value` at `place` should be in [0, limit).
__device__ __forceinline__ void rt_report(rt_fault* fault, rt_fault_kind kind, std::int64_t place, std::int64_t value,
                                          std::int64_t limit) {
  if (atomicCAS(&fault->kind, 0, static_cast<int>(kind)) == 0) {
    fault->place = place;
    fault->value = value;
    fault->limit = limit;
  }
}
