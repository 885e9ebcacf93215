// simt.cuh   the language every kernel is written in, for nvcc and, through the emulator, for g++
//
// Kernels    RT_KERNEL(rt_name, (const float* __restrict__ x, float* __restrict__ y, std::int64_t n)) { ... }
//            extern "C", at most 256 threads a block; RT_KERNEL_BOUNDS(rt_name, 512, (...)) for another bound,
//            RT_KERNEL_OCCUPANCY(rt_name, 128, 3, (...)) to ask for at least 3 blocks on a multiprocessor as well
// Shared     RT_SHARED(float[32][33], tile);      static, 16-byte aligned, at most 48 KB a kernel
//            RT_DYNAMIC_SHARED(float, rows);      rows is a float*, 128-byte aligned, bytes given at launch
// Storage    float and rt_bf16; rt_load(p) gives a float, rt_store(p, value) rounds to nearest even
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_bf16.h>

#include <type_traits>

using rt_bf16 = __nv_bfloat16;

constexpr unsigned RT_FULL_WARP = 0xffffffffu;

#define RT_KERNEL_BOUNDS(name, most_threads, parameters) \
  extern "C" __global__ void __launch_bounds__(most_threads) name parameters

#define RT_KERNEL_OCCUPANCY(name, most_threads, least_blocks, parameters) \
  extern "C" __global__ void __launch_bounds__(most_threads, least_blocks) name parameters

#define RT_SHARED(type, name) __shared__ __align__(16) std::type_identity_t<type> name

#define RT_DYNAMIC_SHARED(type, name)                                  \
  extern __shared__ __align__(128) unsigned char rt_dynamic_shared[]; \
  type* const name = reinterpret_cast<type*>(rt_dynamic_shared)

#else

#include "emulator/simt.h"

#define RT_KERNEL_BOUNDS(name, most_threads, parameters) RT_KERNEL_OCCUPANCY(name, most_threads, 1, parameters)

#endif

#define RT_KERNEL(name, parameters) RT_KERNEL_BOUNDS(name, 256, parameters)

static_assert(sizeof(rt_bf16) == 2);

// --- where a thread is -------------------------------------------------------------------------------

__device__ __forceinline__ int rt_lane() { return static_cast<int>(threadIdx.x & 31u); }
__device__ __forceinline__ int rt_warp() { return static_cast<int>(threadIdx.x >> 5); }

// Index of the thread in the grid and threads of the grid, for one-dimensional launches of any size.
__device__ __forceinline__ std::int64_t rt_global_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::int64_t rt_global_threads() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

// --- bfloat16 ----------------------------------------------------------------------------------------

#if defined(__CUDACC__)

__device__ __forceinline__ float rt_to_float(rt_bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ rt_bf16 rt_to_bf16(float x) { return __float2bfloat16_rn(x); }

// Two neighbours in one register, the lower address in the lower half.
__device__ __forceinline__ std::uint32_t rt_pack_bf16(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

#else

inline float rt_to_float(rt_bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

// Ties to even; every NaN becomes 0x7fff, as cvt.rn.bf16 does it.
inline rt_bf16 rt_to_bf16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  return {static_cast<std::uint16_t>(x != x ? 0x7fffu : rounded)};
}

inline std::uint32_t rt_pack_bf16(float low, float high) {
  return rt_to_bf16(low).bits | static_cast<std::uint32_t>(rt_to_bf16(high).bits) << 16;
}

#endif

// The halves of a packed pair.
__device__ __forceinline__ float rt_low_bf16(std::uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float rt_high_bf16(std::uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// --- one element -------------------------------------------------------------------------------------

__device__ __forceinline__ float rt_load(const float* p) { return *p; }
__device__ __forceinline__ float rt_load(const rt_bf16* p) { return rt_to_float(*p); }
__device__ __forceinline__ void rt_store(float* p, float value) { *p = value; }
__device__ __forceinline__ void rt_store(rt_bf16* p, float value) { *p = rt_to_bf16(value); }

// `value` as it reads after being stored as a T.
template <class T>
__device__ __forceinline__ float rt_rounded(float value) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    return rt_to_float(rt_to_bf16(value));
  }
}

// --- maths -------------------------------------------------------------------------------------------

// 2^x within 2 ulp in one instruction; results below 2^-126 are 0.
__device__ __forceinline__ float rt_exp2(float x) {
#if defined(__CUDACC__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  const float y = std::exp2(x);
  return y < std::numeric_limits<float>::min() ? 0.0f : y;
#endif
}
