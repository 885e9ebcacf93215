// elementwise.cu   out_i = f(a_i, b_i, ...)
// shapes    n elements each; broadcast sees (k0,d0,k1,d1,k2,d2) and repeats b (k0,k1,k2) along every d
// launch    any one-dimensional grid of 256 threads: threads stride over packs of 4 (float32) or 8 elements
// numerics  float32 arithmetic, one rounding to the storage type; the functions are those of math/activation.h
// traffic   one read of each input and one write of the output: memory-bound, roofline time = bytes / bandwidth
// measured  not measured yet
// spills    none
// limits    any n; out may be one of the inputs but not overlap one partly, hence no __restrict__; pointers that are not
//           16-byte aligned take the element-wise loop
// source    formulas and their derivatives in math/activation.h

#include "common/simt.cuh"
#include "common/vec.cuh"
#include "math/activation.h"

namespace {

// Elements a thread handles at once: 16 bytes of the narrowest type.
template <class... T>
constexpr int kPack = (std::is_same_v<T, float> && ...) ? 4 : 8;

// Spreads [0, n) over the grid: pack(i) takes elements i to i + N - 1, one(i) those that no whole pack covers.
template <int N, class Pack, class One>
__device__ __forceinline__ void for_elements(std::int64_t n, bool packed, Pack pack, One one) {
  const std::int64_t packs = packed ? n / N : 0;
  // A grid has about as many threads as there are packs: unrolled loops would only be four times the code.
#pragma unroll 1
  for (std::int64_t i = rt_global_thread(); i < packs; i += rt_global_threads()) {
    pack(i * N);
  }
#pragma unroll 1
  for (std::int64_t i = packs * N + rt_global_thread(); i < n; i += rt_global_threads()) {
    one(i);
  }
}

// out_i = function(x_i)
template <class In, class Out, class Function>
__device__ __forceinline__ void map(const In* x, Out* out, std::int64_t n, Function function) {
  constexpr int N = kPack<In, Out>;
  for_elements<N>(
      n, rt_aligned(x, out),
      [=](std::int64_t i) {
        float u[N];
        rt_load(x + i, u);
#pragma unroll
        for (int j = 0; j < N; j++) {
          u[j] = function(u[j]);
        }
        rt_store(out + i, u);
      },
      [=](std::int64_t i) { rt_store(out + i, function(rt_load(x + i))); });
}

// out_i = function(x_i, y_i)
template <class X, class Y, class Out, class Function>
__device__ __forceinline__ void map(const X* x, const Y* y, Out* out, std::int64_t n, Function function) {
  constexpr int N = kPack<X, Y, Out>;
  for_elements<N>(
      n, rt_aligned(x, y, out),
      [=](std::int64_t i) {
        float u[N];
        float v[N];
        rt_load(x + i, u);
        rt_load(y + i, v);
#pragma unroll
        for (int j = 0; j < N; j++) {
          u[j] = function(u[j], v[j]);
        }
        rt_store(out + i, u);
      },
      [=](std::int64_t i) { rt_store(out + i, function(rt_load(x + i), rt_load(y + i))); });
}

// Calls body(functor) with the functor of an RT_<FUNCTION> code of retort/elementwise.h.
template <class Body>
__device__ __forceinline__ void with_activation(int function, float slope, Body body) {
  switch (function) {
    case 0: return body(rt_relu_f{});
    case 1: return body(rt_leaky_relu_f{slope});
    case 2: return body(rt_silu_f{});
    case 3: return body(rt_gelu_tanh_f{});
    case 4: return body(rt_gelu_f{});
    case 5: return body(rt_sigmoid_f{});
    case 6: return body(rt_tanh_f{});
    case 7: return body(rt_softplus_f{});
    case 8: return body(rt_exp_f{});
    case 9: return body(rt_log_f{});
    case 10: return body(rt_square_f{});
    case 11: return body(rt_sqrt_f{});
    default: return body(rt_abs_f{});
  }
}

template <class T>
__device__ __forceinline__ void activation(const T* x, T* out, int function, float slope, std::int64_t n) {
  with_activation(function, slope, [=](auto f) { map(x, out, n, [f](float u) { return f.value(u); }); });
}

template <class T>
__device__ __forceinline__ void activation_gradient(const T* x, const T* grad_out, T* grad, int function, float slope,
                                                    std::int64_t n) {
  with_activation(function, slope,
                  [=](auto f) { map(x, grad_out, grad, n, [f](float u, float g) { return g * f.slope(u); }); });
}

// The shape of a broadcast with indices of type I: 32 bits where the array allows it, for the sake of the divisions.
template <class I>
struct Repeats {
  I d0, k1, d1, k2, d2;

