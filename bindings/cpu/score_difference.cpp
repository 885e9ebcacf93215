// score_difference.cpp   noising, EDM preconditioning, and the gradients of score distillation
// shapes    images (N, P), sigma (N), loss (1); one sample is one unit of work
// numerics  per-sample sums of float32 sums of 8 numbers a lane in float64, added over samples in order: the same on any
//           thread count; the noise is bit for bit that of rt_random_normal
// traffic   add_noise 2 T, edm_input 2 T, edm_output 3 T, losses 3 to 4 T read and written once (T = 4 N P bytes; the
//           per-sample mean of |x - r| is a second read of a sample that is then in L1 or L2): memory-bound, the noise by
//           its normals
// measured  256 x 3072, which stays in the third-level cache, two threads of a Zen 4 beside other work, ms (in brackets
//           before there were vectors and one pass for the noise, in the same run): noise 0.43-0.53 (0.71-0.82); dmd
//           0.13-0.16 (0.50-0.55), 77-97 GB/s where copying 3 MB arrays reaches 84-90; di 0.11 (0.48).
// limits    N >= 1, P >= 1
// source    retort/score_difference.h
#include "retort/score_difference.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/philox_vec.h"
#include "cpu/registry.h"
#include "cpu/vec.h"

namespace {

using rt::LANES;
using rt::vec;

constexpr std::int64_t RUN = 32 * LANES;  // elements added in float32 before their sum goes on in float64: 8 a lane

template <class V>
V at(const float* p) {
  if constexpr (std::is_same_v<V, vec>) {
    return rt::load_vec(p);
  } else {
    return *p;
  }
}

void put(float* p, vec v) { rt::store_vec(p, v); }

void put(float* p, float v) { *p = v; }

vec magnitude(vec v) { return reinterpret_cast<vec>(reinterpret_cast<rt::ivec>(v) & 0x7fffffff); }

float magnitude(float v) { return std::fabs(v); }

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
  for_samples(n, p, [&](std::int64_t s, std::int64_t first) { parts[static_cast<std::size_t>(s)] = body(s, first); });
  double total = 0;
  for (double part : parts) {
    total += part;
  }
  return total;
}

// Calls body<V>(i) for the elements i of [0, p): V a vector for LANES of them at once, float for the rest.
template <class Body>
void for_elements(std::int64_t p, const Body& body) {
  std::int64_t i = 0;
  for (; i + LANES <= p; i += LANES) {
    body.template operator()<vec>(i);
  }
  for (; i < p; ++i) {
    body.template operator()<float>(i);
  }
}

double sum_of_lanes(vec v) {
  float lanes[LANES];
  rt::store_vec(lanes, v);
  for (int width = LANES / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; ++j) {
      lanes[j] += lanes[j + width];
    }
  }
  return static_cast<double>(lanes[0]);
}

// Sum of body<V>(i) over [0, p).
template <class Body>
double sum_elements(std::int64_t p, const Body& body) {
  double total = 0;
  std::int64_t i = 0;
  for (; i + RUN <= p; i += RUN) {
    vec part[4] = {};
    for (std::int64_t j = 0; j < RUN; j += 4 * LANES) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        part[k] += body.template operator()<vec>(i + j + k * LANES);
      }
    }
    total += sum_of_lanes((part[0] + part[1]) + (part[2] + part[3]));
  }
  for (; i + LANES <= p; i += LANES) {
    total += sum_of_lanes(body.template operator()<vec>(i));
  }
  for (; i < p; ++i) {
    total += static_cast<double>(body.template operator()<float>(i));
  }
  return total;
}

