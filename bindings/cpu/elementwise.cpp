// elementwise.cpp   out_i = f(a_i, b_i, ...)
// shapes    n elements each; broadcast sees (k0,d0,k1,d1,k2,d2) and repeats b (k0,k1,k2) along every d
// numerics  float32 arithmetic, one rounding to the storage type; the functions are those of math/activation.h
// traffic   one read of each input and one write of the output: memory-bound beyond the caches, floor = bytes / bandwidth
// measured  (32,32,32,64) x 7, 59 MB an array, 2 cores Zen 5, against 50-60 GB/s of DRAM: axpby 3.4 ms 51 GB/s,
//           silu 2.2 ms 54 GB/s, its backward 3.4 ms 52 GB/s, exact gelu 3.6 ms 32 GB/s (compute-bound), broadcast of (C)
//           2.2 ms 53 GB/s; in the caches (8 MB arrays) axpby 124 GB/s.
//           bf16, one thread of a Zen 4 beside other work, in brackets without pairs (vec_bf16.h): axpby of 401,408 elements
//           45 us (75), affine 37 us (60); broadcast of (128,1,1,32) to (128,28,28,32) 0.44 ms (1.08), of (32,1,1,64) to
//           (32,32,32,64) 0.23 ms (0.43)
// limits    any n; ranges may be equal but not overlap partly
// source    formulas in math/activation.h; derivatives are taken there beside each function

#include "retort/elementwise.h"

#include <algorithm>
#include <type_traits>

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/registry.h"
#include "cpu/vec_bf16.h"
#include "math/activation.h"

