// simt.h   the CUDA dialect for a host compiler: every CUDA thread of a block is a fiber of one OS thread
//
// Included by common/simt.cuh when nvcc is not the compiler. It defines the part of CUDA C++ that kernels of this project
// may use; what is missing here is missing on purpose (inline PTX, textures, cooperative groups): put it behind an rt_*
// wrapper in common/. Threads switch only at barriers and warp collectives, in an order that RETORT_EMULATOR_SEED shuffles,
// so that an order the program merely hopes for does not stay.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <source_location>
#include <type_traits>
#include <utility>

#include "emulator/module.h"

// --- qualifiers -----------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __grid_constant__

// --- vector types, laid out and aligned as CUDA's ----------------------------------------------------

#define RT_VECTOR_TYPES(T, name, bytes2, bytes4) \
  struct name##1 {                               \
    T x;                                         \
  };                                             \
  struct alignas(bytes2) name##2 {               \
    T x, y;                                      \
  };                                             \
  struct name##3 {                               \
    T x, y, z;                                   \
  };                                             \
  struct alignas(bytes4) name##4 {               \
    T x, y, z, w;                                \
  };                                             \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }           \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }   \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

RT_VECTOR_TYPES(float, float, 8, 16)
RT_VECTOR_TYPES(int, int, 8, 16)
RT_VECTOR_TYPES(unsigned, uint, 8, 16)
RT_VECTOR_TYPES(unsigned short, ushort, 4, 8)
RT_VECTOR_TYPES(double, double, 16, 16)
RT_VECTOR_TYPES(long long, longlong, 16, 16)
#undef RT_VECTOR_TYPES

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// A bfloat16 as it lies in memory; common/simt.cuh converts it.
struct rt_bf16 {
  std::uint16_t bits;
};

// --- the running thread and its block ----------------------------------------------------------------

namespace rt::emulator {

struct Thread;

// What a thread of a kernel can see of where it is.
struct Place {
  uint3 thread;
  int lane, warp;
};

struct Block {
  uint3 index;
  dim3 size, grid;
  std::byte* dynamic_shared;
};

// One OS thread runs one block at a time, so these are plain globals of the module.
extern const Place* here;
extern Block block;

// Ends the kernel with an error; never returns to the calling fiber.
[[noreturn]] __attribute__((format(printf, 2, 3))) void fail(int error, const char* format, ...);

// The block's array `tag`, filled with NaN when a block first asks for it and guarded at both ends.
void* shared_array(const void* tag, const char* name, std::size_t bytes);

// Whether [p, p + bytes) lies in one of the block's shared arrays.
bool is_shared(const void* p, std::size_t bytes);

void barrier(std::source_location where);

// __syncthreads_count and its kin: how many threads of the block that arrive pass a true value.
int barrier_count(bool value, std::source_location where);

// The threads of a warp that meet in one collective: where each keeps what it brings and what it takes.
struct Meeting {
  unsigned mask;  // lanes that are there
  const void* in[kWarp];
  void* out[kWarp];
};

// Waits until every thread of `mask` that has not ended is here; the last to come runs complete once for all.
void meet(unsigned mask, const void* in, void* out, void (*complete)(const Meeting&), std::source_location where);

// A warp collective whose lanes bring an In and take an Out.
template <class In, class Out>
struct Lanes {
  const Meeting& meeting;
  bool has(int lane) const { return lane >= 0 && lane < kWarp && (meeting.mask >> lane & 1u) != 0; }
  const In& in(int lane) const { return *static_cast<const In*>(meeting.in[lane]); }
  Out& out(int lane) const { return *static_cast<Out*>(meeting.out[lane]); }
};

template <class In, class Out, class Complete>
Out collective(unsigned mask, const In& in, Complete, std::source_location where) {
  Out out;
  meet(mask, &in, &out, [](const Meeting& meeting) { Complete{}(Lanes<In, Out>{meeting}); }, where);
  return out;
}

// Copies that rt_cp_async_16 began: they land when the thread waits for them, and until then the target is NaN.
void copy_begin(void* shared, const void* global, std::size_t bytes, std::size_t valid);
void copy_commit();
void copy_wait(int groups_in_flight);

// Checks what the hardware checks of a vector access.
inline void check_aligned(const void* p, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0) {
    fail(kMisalignedAddress, "an access of %zu bytes to the address %p", bytes, p);
  }
}

