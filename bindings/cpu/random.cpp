// random.cpp   out_i = g(word i of the key's stream)
// shapes    n elements, the first of them element `first` of the stream
// numerics  words are exact; normals within 2e-6 of the float64 formula (math/philox.h)
// traffic   one write (dropout: one read and one write) and about 40 integer operations an element: compute-bound
// measured  0.79 M numbers, two threads of a Zen 4 beside other work, in the same run in brackets without philox_vec.h:
//           normals 1.8 G/s (1.2), uniforms 3.0 G/s (1.8)
// limits    first + n <= 2^34, where the 32-bit block counter ends

#include "retort/random.h"

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/philox_vec.h"
#include "cpu/registry.h"

rt_status rt_random_normal(float* out, int64_t n, double mean, double deviation, int64_t seed, int32_t tag,
                           int64_t step, int64_t first) {
  return rt::guarded([&] {
    const auto shift = static_cast<float>(mean);
    const auto scale = static_cast<float>(deviation);
    rt::for_stream(rt::philox_key(seed, tag, step), first, n, rt::normals,
                   [=](const float* z, std::int64_t i, std::int64_t count) {
#pragma omp simd
      for (std::int64_t j = 0; j < count; j++) {
        out[i + j] = shift + scale * z[j];
      }
    });
  });
}
RT_EXPORT(rt_random_normal);

rt_status rt_random_uniform(float* out, int64_t n, double low, double high, int64_t seed, int32_t tag, int64_t step,
                            int64_t first) {
  return rt::guarded([&] {
    const auto shift = static_cast<float>(low);
    const auto scale = static_cast<float>(high - low);
    rt::for_stream(rt::philox_key(seed, tag, step), first, n, rt::uniforms,
                   [=](const float* u, std::int64_t i, std::int64_t count) {
#pragma omp simd
      for (std::int64_t j = 0; j < count; j++) {
        out[i + j] = shift + scale * u[j];
      }
    });
  });
}
RT_EXPORT(rt_random_uniform);

rt_status rt_dropout(const void* x, void* out, int64_t n, double p, int64_t seed, int32_t tag, int64_t step,
                     int64_t first, int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const auto* source = static_cast<const T*>(x);
      auto* target = static_cast<T*>(out);
      const auto dropped = static_cast<float>(p);
      const auto scale = static_cast<float>(1 / (1 - p));
      rt::for_stream(rt::philox_key(seed, tag, step), first, n, rt::uniforms,
                 [=](const float* u, std::int64_t i, std::int64_t count) {
#pragma omp simd
                   for (std::int64_t j = 0; j < count; j++) {
                     const float kept = rt::load(source + i + j) * scale;
                     rt::store(target + i + j, u[j] < dropped ? 0.0f : kept);
                   }
                 });
    });
  });
}
RT_EXPORT(rt_dropout);
