// hd.h   marks scalar formulas that C++ and CUDA share, and reads the bits of a float on both.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define RT_HD __host__ __device__ __forceinline__
#else
#define RT_HD inline __attribute__((always_inline))
#endif

RT_HD std::uint32_t rt_bits(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  return __builtin_bit_cast(std::uint32_t, value);
#endif
}

RT_HD float rt_float(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  return __builtin_bit_cast(float, bits);
#endif
}
