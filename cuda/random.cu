// random.cu   out_i = g(number i of the key's stream)
// shapes    n elements, the first of them element `first` of the stream; step one int64 that replaces the key's, or null
// launch    any one-dimensional grid of 256 threads: threads stride over Philox blocks of 4 numbers, in dropout over packs
//           of 16 bytes
// numerics  words and uniforms are those of Java and of the CPU bit by bit; normals within 2e-6 of the float64 formula
// traffic   one write of 4 bytes, some 50 instructions an element for normals, 25 for uniforms: the 29 T instructions/s of
//           an H100 make 0.6 and 1.2 T numbers/s, so that arithmetic bounds normals, at 75-80% of 3.0 TB/s, and memory
//           uniforms; dropout reads and writes: memory-bound in float32, near balance in bfloat16
// measured  not measured yet
// spills    none
// limits    first + n <= 2^34, where the 32-bit block counter ends; pointers that are not 16-byte aligned and parts of a
//           stream that do not begin with a Philox block take element-wise accesses
// source    math/philox.h

#include "common/rng.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

// out_i = shift + scale number(first + i), four numbers of a Philox block at a time.
template <class Numbers>
__device__ __forceinline__ void fill(float* __restrict__ out, std::int64_t n, std::int64_t first, float shift, float scale,
                                     Numbers numbers) {
  const int skipped = static_cast<int>(first % 4);
  const bool packed = skipped == 0 && rt_aligned(out);
  const std::int64_t blocks = (skipped + n + 3) / 4;
  for (std::int64_t b = rt_global_thread(); b < blocks; b += rt_global_threads()) {
    float v[4];
    numbers(static_cast<std::uint32_t>(first / 4 + b), v);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      v[j] = shift + scale * v[j];
    }
    const std::int64_t i = 4 * b - skipped;
    if (packed && i + 4 <= n) {
      rt_store(out + i, v);
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        if (i + j >= 0 && i + j < n) {
          out[i + j] = v[j];
        }
      }
    }
  }
}

template <class T>
__device__ __forceinline__ void dropout(const T* __restrict__ x, T* __restrict__ out, std::int64_t n, float p, float scale,
                                        const rt_philox_key& key) {
  constexpr int N = RT_WIDTH<T>;
  const bool packed = rt_aligned(x, out);
  const std::int64_t packs = (n + N - 1) / N;
  for (std::int64_t pack = rt_global_thread(); pack < packs; pack += rt_global_threads()) {
    const std::int64_t i = pack * N;
    float u[N / 4][4];
#pragma unroll
    for (int b = 0; b < N / 4; b++) {
      rt_uniforms(key, static_cast<std::uint32_t>(i / 4 + b), u[b]);
    }
    if (packed && i + N <= n) {
      float v[N];
      rt_load(x + i, v);
#pragma unroll
      for (int j = 0; j < N; j++) {
        v[j] = u[j / 4][j % 4] < p ? 0.0f : v[j] * scale;
      }
      rt_store(out + i, v);
    } else {
#pragma unroll
      for (int j = 0; j < N; j++) {
        if (i + j < n) {
          rt_store(out + i + j, u[j / 4][j % 4] < p ? 0.0f : rt_load(x + i + j) * scale);
        }
      }
    }
  }
}

}  // namespace

RT_KERNEL(rt_random_normal,
          (float* __restrict__ out, std::int64_t n, float mean, float deviation, rt_philox_key key,
           const std::int64_t* __restrict__ step, std::int64_t first)) {
  const rt_philox_key now = rt_key_at(key, step);
  fill(out, n, first, mean, deviation, [&](std::uint32_t block, float(&v)[4]) { rt_normals(now, block, v); });
}

RT_KERNEL(rt_random_uniform,
          (float* __restrict__ out, std::int64_t n, float low, float range, rt_philox_key key,
           const std::int64_t* __restrict__ step, std::int64_t first)) {
  const rt_philox_key now = rt_key_at(key, step);
  fill(out, n, first, low, range, [&](std::uint32_t block, float(&v)[4]) { rt_uniforms(now, block, v); });
}

// scale is 1 / (1 - p)
RT_KERNEL(rt_dropout_f32, (const float* __restrict__ x, float* __restrict__ out, std::int64_t n, float p, float scale,
                           rt_philox_key key, const std::int64_t* __restrict__ step)) {
  dropout(x, out, n, p, scale, rt_key_at(key, step));
}

RT_KERNEL(rt_dropout_bf16, (const rt_bf16* __restrict__ x, rt_bf16* __restrict__ out, std::int64_t n, float p, float scale,
                            rt_philox_key key, const std::int64_t* __restrict__ step)) {
  dropout(x, out, n, p, scale, rt_key_at(key, step));
}
