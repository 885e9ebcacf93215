// vec.cuh   several neighbouring elements at once: global and shared memory move fastest in 16-byte accesses
//
// rt_load<N>(p, v) and rt_store<N>(p, v) move N elements between memory and floats in registers; N must be 1, or N elements
// 4, 8 or a multiple of 16 bytes and p aligned to their size or to 16. rt_aligned(p, ...) says whether pointers are.
#pragma once

#include "common/simt.cuh"

// Elements of T in one 16-byte access.
template <class T>
constexpr int RT_WIDTH = 16 / static_cast<int>(sizeof(T));

// The register type of an access of 4, 8 or 16 bytes.
template <int Bytes>
struct rt_words;
template <>
struct rt_words<4> {
  using type = unsigned;
};
template <>
struct rt_words<8> {
  using type = uint2;
};
template <>
struct rt_words<16> {
  using type = uint4;
};

// N elements as raw words; the unit is the largest access that fits.
template <class T, int N>
struct rt_pack {
  static constexpr int bytes = N * static_cast<int>(sizeof(T));
  static constexpr int unit = bytes < 16 ? bytes : 16;
  static_assert(bytes % unit == 0 && unit >= 4, "N elements must be 4, 8 or a multiple of 16 bytes");
  using access = typename rt_words<unit>::type;
  union {
    access words[bytes / unit];
    std::uint32_t bits[bytes / 4];
  };
};

// Copies N elements without converting them.
template <int N, class T>
__device__ __forceinline__ rt_pack<T, N> rt_load_raw(const T* p) {
  using Pack = rt_pack<T, N>;
#if !defined(__CUDACC__)
  rt::emulator::check_aligned(p, Pack::unit);
#endif
  Pack pack;
#pragma unroll
  for (int i = 0; i < Pack::bytes / Pack::unit; i++) {
    pack.words[i] = reinterpret_cast<const typename Pack::access*>(p)[i];
  }
  return pack;
}

template <int N, class T>
__device__ __forceinline__ void rt_store_raw(T* p, const rt_pack<T, N>& pack) {
  using Pack = rt_pack<T, N>;
#if !defined(__CUDACC__)
  rt::emulator::check_aligned(p, Pack::unit);
#endif
#pragma unroll
  for (int i = 0; i < Pack::bytes / Pack::unit; i++) {
    reinterpret_cast<typename Pack::access*>(p)[i] = pack.words[i];
  }
}

template <int N, class T>
__device__ __forceinline__ void rt_load(const T* p, float (&v)[N]) {
  if constexpr (N == 1) {
    v[0] = rt_load(p);
  } else {
    const rt_pack<T, N> pack = rt_load_raw<N>(p);
#pragma unroll
    for (int i = 0; i < N; i++) {
      if constexpr (std::is_same_v<T, float>) {
        v[i] = __uint_as_float(pack.bits[i]);
      } else {
        v[i] = i % 2 == 0 ? rt_low_bf16(pack.bits[i / 2]) : rt_high_bf16(pack.bits[i / 2]);
      }
    }
  }
}

template <int N, class T>
__device__ __forceinline__ void rt_store(T* p, const float (&v)[N]) {
  if constexpr (N == 1) {
    rt_store(p, v[0]);
  } else {
    rt_pack<T, N> pack;
    if constexpr (std::is_same_v<T, float>) {
#pragma unroll
      for (int i = 0; i < N; i++) {
        pack.bits[i] = __float_as_uint(v[i]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < N; i += 2) {
        pack.bits[i / 2] = rt_pack_bf16(v[i], v[i + 1]);
      }
    }
    rt_store_raw<N>(p, pack);
  }
}

// Whether every pointer may be accessed 16 bytes at a time.
template <class... T>
__device__ __forceinline__ bool rt_aligned(const T*... p) {
  return ((reinterpret_cast<std::uintptr_t>(p) | ...) & 15u) == 0;
}
