// rng.cuh   Philox4x32-10 on the device: the words of math/philox.h, four numbers of a stream at a time
//
// Element i of a stream is number i % 4 of block i / 4, so that any part of a stream can be computed alone and equals what
// the CPU and Java compute: the words bit by bit, normals within rounding of the square root and the polynomials.
#pragma once

#include "common/simt.cuh"
#include "math/philox.h"

// Elements 4 block .. 4 block + 3, standard normal.
__device__ __forceinline__ void rt_normals(const rt_philox_key& key, std::uint32_t block, float (&out)[4]) {
  const rt_philox_words w = rt_philox(key, block);
  const rt_pair low = rt_normal_pair(w.w0, w.w1);
  const rt_pair high = rt_normal_pair(w.w2, w.w3);
  out[0] = low.first;
  out[1] = low.second;
  out[2] = high.first;
  out[3] = high.second;
}

// Elements 4 block .. 4 block + 3, uniform in [0, 1).
__device__ __forceinline__ void rt_uniforms(const rt_philox_key& key, std::uint32_t block, float (&out)[4]) {
  const rt_philox_words w = rt_philox(key, block);
  out[0] = rt_uniform(w.w0);
  out[1] = rt_uniform(w.w1);
  out[2] = rt_uniform(w.w2);
  out[3] = rt_uniform(w.w3);
}