namespace {

constexpr std::int64_t kChunk = 8192;  // elements a thread takes at once: 32 KB of float32, the first-level cache

// Elements from which waking other threads pays: one core adds 16 of them in a nanosecond, but takes a transcendental
// function of 2 to 5.
constexpr std::int64_t kCheap = 8 * RT_PARALLEL_MIN;
constexpr std::int64_t kCostly = 2 * RT_PARALLEL_MIN;

// Numbers of which a narrow row's copies are made: 4 KB of float32.
constexpr std::int64_t kCopies = 1024;
constexpr std::int64_t kNarrow = 128;  // bytes of a row

// Calls body(begin, end) over [0, n) in chunks, in parallel from `least` elements on.
template <class Body>
void for_chunks(std::int64_t n, std::int64_t least, Body&& body) {
  const std::int64_t chunks = (n + kChunk - 1) / kChunk;
#pragma omp parallel for schedule(static) if (n > least)
  for (std::int64_t c = 0; c < chunks; c++) {
    body(c * kChunk, std::min(n, (c + 1) * kChunk));
  }
}

// Whether a function of In numbers can be computed for whole pairs of bfloat16 vectors.
template <class Function, class Out, class... In>
constexpr bool in_pairs = (std::is_same_v<In, rt::bf16> && ...) && std::is_same_v<Out, rt::bf16> &&
                          std::is_invocable_v<Function, decltype(In{}, rt::vec{})...>;

// out_i = function(in_i, ...) for begin <= i < end. Functions that take any type (auto) also take whole vectors.
template <class Out, class Function, class... In>
void map_range(std::int64_t begin, std::int64_t end, Out* out, Function function, const In*... in) {
  if constexpr (in_pairs<Function, Out, In...>) {
    for (; begin + rt::PAIR <= end; begin += rt::PAIR) {
      rt::store_pair(out + begin, {function(rt::load_pair(in + begin).even...), function(rt::load_pair(in + begin).odd...)});
    }
  }
#pragma omp simd
  for (std::int64_t i = begin; i < end; i++) {
    rt::store(out + i, function(rt::load(in + i)...));
  }
}

// out_i = function(x_i)
template <class In, class Out, class Function>
void map(const In* x, Out* out, std::int64_t n, Function function, std::int64_t least = kCheap) {
  for_chunks(n, least, [=](std::int64_t begin, std::int64_t end) { map_range(begin, end, out, function, x); });
}

// out_i = function(x_i, y_i)
template <class X, class Y, class Out, class Function>
void map(const X* x, const Y* y, Out* out, std::int64_t n, Function function, std::int64_t least = kCheap) {
  for_chunks(n, least, [=](std::int64_t begin, std::int64_t end) { map_range(begin, end, out, function, x, y); });
}

// Calls body(functor) with the functor of an RT_<FUNCTION> code.
template <class Body>
void with_activation(std::int32_t function, double slope, Body&& body) {
  switch (function) {
    case RT_RELU: return body(rt_relu_f{});
    case RT_LEAKY_RELU: return body(rt_leaky_relu_f{static_cast<float>(slope)});
    case RT_SILU: return body(rt_silu_f{});
    case RT_GELU_TANH: return body(rt_gelu_tanh_f{});
    case RT_GELU: return body(rt_gelu_f{});
    case RT_SIGMOID: return body(rt_sigmoid_f{});
    case RT_TANH: return body(rt_tanh_f{});
    case RT_SOFTPLUS: return body(rt_softplus_f{});
    case RT_EXP: return body(rt_exp_f{});
    case RT_LOG: return body(rt_log_f{});
    case RT_SQUARE: return body(rt_square_f{});
    case RT_SQRT: return body(rt_sqrt_f{});
    case RT_ABS: return body(rt_abs_f{});
    default: rt::fail("activation: function must be 0 to 12, got %d", function);
  }
}

// Which row of b belongs to row (k0, d0, k1, d1) of the large array.
struct Rows {
  std::int64_t d0, k1, d1;
  std::int64_t small(std::int64_t row) const {
    const std::int64_t k = row / d1;
    return k / (d0 * k1) * k1 + k % k1;
  }
};

// Calls body(row, begin, end) for pieces of `rows` rows of `width` elements, in parallel where that pays.
template <class Body>
void for_rows(std::int64_t rows, std::int64_t width, Body&& body) {
  const std::int64_t parts = std::max<std::int64_t>(1, (width + kChunk - 1) / kChunk);
#pragma omp parallel for schedule(static) if (rows * width > kCheap)
  for (std::int64_t task = 0; task < rows * parts; task++) {
    const std::int64_t begin = task % parts * kChunk;
    body(task / parts, begin, std::min(width, begin + kChunk));
  }
}

// d2 = 1: every row of the large array meets a row of b. Narrow rows that meet the same one are taken together, with
// copies of it behind each other.
template <class A, class B, class Function>
void broadcast_rows(const A* a, const B* b, A* out, std::int64_t rows, std::int64_t width, Rows shape,
                    Function function) {
  const std::int64_t same = shape.k1 == 1 ? shape.d0 * shape.d1 : shape.d1;
  const std::int64_t together = width * static_cast<std::int64_t>(sizeof(A)) <= kNarrow ? std::min(same, kCopies / width) : 1;
  if (together < 2) {
    for_rows(rows, width, [=](std::int64_t row, std::int64_t begin, std::int64_t end) {
      map_range(begin, end, out + row * width, function, a + row * width, b + shape.small(row) * width);
    });
    return;
  }
  for_rows(rows / same, same * width, [=](std::int64_t run, std::int64_t begin, std::int64_t end) {
    B copies[kCopies];
    const B* const b_row = b + shape.small(run * same) * width;
    const std::int64_t shift = begin % width;
    std::copy_n(b_row + shift, width - shift, copies);
    std::copy_n(b_row, shift, copies + width - shift);
    for (std::int64_t copy = 1; copy < together; copy++) {
      std::copy_n(copies, width, copies + copy * width);
    }
    for (std::int64_t i = run * same * width + begin; i < run * same * width + end; i += together * width) {
      map_range(0, std::min(together * width, run * same * width + end - i), out + i, function, a + i, copies);
    }
  });
}

// d2 > 1: every run of d2 elements meets one element of b.
template <class A, class B, class Function>
void broadcast_scalars(const A* a, const B* b, A* out, std::int64_t rows, std::int64_t k2, std::int64_t d2, Rows shape,
                       Function function) {
  for_rows(rows * k2, d2, [=](std::int64_t run, std::int64_t begin, std::int64_t end) {
    const float value = rt::load(b + shape.small(run / k2) * k2 + run % k2);
    const A* a_run = a + run * d2;
    A* out_run = out + run * d2;
#pragma omp simd
    for (std::int64_t i = begin; i < end; i++) {
      rt::store(out_run + i, function(rt::load(a_run + i), value));
    }
  });
}

template <class Body>
void with_broadcast(std::int32_t kind, Body&& body) {
  switch (kind) {
    case RT_BROADCAST_ADD: return body([](auto a, auto b) { return a + b; });
    case RT_BROADCAST_MULTIPLY: return body([](auto a, auto b) { return a * b; });
    default: rt::fail("broadcast: kind must be 0 or 1, got %d", kind);
  }
}

}  // namespace

