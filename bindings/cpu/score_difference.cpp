// score_difference.cpp   noising, EDM preconditioning, and the gradients of score distillation
// shapes    images (N, P), sigma (N), loss (1); one sample is one unit of work
// numerics  per-sample sums in float64, added over samples in order: the same on any thread count
// traffic   add_noise 3 T, edm_input 2 T, edm_output 3 T, losses 3 to 4 T read and written once (T = 4 N P bytes; the
//           per-sample mean of |x - r| is a second read of a sample that is then in L1 or L2): memory-bound
// measured  not measured yet
// limits    N >= 1, P >= 1
// source    retort/score_difference.h
#include "retort/score_difference.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/registry.h"

namespace {

// Calls body(sample, offset of its first element) for every sample, on several threads when it pays.
template <class Body>
void for_samples(std::int64_t n, std::int64_t p, const Body& body) {
#pragma omp parallel for schedule(static) if (n * p > RT_PARALLEL_MIN)
  for (std::int64_t s = 0; s < n; ++s) {
    body(s, s * p);
  }
}

// The same where body returns the sample's part of a loss; the parts are added in order.
template <class Body>
double sum_samples(std::int64_t n, std::int64_t p, const Body& body) {
  std::vector<double> parts(static_cast<std::size_t>(n));
  for_samples(n, p, [&](std::int64_t s, std::int64_t at) { parts[static_cast<std::size_t>(s)] = body(s, at); });
  double total = 0;
  for (double part : parts) {
    total += part;
  }
  return total;
}

double mean_distance(const float* a, const float* b, std::int64_t p) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < p; ++i) {
    sum += static_cast<double>(std::fabs(a[i] - b[i]));
  }
  return sum / static_cast<double>(p);
}

struct Scales {
  float skip, out;
};

Scales edm_scales(float sigma, double sd) {
  const double s = static_cast<double>(sigma);
  const double total = s * s + sd * sd;
  return {static_cast<float>(sd * sd / total), static_cast<float>(s * sd / std::sqrt(total))};
}

}  // namespace

rt_status rt_add_noise(const float* x, const float* sigma, const float* eps, float* out, int64_t n, int64_t p) {
  return rt::guarded([&] {
    for_samples(n, p, [&](std::int64_t s, std::int64_t at) {
      const float scale = sigma[s];
#pragma omp simd
      for (std::int64_t i = at; i < at + p; ++i) {
        out[i] = x[i] + scale * eps[i];
      }
    });
  });
}

rt_status rt_edm_input(const float* x, const float* sigma, float* out, int64_t n, int64_t p, double sd) {
  return rt::guarded([&] {
    for_samples(n, p, [&](std::int64_t s, std::int64_t at) {
      const double level = static_cast<double>(sigma[s]);
      const float scale = static_cast<float>(1 / std::sqrt(level * level + sd * sd));
#pragma omp simd
      for (std::int64_t i = at; i < at + p; ++i) {
        out[i] = scale * x[i];
      }
    });
  });
}

rt_status rt_edm_output(const float* x, const float* f, const float* sigma, float* out, int64_t n, int64_t p,
                        double sd) {
  return rt::guarded([&] {
    for_samples(n, p, [&](std::int64_t s, std::int64_t at) {
      const Scales c = edm_scales(sigma[s], sd);
#pragma omp simd
      for (std::int64_t i = at; i < at + p; ++i) {
        out[i] = c.skip * x[i] + c.out * f[i];
      }
    });
  });
}

rt_status rt_edm_output_backward(const float* dout, const float* sigma, float* dx, float* df, int64_t n,
                                 int64_t p, double sd) {
  return rt::guarded([&] {
    for_samples(n, p, [&](std::int64_t s, std::int64_t at) {
      const Scales c = edm_scales(sigma[s], sd);
      if (dx != nullptr) {
#pragma omp simd
        for (std::int64_t i = at; i < at + p; ++i) {
          dx[i] = c.skip * dout[i];
        }
      }
      if (df != nullptr) {
#pragma omp simd
        for (std::int64_t i = at; i < at + p; ++i) {
          df[i] = c.out * dout[i];
        }
      }
    });
  });
}

rt_status rt_edm_loss(const float* d, const float* y, const float* sigma, float* loss, float* gradient,
                      int64_t n, int64_t p, double sd, int32_t mean) {
  return rt::guarded([&] {
    const double divisor = static_cast<double>(n) * (mean != 0 ? static_cast<double>(p) : 1.0);
    const double total = sum_samples(n, p, [&](std::int64_t s, std::int64_t at) {
      const double level = static_cast<double>(sigma[s]);
      const double weight = 1 / (level * level) + 1 / (sd * sd);
      const float slope = static_cast<float>(2 * weight / divisor);
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = at; i < at + p; ++i) {
        const float e = d[i] - y[i];
        sum += static_cast<double>(e) * static_cast<double>(e);
        gradient[i] = slope * e;
      }
      return weight * sum;
    });
    *loss = static_cast<float>(total / divisor);
  });
}

rt_status rt_score_difference(const float* x, const float* r, const float* f, float* loss, float* gradient,
                              int64_t n, int64_t p, int32_t form, double eps) {
  return rt::guarded([&] {
    if (form != 0 && form != 1) {
      rt::fail("score_difference: form must be 0 (dmd) or 1 (di), got %d", form);
    }
    const double divisor = static_cast<double>(n) * (form == 0 ? static_cast<double>(p) : 1.0);
    const double total = sum_samples(n, p, [&](std::int64_t, std::int64_t at) {
      const double normaliser = form == 0 ? std::max(mean_distance(x + at, r + at, p), eps) : 1.0;
      const float slope = static_cast<float>(1 / (normaliser * divisor));
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = at; i < at + p; ++i) {
        const float difference = f[i] - r[i];
        sum += static_cast<double>(difference) * static_cast<double>(difference);
        gradient[i] = slope * difference;
      }
      return sum / (normaliser * normaliser);
    });
    *loss = static_cast<float>(total / (2 * divisor));
  });
}

rt_status rt_sid(const float* x, const float* r, const float* f, float* loss, float* dx, float* dr, float* df,
                 int64_t n, int64_t p, double alpha, double eps) {
  return rt::guarded([&] {
    const float a = static_cast<float>(alpha);
    const double total = sum_samples(n, p, [&](std::int64_t, std::int64_t at) {
      const double normaliser = std::max(mean_distance(x + at, r + at, p), eps);
      const float slope = static_cast<float>(1 / (normaliser * static_cast<double>(n)));
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = at; i < at + p; ++i) {
        const float gap = r[i] - f[i];
        const float pull = r[i] - x[i];
        sum += static_cast<double>(gap) * static_cast<double>(pull - a * gap);
        dx[i] = -slope * gap;
        dr[i] = slope * (pull + gap - 2 * a * gap);
        df[i] = slope * (2 * a * gap - pull);
      }
      return sum / normaliser;
    });
    *loss = static_cast<float>(total / static_cast<double>(n));
  });
}

RT_EXPORT(rt_add_noise);
RT_EXPORT(rt_edm_input);
RT_EXPORT(rt_edm_output);
RT_EXPORT(rt_edm_output_backward);
RT_EXPORT(rt_edm_loss);
RT_EXPORT(rt_score_difference);
RT_EXPORT(rt_sid);
