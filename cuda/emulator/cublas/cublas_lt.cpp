// cublas_lt.cpp   libcublasLt.so.13: the functions of cuBLASLt that Retort calls, with the checks that the real one makes
//
// Descriptors know only what is set; an attribute that is not listed here is refused, so that Java cannot set one in vain.
// Numbers and layouts are those of CUDA 12 and 13.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <unordered_set>

#include "emulator/cublas/product.h"

namespace rt::cublas {

namespace {

// Objects begin with what they are, and are known as long as they live: a handle of another kind, or a stale one, is found.
struct Object {
  enum class Kind { handle, product, layout, preference } kind;
};

struct Handle : Object {
  Handle() : Object{Kind::handle} {}
};

struct Descriptor : Object {  // cublasLtMatmulDesc_t
  Descriptor() : Object{Kind::product} {}
  int compute = 0, scale = 0;
  int transpose_a = kNormal, transpose_b = kNormal;
  std::uint32_t epilogue = 1;
  std::uint64_t bias = 0;
};

struct Layout : Object {
  Layout() : Object{Kind::layout} {}
  int type = 0;
  std::uint64_t rows = 0, columns = 0;
  std::int64_t ld = 0;
  std::int32_t count = 1;
  std::int64_t stride = 0;
};

struct Preference : Object {
  Preference() : Object{Kind::preference} {}
  std::uint64_t workspace = 0;
  std::uint32_t alignment[4] = {256, 256, 256, 256};
};

// What a heuristic answers; the algorithm notes what it was made for.
struct Algorithm {
  std::uint64_t name, alignment, reserved[6];
};
static_assert(sizeof(Algorithm) == 64);

struct Heuristic {
  Algorithm algorithm;
  std::size_t workspace;
  Status state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Heuristic) == 96);

constexpr std::uint64_t kAlgorithm = 0x72742d67656d6d;
constexpr std::size_t kWorkspace = 1 << 12;  // that the one algorithm asks for
constexpr std::uint32_t kDefault = 1, kBias = 4;  // cublasLtEpilogue_t

std::mutex mutex;
std::unordered_set<const Object*> live;
std::size_t version = 130000;

template <class T>
Status make(T** out, T object) {
  if (out == nullptr) {
    return kInvalidValue;
  }
  const std::lock_guard lock(mutex);
  *out = new T(object);
  live.insert(*out);
  return kSuccess;
}

template <class T>
T* find(const void* pointer) {
  const std::lock_guard lock(mutex);
  const auto* const object = static_cast<const Object*>(pointer);
  return live.contains(object) && object->kind == T().kind ? static_cast<T*>(const_cast<Object*>(object)) : nullptr;
}

template <class T>
Status destroy(void* pointer, Status unknown) {
  T* const object = find<T>(pointer);
  if (object == nullptr) {
    return unknown;
  }
  const std::lock_guard lock(mutex);
  live.erase(object);
  delete object;
  return kSuccess;
}

template <class V>
Status set(V& field, const void* value, std::size_t bytes) {
  if (value == nullptr || bytes != sizeof field) {
    return kInvalidValue;
  }
  std::memcpy(&field, value, sizeof field);
  return kSuccess;
}

Matrix matrix(const void* address, const Layout& layout) {
  return {reinterpret_cast<std::uint64_t>(address), layout.type, static_cast<std::int64_t>(layout.rows),
          static_cast<std::int64_t>(layout.columns), layout.ld, layout.stride};
}

bool supported(const Descriptor& d) {
  return d.compute == kComputeFloat && d.scale == kFloat && (d.epilogue == kDefault || d.epilogue == kBias);
}

}  // namespace

}  // namespace rt::cublas

using namespace rt::cublas;

// For tests of programs that meet a library they do not know.
RT_CUBLAS void rt_cublas_set_version(std::size_t value) { version = value; }

// How many handles and descriptors there are.
RT_CUBLAS std::size_t rt_cublas_live() {
  const std::lock_guard lock(mutex);
  return live.size();
}

RT_CUBLAS std::size_t cublasLtGetVersion() { return version; }

RT_CUBLAS Status cublasLtCreate(Handle** handle) { return make(handle, Handle()); }
RT_CUBLAS Status cublasLtDestroy(void* handle) { return destroy<Handle>(handle, kNotInitialized); }

RT_CUBLAS Status cublasLtMatrixLayoutCreate(Layout** layout, int type, std::uint64_t rows, std::uint64_t columns,
                                            std::int64_t ld) {
  Layout made;
  made.type = type;
  made.rows = rows;
  made.columns = columns;
  made.ld = ld;
  return make(layout, made);
}
RT_CUBLAS Status cublasLtMatrixLayoutDestroy(void* layout) { return destroy<Layout>(layout, kInvalidValue); }