  // Element of b that belongs to element `i` of a.
  __device__ __forceinline__ I small(I i) const {
    const I column = i / d2 % k2;
    const I row = i / (d2 * k2) / d1;
    return (row / (d0 * k1) * k1 + row % k1) * k2 + column;
  }
};

template <class I, class A, class B, class Function>
__device__ __forceinline__ void broadcast(const A* a, const B* b, A* out, std::int64_t n, Repeats<I> shape,
                                          Function function) {
  constexpr int N = kPack<A, B>;
  // A pack meets N neighbours of b or, where a single element is repeated to whole packs, one.
  const bool neighbours = shape.d2 == 1 && shape.k2 % N == 0 && rt_aligned(b);
  const bool repeated = shape.d2 % N == 0;
  for_elements<N>(
      n, rt_aligned(a, out) && (neighbours || repeated),
      [=](std::int64_t i) {
        const B* const other = b + shape.small(static_cast<I>(i));
        float u[N];
        float v[N];
        rt_load(a + i, u);
        if (neighbours) {
          rt_load(other, v);
        } else {
          const float value = rt_load(other);
#pragma unroll
          for (int j = 0; j < N; j++) {
            v[j] = value;
          }
        }
#pragma unroll
        for (int j = 0; j < N; j++) {
          u[j] = function(u[j], v[j]);
        }
        rt_store(out + i, u);
      },
      [=](std::int64_t i) {
        rt_store(out + i, function(rt_load(a + i), rt_load(b + shape.small(static_cast<I>(i)))));
      });
}

// Chooses the index type and the function; kind 0 adds, 1 multiplies.
template <class A, class B>
__device__ __forceinline__ void broadcast(const A* a, const B* b, A* out, int kind, std::int64_t k0, std::int64_t d0,
                                          std::int64_t k1, std::int64_t d1, std::int64_t k2, std::int64_t d2) {
  const std::int64_t n = k0 * d0 * k1 * d1 * k2 * d2;
  const auto with_function = [=](auto shape) {
    if (kind == 0) {
      broadcast(a, b, out, n, shape, [](float u, float v) { return u + v; });
    } else {
      broadcast(a, b, out, n, shape, [](float u, float v) { return u * v; });
    }
  };
  if (n <= 0x7fffffff) {
    with_function(Repeats<std::uint32_t>{static_cast<std::uint32_t>(d0), static_cast<std::uint32_t>(k1),
                                         static_cast<std::uint32_t>(d1), static_cast<std::uint32_t>(k2),
                                         static_cast<std::uint32_t>(d2)});
  } else {
    with_function(Repeats<std::int64_t>{d0, k1, d1, k2, d2});
  }
}

}  // namespace

// Kernels of one storage type.
#define RT_ELEMENTWISE(suffix, T)                                                                                     \
  RT_KERNEL(rt_axpby_##suffix, (float alpha, const T* x, float beta, const T* y, T* out, std::int64_t n)) {           \
    map(x, y, out, n, [=](float u, float v) { return alpha * u + beta * v; });                                        \
  }                                                                                                                   \
  RT_KERNEL(rt_accumulate_##suffix, (const T* x, float* into, std::int64_t n)) {                                      \
    map(x, into, into, n, [](float u, float v) { return u + v; });                                                    \
  }                                                                                                                   \
  RT_KERNEL(rt_affine_##suffix, (const T* x, float scale, float shift, T* out, std::int64_t n)) {                     \
    map(x, out, n, [=](float u) { return scale * u + shift; });                                                       \
  }                                                                                                                   \
  RT_KERNEL(rt_multiply_##suffix, (const T* a, const T* b, T* out, std::int64_t n)) {                                 \
    map(a, b, out, n, [](float u, float v) { return u * v; });                                                        \
  }                                                                                                                   \
  RT_KERNEL(rt_activation_##suffix, (const T* x, T* out, std::int32_t function, float slope, std::int64_t n)) {       \
    activation(x, out, function, slope, n);                                                                           \
  }                                                                                                                   \
  RT_KERNEL(rt_activation_gradient_##suffix,                                                                          \
            (const T* x, const T* grad_out, T* grad, std::int32_t function, float slope, std::int64_t n)) {           \
    activation_gradient(x, grad_out, grad, function, slope, n);                                                       \
  }

RT_ELEMENTWISE(f32, float)
RT_ELEMENTWISE(bf16, rt_bf16)

// Kernels from one storage type to the other; the suffixes of broadcast are those of a and out, and of b.
#define RT_ELEMENTWISE_MIXED(suffix, A, B)                                                                            \
  RT_KERNEL(rt_broadcast_##suffix, (const A* a, const B* b, A* out, std::int32_t kind, std::int64_t k0,               \
                                    std::int64_t d0, std::int64_t k1, std::int64_t d1, std::int64_t k2,               \
                                    std::int64_t d2)) {                                                               \
    broadcast(a, b, out, kind, k0, d0, k1, d1, k2, d2);                                                               \
  }

RT_ELEMENTWISE_MIXED(f32_f32, float, float)
RT_ELEMENTWISE_MIXED(f32_bf16, float, rt_bf16)
RT_ELEMENTWISE_MIXED(bf16_f32, rt_bf16, float)
RT_ELEMENTWISE_MIXED(bf16_bf16, rt_bf16, rt_bf16)

RT_KERNEL(rt_cast_f32_bf16, (const float* x, rt_bf16* out, std::int64_t n)) {
  map(x, out, n, [](float u) { return u; });
}

RT_KERNEL(rt_cast_bf16_f32, (const rt_bf16* x, float* out, std::int64_t n)) {
  map(x, out, n, [](float u) { return u; });
}
