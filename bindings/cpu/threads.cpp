// threads.cpp   one setting for our loops and for oneDNN: both run on the same OpenMP runtime.

#include <omp.h>

#include "cpu/error.h"
#include "cpu/registry.h"

rt_status rt_set_threads(int32_t threads) {
  return rt::guarded([&] {
    if (threads < 1) {
      rt::fail("set_threads: threads must be at least 1, got %d", threads);
    }
    omp_set_num_threads(threads);
  });
}
RT_EXPORT(rt_set_threads);

rt_status rt_threads(int32_t* threads) {
  return rt::guarded([&] { *threads = omp_get_max_threads(); });
}
RT_EXPORT(rt_threads);