// Registers a kernel and knows from its type how parameters lie in a launch's parameter block.
struct Registration {
  template <class... P>
  Registration(const char* name, void (*function)(P...), int most_threads) {
    static_assert((std::is_trivially_copyable_v<P> && ...), "kernel parameters are copied byte by byte");
    Kernel kernel{name, most_threads, {}, 0, reinterpret_cast<void (*)()>(function), nullptr};
    [[maybe_unused]] const auto place = [&kernel](std::size_t bytes, std::size_t alignment) {
      const std::size_t offset = (kernel.parameter_bytes + alignment - 1) / alignment * alignment;
      kernel.parameters.push_back({offset, bytes});
      kernel.parameter_bytes = offset + bytes;
    };
    (place(sizeof(P), alignof(P)), ...);
    kernel.invoke = [](void (*erased)(), void* const* parameters) {
      call(reinterpret_cast<void (*)(P...)>(erased), parameters, std::index_sequence_for<P...>{});
    };
    add(std::move(kernel));
  }

 private:
  template <class... P, std::size_t... I>
  static void call(void (*function)(P...), void* const* parameters, std::index_sequence<I...>) {
    function(*static_cast<const P*>(parameters[I])...);
  }
  static void add(Kernel&& kernel);
};

}  // namespace rt::emulator

#define threadIdx (::rt::emulator::here->thread)
#define blockIdx (::rt::emulator::block.index)
#define blockDim (::rt::emulator::block.size)
#define gridDim (::rt::emulator::block.grid)
constexpr int warpSize = 32;

// --- kernels and shared memory -----------------------------------------------------------------------

#define RT_KERNEL_OCCUPANCY(name, most_threads, least_blocks, parameters)                             \
  extern "C" void name parameters;                                                                    \
  namespace {                                                                                         \
  const ::rt::emulator::Registration name##_registration{#name, &name, most_threads};                 \
  }                                                                                                   \
  extern "C" void name parameters

#define RT_SHARED(type, name)                       \
  static const char name##_tag = 0;                 \
  auto& name = *static_cast<std::type_identity_t<type>*>( \
      ::rt::emulator::shared_array(&name##_tag, #name, sizeof(std::type_identity_t<type>)))

#define RT_DYNAMIC_SHARED(type, name) \
  type* const name = reinterpret_cast<type*>(::rt::emulator::block.dynamic_shared)

// --- barriers and fences -----------------------------------------------------------------------------

#define RT_HERE std::source_location where = std::source_location::current()

inline void __syncthreads(RT_HERE) { rt::emulator::barrier(where); }
inline int __syncthreads_count(int value, RT_HERE) { return rt::emulator::barrier_count(value != 0, where); }
inline int __syncthreads_or(int value, RT_HERE) { return rt::emulator::barrier_count(value != 0, where) != 0; }
inline int __syncthreads_and(int value, RT_HERE) { return rt::emulator::barrier_count(value == 0, where) == 0; }

inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_system() { std::atomic_thread_fence(std::memory_order_seq_cst); }

// --- warp collectives --------------------------------------------------------------------------------

constexpr unsigned RT_FULL_WARP = 0xffffffffu;

inline void __syncwarp(unsigned mask = RT_FULL_WARP, RT_HERE) {
  rt::emulator::collective<char, char>(mask, 0, [](const auto&) {}, where);
}

namespace rt::emulator {

template <class T>
concept Shuffled = std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8);

template <class T>
struct Request {
  T value;
  int source;  // lane whose value is wanted
};

// A lane that asks for one that is not there gets bytes of ones, a NaN, where the hardware gives anything.
template <Shuffled T>
T shuffle(unsigned mask, T value, int source, std::source_location where) {
  return collective<Request<T>, T>(
      mask, Request<T>{value, source},
      [](const Lanes<Request<T>, T>& lanes) {
        for (int lane = 0; lane < kWarp; lane++) {
          if (lanes.has(lane)) {
            const int from = lanes.in(lane).source;
            std::memset(&lanes.out(lane), 0xff, sizeof(T));
            if (lanes.has(from)) {
              lanes.out(lane) = lanes.in(from).value;
            }
          }
        }
      },
      where);
}

// The lanes of `mask` that bring true, and all that are there.
struct Vote {
  unsigned yes, present;
};

inline Vote vote(unsigned mask, bool value, std::source_location where) {
  return collective<bool, Vote>(
      mask, value,
      [](const Lanes<bool, Vote>& lanes) {
        unsigned yes = 0;
        for (int lane = 0; lane < kWarp; lane++) {
          yes |= lanes.has(lane) && lanes.in(lane) ? 1u << lane : 0u;
        }
        for (int lane = 0; lane < kWarp; lane++) {
          if (lanes.has(lane)) {
            lanes.out(lane) = {yes, lanes.meeting.mask};
          }
        }
      },
      where);
}

}  // namespace rt::emulator

// Lanes are counted from the start of the caller's part of `width` lanes; a source outside it gives the caller's own value.
template <rt::emulator::Shuffled T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, RT_HERE) {
  const int first = rt::emulator::here->lane & ~(width - 1);
  return rt::emulator::shuffle(mask, value, first + (source & (width - 1)), where);
}