rt_status rt_axpby(double alpha, const void* x, double beta, const void* y, void* out, int64_t n, int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      map(static_cast<const T*>(x), static_cast<const T*>(y), static_cast<T*>(out), n,
          [a = static_cast<float>(alpha), b = static_cast<float>(beta)](auto u, auto v) { return a * u + b * v; });
    });
  });
}
RT_EXPORT(rt_axpby);

rt_status rt_accumulate(const void* x, float* into, int64_t n, int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      map(static_cast<const T*>(x), into, into, n, [](float u, float v) { return u + v; });
    });
  });
}
RT_EXPORT(rt_accumulate);

rt_status rt_affine(const void* x, double scale, double shift, void* out, int64_t n, int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      map(static_cast<const T*>(x), static_cast<T*>(out), n,
          [a = static_cast<float>(scale), b = static_cast<float>(shift)](auto u) { return a * u + b; });
    });
  });
}
RT_EXPORT(rt_affine);

rt_status rt_multiply(const void* a, const void* b, void* out, int64_t n, int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      map(static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(out), n,
          [](auto u, auto v) { return u * v; });
    });
  });
}
RT_EXPORT(rt_multiply);

rt_status rt_activation_forward(const void* x, void* y, int32_t function, double slope, int64_t n, int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      with_activation(function, slope, [&](auto f) {
        map(static_cast<const T*>(x), static_cast<T*>(y), n, [f](float u) { return f.value(u); }, kCostly);
      });
    });
  });
}
RT_EXPORT(rt_activation_forward);

rt_status rt_activation_backward(const void* x, const void* gy, void* gx, int32_t function, double slope, int64_t n,
                                 int32_t dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      with_activation(function, slope, [&](auto f) {
        map(static_cast<const T*>(x), static_cast<const T*>(gy), static_cast<T*>(gx), n,
            [f](float u, float g) { return g * f.slope(u); }, kCostly);
      });
    });
  });
}
RT_EXPORT(rt_activation_backward);

rt_status rt_cast(const void* x, void* out, int64_t n, int32_t dtype, int32_t out_dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto from) {
      rt::dispatch(out_dtype, [&](auto to) {
        using In = typename decltype(from)::type;
        using Out = typename decltype(to)::type;
        map(static_cast<const In*>(x), static_cast<Out*>(out), n, [](float u) { return u; });
      });
    });
  });
}
RT_EXPORT(rt_cast);

rt_status rt_broadcast(const void* a, const void* b, void* out, int32_t kind, int64_t k0, int64_t d0, int64_t k1,
                       int64_t d1, int64_t k2, int64_t d2, int32_t dtype, int32_t b_dtype) {
  return rt::guarded([&] {
    rt::dispatch(dtype, [&](auto large) {
      rt::dispatch(b_dtype, [&](auto small) {
        using A = typename decltype(large)::type;
        using B = typename decltype(small)::type;
        with_broadcast(kind, [&](auto function) {
          const std::int64_t rows = k0 * d0 * k1 * d1;
          const Rows shape{d0, k1, d1};
          const auto* x = static_cast<const A*>(a);
          const auto* y = static_cast<const B*>(b);
          if (d2 == 1) {
            broadcast_rows(x, y, static_cast<A*>(out), rows, k2, shape, function);
          } else {
            broadcast_scalars(x, y, static_cast<A*>(out), rows, k2, d2, shape, function);
          }
        });
      });
    });
  });
}
RT_EXPORT(rt_broadcast);
