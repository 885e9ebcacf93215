// embedding.cpp   (cos a, sin a) of a = c f_k; rows of a table
// shapes    c (n)   frequencies (half)   y (n, 2 half)   |   table (k, d)   ids (n)   y (n, d)
// numerics  angles, sines and sums over k in float64, one rounding at the end; table gradients in float32, in order of i
// traffic   sinusoids: two float64 functions a pair, n half pairs, a few microseconds a step; lookup: memory-bound
// limits    ids outside the table are refused before anything is written
// source    Vaswani et al. 2017, section 3.5; Tancik et al. 2020, "Fourier features"; EDM (Karras et al. 2022), networks

#include "retort/embedding.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/registry.h"

namespace {

constexpr std::int64_t kPairCost = 32;  // element-operations that a sine and a cosine are worth
constexpr std::int64_t kParallel = 8 * RT_PARALLEL_MIN;  // copied elements from which waking other threads pays

// Where the two halves of a row start.
struct Halves {
  std::int64_t cosine, sine;
};

Halves halves(std::int64_t half, bool sin_first) { return sin_first ? Halves{half, 0} : Halves{0, half}; }

template <class Frequency>
void waves_forward(const float* c, float* y, std::int64_t n, std::int64_t half, Halves at, Frequency frequency) {
#pragma omp parallel for schedule(static) if (n * half * kPairCost > RT_PARALLEL_MIN)
  for (std::int64_t i = 0; i < n; i++) {
    float* row = y + i * 2 * half;
    for (std::int64_t k = 0; k < half; k++) {
      const double angle = frequency(k) * c[i];
      row[at.cosine + k] = static_cast<float>(std::cos(angle));
      row[at.sine + k] = static_cast<float>(std::sin(angle));
    }
  }
}

template <class Frequency>
void waves_backward(const float* c, const float* gy, float* gc, std::int64_t n, std::int64_t half, Halves at,
                    Frequency frequency) {
#pragma omp parallel for schedule(static) if (n * half * kPairCost > RT_PARALLEL_MIN)
  for (std::int64_t i = 0; i < n; i++) {
    const float* row = gy + i * 2 * half;
    double total = 0;
    for (std::int64_t k = 0; k < half; k++) {
      const double f = frequency(k);
      const double angle = f * c[i];
      total += f * (row[at.sine + k] * std::cos(angle) - row[at.cosine + k] * std::sin(angle));
    }
    gc[i] = static_cast<float>(total);
  }
}

// max_positions^(-k / (half - endpoint))
auto geometric(std::int64_t half, double max_positions, std::int32_t endpoint) {
  if (half <= endpoint || max_positions <= 0) {
    rt::fail("sinusoid: needs half > endpoint and max_positions > 0, got %ld, %d and %g", half, endpoint, max_positions);
  }
  const double step = -std::log(max_positions) / static_cast<double>(half - endpoint);
  return [step](std::int64_t k) { return std::exp(step * static_cast<double>(k)); };
}

auto turns(const float* frequencies) {
  return [frequencies](std::int64_t k) { return 2 * std::numbers::pi * frequencies[k]; };
}

void check_ids(const std::int64_t* ids, std::int64_t n, std::int64_t k) {
  for (std::int64_t i = 0; i < n; i++) {
    if (ids[i] < 0 || ids[i] >= k) {
      rt::fail("lookup: id must be in [0, %ld), got %ld at place %ld", k, ids[i], i);
    }
  }
}

}  // namespace

rt_status rt_sinusoid_forward(const float* c, float* y, int64_t n, int64_t half, double max_positions, int32_t endpoint,
                              int32_t sin_first) {
  return rt::guarded([&] {
    waves_forward(c, y, n, half, halves(half, sin_first != 0), geometric(half, max_positions, endpoint));
  });
}
RT_EXPORT(rt_sinusoid_forward);

rt_status rt_sinusoid_backward(const float* c, const float* gy, float* gc, int64_t n, int64_t half,
                               double max_positions, int32_t endpoint, int32_t sin_first) {
  return rt::guarded([&] {
    waves_backward(c, gy, gc, n, half, halves(half, sin_first != 0), geometric(half, max_positions, endpoint));
  });
}
RT_EXPORT(rt_sinusoid_backward);

rt_status rt_fourier_forward(const float* c, const float* frequencies, float* y, int64_t n, int64_t half) {
  return rt::guarded([&] { waves_forward(c, y, n, half, halves(half, false), turns(frequencies)); });
}
RT_EXPORT(rt_fourier_forward);

rt_status rt_fourier_backward(const float* c, const float* frequencies, const float* gy, float* gc, int64_t n,
                              int64_t half) {
  return rt::guarded([&] { waves_backward(c, gy, gc, n, half, halves(half, false), turns(frequencies)); });
}
RT_EXPORT(rt_fourier_backward);

rt_status rt_lookup_forward(const float* table, const int64_t* ids, float* y, int64_t k, int64_t d, int64_t n) {
  return rt::guarded([&] {
    check_ids(ids, n, k);
#pragma omp parallel for schedule(static) if (n * d > kParallel)
    for (std::int64_t i = 0; i < n; i++) {
      std::memcpy(y + i * d, table + ids[i] * d, d * sizeof(float));
    }
  });
}
RT_EXPORT(rt_lookup_forward);

rt_status rt_lookup_backward(const int64_t* ids, const float* gy, float* gtable, int64_t k, int64_t d, int64_t n) {
  return rt::guarded([&] {
    check_ids(ids, n, k);
    // Each thread owns a range of table rows and reads every id, so that a row is summed by one thread in order of i.
#pragma omp parallel if ((k + n) * d > kParallel)
    {
      const std::int64_t threads = omp_get_num_threads();
      const std::int64_t begin = k * omp_get_thread_num() / threads;
      const std::int64_t end = k * (omp_get_thread_num() + 1) / threads;
      std::fill(gtable + begin * d, gtable + end * d, 0.0f);
      for (std::int64_t i = 0; i < n; i++) {
        if (ids[i] >= begin && ids[i] < end) {
          float* row = gtable + ids[i] * d;
#pragma omp simd
          for (std::int64_t j = 0; j < d; j++) {
            row[j] += gy[i * d + j];
          }
        }
      }
    }
  });
}
RT_EXPORT(rt_lookup_backward);
