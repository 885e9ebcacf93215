// scratch.h   working memory that a thread keeps from call to call, so that a training step allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace rt {

// Working memory of the calling thread, at least `floats` long and 64-byte aligned; contents are undefined. It is kept
// for the next call, so a training step allocates nothing once it has run; the next call by the same thread reuses it.
inline float* scratch(std::int64_t floats) {
  struct Deleter {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  thread_local std::unique_ptr<float[], Deleter> block;
  thread_local std::int64_t size = 0;
  if (floats > size) {
    block.reset();
    size = 0;
    block.reset(static_cast<float*>(::operator new[](static_cast<std::size_t>(floats) * 4, std::align_val_t{64})));
    size = floats;
  }
  return block.get();
}

}  // namespace rt