template <rt::emulator::Shuffled T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, RT_HERE) {
  const int lane = rt::emulator::here->lane;
  const bool inside = static_cast<unsigned>(lane & (width - 1)) >= delta;
  return rt::emulator::shuffle(mask, value, inside ? lane - static_cast<int>(delta) : lane, where);
}

template <rt::emulator::Shuffled T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, RT_HERE) {
  const int lane = rt::emulator::here->lane;
  const bool inside = static_cast<unsigned>(lane & (width - 1)) + delta < static_cast<unsigned>(width);
  return rt::emulator::shuffle(mask, value, inside ? lane + static_cast<int>(delta) : lane, where);
}

template <rt::emulator::Shuffled T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize, RT_HERE) {
  const int lane = rt::emulator::here->lane;
  const int source = lane ^ bits;
  const bool inside = source < (lane & ~(width - 1)) + width;
  return rt::emulator::shuffle(mask, value, inside ? source : lane, where);
}

inline unsigned __ballot_sync(unsigned mask, int value, RT_HERE) { return rt::emulator::vote(mask, value != 0, where).yes; }
inline int __any_sync(unsigned mask, int value, RT_HERE) { return rt::emulator::vote(mask, value != 0, where).yes != 0; }
inline int __all_sync(unsigned mask, int value, RT_HERE) {
  const rt::emulator::Vote vote = rt::emulator::vote(mask, value != 0, where);
  return vote.yes == vote.present;
}

#undef RT_HERE

// --- atomics: they return the value before -----------------------------------------------------------

namespace rt::emulator {

template <class T, class Change>
T exchange_with(T* p, Change change) {
  std::atomic_ref<T> cell(*p);
  T before = cell.load();
  while (!cell.compare_exchange_weak(before, change(before))) {
  }
  return before;
}

}  // namespace rt::emulator

template <class T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
  return rt::emulator::exchange_with(p, [value](T before) { return static_cast<T>(before + value); });
}
template <class T>
T atomicSub(T* p, std::type_identity_t<T> value) {
  return rt::emulator::exchange_with(p, [value](T before) { return static_cast<T>(before - value); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> value) {
  return rt::emulator::exchange_with(p, [value](T before) { return std::max(before, value); });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> value) {
  return rt::emulator::exchange_with(p, [value](T before) { return std::min(before, value); });
}
template <class T>
T atomicAnd(T* p, std::type_identity_t<T> value) {
  return rt::emulator::exchange_with(p, [value](T before) { return before & value; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> value) {
  return rt::emulator::exchange_with(p, [value](T before) { return before | value; });
}
template <class T>
T atomicXor(T* p, std::type_identity_t<T> value) {
  return rt::emulator::exchange_with(p, [value](T before) { return before ^ value; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> value) {
  return rt::emulator::exchange_with(p, [value](T) { return value; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return rt::emulator::exchange_with(p, [=](T before) { return before == expected ? value : before; });
}
// Counts to `last`, then starts again at 0.
inline unsigned atomicInc(unsigned* p, unsigned last) {
  return rt::emulator::exchange_with(p, [last](unsigned before) { return before >= last ? 0u : before + 1u; });
}

// --- memory and bits ---------------------------------------------------------------------------------

template <class T>
T __ldg(const T* p) {
  return *p;
}

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<std::uint64_t>(a) * b >> 32); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; bit++) {
    reversed |= (x >> bit & 1u) << (31 - bit);
  }
  return reversed;
}

// --- maths: <cmath> has the C names; these are CUDA's own ------------------------------------------------

using std::isfinite;
using std::isinf;
using std::isnan;
using std::max;
using std::min;

// Names that newer C libraries have too, with another linkage.
#define rsqrtf rt_emulated_rsqrtf
#define exp10f rt_emulated_exp10f
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float exp10f(float x) { return std::pow(10.0f, x); }
inline void sincospif(float x, float* sine, float* cosine) {
  const double angle = 3.14159265358979323846 * static_cast<double>(x);
  *sine = static_cast<float>(std::sin(angle));
  *cosine = static_cast<float>(std::cos(angle));
}
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __saturatef(float x) { return x > 0.0f ? std::min(x, 1.0f) : 0.0f; }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __float2int_rd(float x) { return static_cast<int>(std::floor(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
// Results that the compiler must not fuse into a multiply-add.
__attribute__((noinline)) inline float __fmul_rn(float x, float y) { return x * y; }
__attribute__((noinline)) inline float __fadd_rn(float x, float y) { return x + y; }
