// threads.h   limits the team of one call.
#pragma once

#include <omp.h>

namespace rt {

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

}  // namespace rt
