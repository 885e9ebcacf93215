// reduce.cuh   sums and maxima over a warp or a block, in an order that depends on the block's size only
//
// Every thread of the warp or block must call, with blockDim.x a multiple of 32 and blockDim.y = blockDim.z = 1; every
// thread gets the result. A block reduction has two barriers and may directly follow another.
#pragma once

#include "common/simt.cuh"

struct rt_plus {
  static constexpr float identity = 0.0f;
  __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};

// The larger; a NaN on either side stays.
struct rt_larger {
  static constexpr float identity = -3.402823466e38f;
  __device__ __forceinline__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

// Over groups of `Width` lanes, a power of two; a butterfly, so that all lanes end with the same bits.
template <int Width = 32, class Combine>
__device__ __forceinline__ float rt_warp_reduce(float value, Combine combine) {
#pragma unroll
  for (int distance = Width / 2; distance > 0; distance /= 2) {
    value = combine(value, __shfl_xor_sync(RT_FULL_WARP, value, distance));
  }
  return value;
}

template <int Width = 32>
__device__ __forceinline__ float rt_warp_sum(float value) {
  return rt_warp_reduce<Width>(value, rt_plus{});
}

template <int Width = 32>
__device__ __forceinline__ float rt_warp_max(float value) {
  return rt_warp_reduce<Width>(value, rt_larger{});
}

// N values side by side for the price of one pair of barriers.
template <int N, class Combine>
__device__ __forceinline__ void rt_block_reduce(float (&values)[N], Combine combine) {
  RT_SHARED(float[N][32], partial);
  const int warps = static_cast<int>(blockDim.x >> 5);
#pragma unroll
  for (int i = 0; i < N; i++) {
    values[i] = rt_warp_reduce(values[i], combine);
  }
  __syncthreads();  // the reduction before this one has been read
  if (rt_lane() == 0) {
#pragma unroll
    for (int i = 0; i < N; i++) {
      partial[i][rt_warp()] = values[i];
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; i++) {
    values[i] = rt_warp_reduce(rt_lane() < warps ? partial[i][rt_lane()] : Combine::identity, combine);
  }
}

__device__ __forceinline__ float rt_block_sum(float value) {
  float values[1] = {value};
  rt_block_reduce(values, rt_plus{});
  return values[0];
}

__device__ __forceinline__ float rt_block_max(float value) {
  float values[1] = {value};
  rt_block_reduce(values, rt_larger{});
  return values[0];
}
