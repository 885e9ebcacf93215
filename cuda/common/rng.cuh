// rng.cuh   Philox4x32-10 on the device: the words of math/philox.h, four numbers of a stream at a time
//
// Element i of a stream is number i % 4 of block i / 4, so that any part of a stream can be computed alone and equals what
// the CPU and Java compute: the words bit by bit, normals within rounding of the square root and the polynomials.
#pragma once

#include "common/simt.cuh"
#include "math/philox.h"

// The key at the step that lies at `step`, at its own if that is null: a captured launch keeps its arguments, and the step
// goes on in device memory.
__device__ __forceinline__ rt_philox_key rt_key_at(rt_philox_key key, const std::int64_t* __restrict__ step) {
  if (step != nullptr) {
    const auto now = static_cast<std::uint64_t>(*step);
    key.step_low = static_cast<std::uint32_t>(now);
    key.step_high = static_cast<std::uint32_t>(now >> 32);
  }
  return key;
}

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
