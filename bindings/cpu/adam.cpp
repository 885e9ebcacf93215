// adam.cpp   m, v, value, ema in one pass over flat arenas, after one pass for the gradient norm
// shapes    value, gradient, m, v, ema (n) f32
// numerics  norm accumulated in float64 per block of 16384, blocks added in order: the same on any thread count
// traffic   norm pass 4 B; update pass reads 20 B and writes 16 B per parameter with ema: memory-bound
// measured  not measured yet
// limits    n >= 0; step >= 1
// source    retort/adam.h
#include "retort/adam.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/registry.h"

namespace {

constexpr std::int64_t BLOCK = 16384;

double gradient_norm(const float* gradient, std::int64_t n) {
  const std::int64_t blocks = (n + BLOCK - 1) / BLOCK;
  std::vector<double> partial(static_cast<std::size_t>(blocks));
#pragma omp parallel for schedule(static) if (n > RT_PARALLEL_MIN)
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::int64_t end = std::min(n, (b + 1) * BLOCK);
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = b * BLOCK; i < end; ++i) {
      sum += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
    }
    partial[static_cast<std::size_t>(b)] = sum;
  }
  double total = 0;
  for (double p : partial) {
    total += p;
  }
  return std::sqrt(total);
}

struct Rates {
  float scale, beta1, beta2, keep, rate, root, eps, blend;
};

template <bool averaged>
void update(float* __restrict value, const float* __restrict gradient, float* __restrict m,
            float* __restrict v, float* __restrict ema, std::int64_t n, Rates r) {
#pragma omp parallel for simd schedule(static) if (n > RT_PARALLEL_MIN)
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] * r.scale;
    const float mi = r.beta1 * m[i] + (1 - r.beta1) * g;
    const float vi = r.beta2 * v[i] + (1 - r.beta2) * g * g;
    const float next = value[i] * r.keep - r.rate * mi / (std::sqrt(vi) * r.root + r.eps);
    m[i] = mi;
    v[i] = vi;
    value[i] = next;
    if constexpr (averaged) {
      ema[i] += r.blend * (next - ema[i]);
    }
  }
}

}  // namespace

rt_status rt_adam_step(float* value, const float* gradient, float* m, float* v, float* ema, int64_t n,
                       int64_t step, double lr, double beta1, double beta2, double eps, double decay,
                       double clip, double ema_decay, double* norm) {
  return rt::guarded([&] {
    if (step < 1) {
      rt::fail("adam: step must be >= 1, got %ld", static_cast<long>(step));
    }
    *norm = gradient_norm(gradient, n);
    if (!std::isfinite(*norm)) {
      return;
    }
    const double t = static_cast<double>(step);
    const double scale = clip > 0 && *norm > clip ? clip / *norm : 1;
    const Rates rates{static_cast<float>(scale),
                      static_cast<float>(beta1),
                      static_cast<float>(beta2),
                      static_cast<float>(1 - lr * decay),
                      static_cast<float>(lr / (1 - std::pow(beta1, t))),
                      static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, t))),
                      static_cast<float>(eps),
                      static_cast<float>(1 - ema_decay)};
    if (ema != nullptr) {
      update<true>(value, gradient, m, v, ema, n, rates);
    } else {
      update<false>(value, gradient, m, v, nullptr, n, rates);
    }
  });
}

RT_EXPORT(rt_adam_step);
