// cublas.cpp   libcublas.so.12: the functions of cuBLAS that Retort calls through JCuda
//
// JCuda's native library refers to some 490 more; they are bound at their first call, which nobody makes.
#include <cstddef>
#include <mutex>
#include <unordered_set>

#include "emulator/cublas/product.h"

namespace rt::cublas {

namespace {

struct Context {
  void* stream = nullptr;
};

std::mutex mutex;
std::unordered_set<Context*> live;

Context* find(void* handle) {
  const std::lock_guard lock(mutex);
  const auto found = live.find(static_cast<Context*>(handle));
  return found == live.end() ? nullptr : *found;
}

}  // namespace

}  // namespace rt::cublas

using namespace rt::cublas;

RT_CUBLAS Status cublasCreate_v2(Context** handle) {
  if (handle == nullptr) {
    return kInvalidValue;
  }
  const std::lock_guard lock(mutex);
  *handle = new Context();
  live.insert(*handle);
  return kSuccess;
}

RT_CUBLAS Status cublasDestroy_v2(void* handle) {
  Context* const found = find(handle);
  if (found == nullptr) {
    return kNotInitialized;
  }
  const std::lock_guard lock(mutex);
  live.erase(found);
  delete found;
  return kSuccess;
}

RT_CUBLAS Status cublasGetVersion_v2(void*, int* version) {
  *version = 120600;
  return kSuccess;
}

RT_CUBLAS Status cublasSetStream_v2(void* handle, void* stream) {
  Context* const found = find(handle);
  if (found == nullptr) {
    return kNotInitialized;
  }
  found->stream = stream;
  return kSuccess;
}

RT_CUBLAS Status cublasSetWorkspace_v2(void* handle, void* workspace, std::size_t) {
  if (find(handle) == nullptr) {
    return kNotInitialized;
  }
  return reinterpret_cast<std::uintptr_t>(workspace) % 256 == 0 ? kSuccess : kInvalidValue;
}

RT_CUBLAS Status cublasGemmStridedBatchedEx(void* handle, int transpose_a, int transpose_b, int m, int n, int k,
                                            const void* alpha, const void* a, int a_type, int a_ld, long long a_stride,
                                            const void* b, int b_type, int b_ld, long long b_stride, const void* beta,
                                            void* d, int d_type, int d_ld, long long d_stride, int count, int compute,
                                            int) {
  const Context* const found = find(handle);
  if (found == nullptr) {
    return kNotInitialized;
  }
  if (compute != kComputeFloat || *static_cast<const float*>(alpha) != 1 || *static_cast<const float*>(beta) != 0) {
    return kNotSupported;
  }
  const auto matrix = [](const void* address, int type, int rows, int columns, int ld, long long stride) {
    return Matrix{reinterpret_cast<std::uint64_t>(address), type, rows, columns, ld, stride};
  };
  const bool ta = transpose_a == kTransposed;
  const bool tb = transpose_b == kTransposed;
  return enqueue({matrix(a, a_type, ta ? k : m, ta ? m : k, a_ld, a_stride),
                  matrix(b, b_type, tb ? n : k, tb ? k : n, b_ld, b_stride), matrix(d, d_type, m, n, d_ld, d_stride), ta,
                  tb, count, 0},
                 found->stream);
}