RT_CUBLAS Status cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* value, std::size_t bytes) {
  Layout* const found = find<Layout>(layout);
  if (found == nullptr) {
    return kInvalidValue;
  }
  switch (attribute) {
    case 5: return set(found->count, value, bytes);   // BATCH_COUNT
    case 6: return set(found->stride, value, bytes);  // STRIDED_BATCH_OFFSET
    default: return kInvalidValue;
  }
}

RT_CUBLAS Status cublasLtMatmulDescCreate(Descriptor** descriptor, int compute, int scale) {
  Descriptor made;
  made.compute = compute;
  made.scale = scale;
  return make(descriptor, made);
}
RT_CUBLAS Status cublasLtMatmulDescDestroy(void* descriptor) { return destroy<Descriptor>(descriptor, kInvalidValue); }

RT_CUBLAS Status cublasLtMatmulDescSetAttribute(void* descriptor, int attribute, const void* value, std::size_t bytes) {
  Descriptor* const found = find<Descriptor>(descriptor);
  if (found == nullptr) {
    return kInvalidValue;
  }
  switch (attribute) {
    case 3: return set(found->transpose_a, value, bytes);  // TRANSA
    case 4: return set(found->transpose_b, value, bytes);  // TRANSB
    case 7: return set(found->epilogue, value, bytes);     // EPILOGUE
    case 8: return set(found->bias, value, bytes);         // BIAS_POINTER
    default: return kInvalidValue;
  }
}

RT_CUBLAS Status cublasLtMatmulPreferenceCreate(Preference** preference) { return make(preference, Preference()); }
RT_CUBLAS Status cublasLtMatmulPreferenceDestroy(void* preference) {
  return destroy<Preference>(preference, kInvalidValue);
}

RT_CUBLAS Status cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value,
                                                      std::size_t bytes) {
  Preference* const found = find<Preference>(preference);
  if (found == nullptr) {
    return kInvalidValue;
  }
  if (attribute >= 5 && attribute <= 8) {  // MIN_ALIGNMENT_{A,B,C,D}_BYTES
    return set(found->alignment[attribute - 5], value, bytes);
  }
  return attribute == 1 ? set(found->workspace, value, bytes) : kInvalidValue;  // MAX_WORKSPACE_BYTES
}

RT_CUBLAS Status cublasLtMatmulAlgoGetHeuristic(void* handle, void* descriptor, void* a, void* b, void* c, void* d,
                                                void* preference, int wanted, Heuristic* results, int* count) {
  if (find<Handle>(handle) == nullptr) {
    return kNotInitialized;
  }
  const Descriptor* const found = find<Descriptor>(descriptor);
  const Preference* const preferred = find<Preference>(preference);
  if (found == nullptr || preferred == nullptr || find<Layout>(a) == nullptr || find<Layout>(b) == nullptr ||
      find<Layout>(c) == nullptr || find<Layout>(d) == nullptr || wanted < 1 || results == nullptr || count == nullptr) {
    return kInvalidValue;
  }
  *count = 0;
  if (!supported(*found) || preferred->workspace < kWorkspace) {
    return kNotSupported;
  }
  const auto* const alignment = preferred->alignment;
  results[0] = {{kAlgorithm, *std::min_element(alignment, alignment + 4), {}}, kWorkspace, kSuccess, 1, {}};
  *count = 1;
  return kSuccess;
}

RT_CUBLAS Status cublasLtMatmul(void* handle, void* descriptor, const float* alpha, const void* a, void* a_layout,
                                const void* b, void* b_layout, const float* beta, const void* c, void* c_layout, void* d,
                                void* d_layout, const Algorithm* algorithm, void* workspace, std::size_t bytes,
                                void* stream) {
  if (find<Handle>(handle) == nullptr) {
    return kNotInitialized;
  }
  const Descriptor* const found = find<Descriptor>(descriptor);
  const Layout* const layouts[] = {find<Layout>(a_layout), find<Layout>(b_layout), find<Layout>(c_layout),
                                   find<Layout>(d_layout)};
  if (found == nullptr || std::find(layouts, layouts + 4, nullptr) != layouts + 4 || algorithm == nullptr ||
      algorithm->name != kAlgorithm || bytes < kWorkspace || workspace == nullptr || alpha == nullptr ||
      beta == nullptr || c != d || !supported(*found) ||
      std::any_of(layouts, layouts + 4, [&](const Layout* each) { return each->count != layouts[3]->count; })) {
    return kInvalidValue;
  }
  for (const void* const pointer : {a, b, static_cast<const void*>(d)}) {
    if (reinterpret_cast<std::uint64_t>(pointer) % algorithm->alignment != 0) {
      return kInvalidValue;
    }
  }
  if (*alpha != 1 || *beta != 0) {
    return kNotSupported;
  }
  return enqueue({matrix(a, *layouts[0]), matrix(b, *layouts[1]), matrix(d, *layouts[3]),
                  found->transpose_a == kTransposed, found->transpose_b == kTransposed, layouts[3]->count,
                  found->epilogue == kBias ? found->bias : 0},
                 stream);
}
