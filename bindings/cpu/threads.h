// threads.h   how many threads a call uses, and failures inside a parallel region.
#pragma once

#include <omp.h>

#include <cstdint>
#include <exception>

namespace rt {

// Threads that a parallel region opened here would get.
inline int team_size() { return omp_in_parallel() != 0 ? 1 : omp_get_max_threads(); }

// While it lives, this thread's parallel regions (ours and oneDNN's) use `threads` threads; 0 changes nothing.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads) : before_(threads > 0 ? omp_get_max_threads() : 0) {
    if (before_ > 0) {
      omp_set_num_threads(threads);
    }
  }
  ~ThreadLimit() {
    if (before_ > 0) {
      omp_set_num_threads(before_);
    }
  }
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int before_;
};

// Calls body(0) ... body(tasks - 1) on up to `threads` threads, each task on the next free one; the first exception is
// thrown after all have ended.
template <class Body>
void parallel(int threads, std::int64_t tasks, Body&& body) {
  std::exception_ptr failure;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
  for (std::int64_t task = 0; task < tasks; ++task) {
    try {
      body(task);
    } catch (...) {
#pragma omp critical(rt_parallel_failure)
      if (failure == nullptr) {
        failure = std::current_exception();
      }
    }
  }
  if (failure != nullptr) {
    std::rethrow_exception(failure);
  }
}

}  // namespace rt