double mean_distance(const float* a, const float* b, std::int64_t p) {
  return sum_elements(p, [=]<class V>(std::int64_t i) { return magnitude(at<V>(a + i) - at<V>(b + i)); }) /
         static_cast<double>(p);
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

rt_status rt_add_noise(const float* x, const float* sigma, float* out, int64_t n, int64_t p, int64_t seed, int32_t tag,
                       int64_t step) {
  return rt::guarded([&] {
    rt::for_stream(rt::philox_key(seed, tag, step), 0, n * p, rt::normals,
                   [=](const float* z, std::int64_t first, std::int64_t count) {
                     for (std::int64_t done = 0; done < count;) {
                       const std::int64_t sample = (first + done) / p;
                       const std::int64_t left = std::min(count - done, (sample + 1) * p - first - done);
                       const float scale = sigma[sample];
                       const float* const from = x + first + done;
                       const float* const noise = z + done;
                       float* const to = out + first + done;
                       for_elements(left, [=]<class V>(std::int64_t i) {
                         put(to + i, at<V>(from + i) + scale * at<V>(noise + i));
                       });
                       done += left;
                     }
                   });
  });
}

rt_status rt_edm_input(const float* x, const float* sigma, float* out, int64_t n, int64_t p, double sd) {
  return rt::guarded([&] {
    for_samples(n, p, [=](std::int64_t s, std::int64_t first) {
      const double level = static_cast<double>(sigma[s]);
      const float scale = static_cast<float>(1 / std::sqrt(level * level + sd * sd));
      for_elements(p, [=, from = x + first, to = out + first]<class V>(std::int64_t i) {
        put(to + i, scale * at<V>(from + i));
      });
    });
  });
}

rt_status rt_edm_output(const float* x, const float* f, const float* sigma, float* out, int64_t n, int64_t p,
                        double sd) {
  return rt::guarded([&] {
    for_samples(n, p, [=](std::int64_t s, std::int64_t first) {
      const Scales c = edm_scales(sigma[s], sd);
      for_elements(p, [=, x = x + first, f = f + first, to = out + first]<class V>(std::int64_t i) {
        put(to + i, c.skip * at<V>(x + i) + c.out * at<V>(f + i));
      });
    });
  });
}

rt_status rt_edm_output_backward(const float* dout, const float* sigma, float* dx, float* df, int64_t n,
                                 int64_t p, double sd) {
  return rt::guarded([&] {
    for_samples(n, p, [=](std::int64_t s, std::int64_t first) {
      const Scales c = edm_scales(sigma[s], sd);
      const float* const from = dout + first;
      if (dx != nullptr) {
        for_elements(p, [=, to = dx + first]<class V>(std::int64_t i) { put(to + i, c.skip * at<V>(from + i)); });
      }
      if (df != nullptr) {
        for_elements(p, [=, to = df + first]<class V>(std::int64_t i) { put(to + i, c.out * at<V>(from + i)); });
      }
    });
  });
}

rt_status rt_edm_loss(const float* d, const float* y, const float* sigma, float* loss, float* gradient,
                      int64_t n, int64_t p, double sd, int32_t mean) {
  return rt::guarded([&] {
    const double divisor = static_cast<double>(n) * (mean != 0 ? static_cast<double>(p) : 1.0);
    const double total = sum_samples(n, p, [=](std::int64_t s, std::int64_t first) {
      const double level = static_cast<double>(sigma[s]);
      const double weight = 1 / (level * level) + 1 / (sd * sd);
      const float slope = static_cast<float>(2 * weight / divisor);
      return weight * sum_elements(p, [=, d = d + first, y = y + first, to = gradient + first]<class V>(std::int64_t i) {
               const V e = at<V>(d + i) - at<V>(y + i);
               put(to + i, slope * e);
               return e * e;
             });
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
    const double total = sum_samples(n, p, [=](std::int64_t, std::int64_t first) {
      const double normaliser = form == 0 ? std::max(mean_distance(x + first, r + first, p), eps) : 1.0;
      const float slope = static_cast<float>(1 / (normaliser * divisor));
      const double squares =
          sum_elements(p, [=, r = r + first, f = f + first, to = gradient + first]<class V>(std::int64_t i) {
            const V difference = at<V>(f + i) - at<V>(r + i);
            put(to + i, slope * difference);
            return difference * difference;
          });
      return squares / (normaliser * normaliser);
    });
    *loss = static_cast<float>(total / (2 * divisor));
  });
}

rt_status rt_sid(const float* x, const float* r, const float* f, float* loss, float* dx, float* dr, float* df,
                 int64_t n, int64_t p, double alpha, double eps) {
  return rt::guarded([&] {
    const float a = static_cast<float>(alpha);
    const double total = sum_samples(n, p, [=](std::int64_t, std::int64_t first) {
      const double normaliser = std::max(mean_distance(x + first, r + first, p), eps);
      const float slope = static_cast<float>(1 / (normaliser * static_cast<double>(n)));
      const double sum = sum_elements(p, [=]<class V>(std::int64_t j) {
        const std::int64_t i = first + j;
        const V gap = at<V>(r + i) - at<V>(f + i);
        const V pull = at<V>(r + i) - at<V>(x + i);
        put(dx + i, -slope * gap);
        put(dr + i, slope * (pull + gap - 2 * a * gap));
        put(df + i, slope * (2 * a * gap - pull));
        return gap * (pull - a * gap);
      });
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
