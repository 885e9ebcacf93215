// resample.cpp   halves or doubles images with a separable FIR filter: y = (F (x) F) x, forward and adjoint
// shapes    x,dx (N,H,W,C), y,dy (N,OH,OW,C) f32 or bf16; filter k taps
// how       both directions and both adjoints are gathers with a fixed number of taps per output pixel (axis_map.h): 1 for
//           doubling with {1,1}, 4 for halving with it and for doubling with {1,3,3,1}, 16 for halving with that
// numerics  f32 sums of at most k^2 products in a fixed order
// traffic   reads x, writes y, 2 * taps flop per output: memory-bound up to 4 taps, cache-bound at 16
// measured  2 cores Zen 5, between 32x32 and 16x16, 32x128 maps f32: {1,1} 0.13-0.17 ms either way (21 MB from L3), {1,3,3,1}
//           0.25-0.45 ms. bf16, {1,1}, one thread of a Zen 4 beside other work, in brackets without pairs (vec_bf16.h),
//           128x28x28x32: to 14x14 0.56 ms (0.62), from 14x14 0.42 ms (0.64)
// limits    k >= 1, output sizes >= 1
// source    retort/resample.h
#include "retort/resample.h"

#include <vector>

#include "cpu/axis_map.h"
#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/registry.h"

namespace {

using std::int64_t;

int64_t output_extent(int64_t extent, int64_t taps, bool up) {
  const int64_t pad = (taps - 1) / 2;
  return up ? 2 * (extent - 1) - 2 * pad + taps : (extent + 2 * pad - taps) / 2 + 1;
}

std::vector<rt::AxisMap::Entry> entries(int64_t extent, const double* filter, int64_t taps, bool up) {
  const int64_t pad = (taps - 1) / 2;
  const int64_t outputs = output_extent(extent, taps, up);
  double sum = 0;
  for (int64_t t = 0; t < taps; ++t) {
    sum += filter[t];
  }
  std::vector<rt::AxisMap::Entry> entries;
  for (int64_t coarse = 0; coarse < (up ? extent : outputs); ++coarse) {
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t fine = 2 * coarse + t - pad;
      if (fine < 0 || fine >= (up ? outputs : extent)) {
        continue;
      }
      const double weight = filter[t] / sum;
      entries.push_back(up ? rt::AxisMap::Entry{fine, coarse, static_cast<float>(2 * weight)}
                           : rt::AxisMap::Entry{coarse, fine, static_cast<float>(weight)});
    }
  }
  return entries;
}

}  // namespace

rt_status rt_resample_forward(const void* x, void* y, const double* filter, int64_t taps, int32_t up, int64_t n,
                              int64_t height, int64_t width, int64_t channels, int32_t dtype) {
  return rt::guarded([&] {
    const auto map = [&](int64_t extent) {
      return rt::AxisMap(extent, output_extent(extent, taps, up != 0), entries(extent, filter, taps, up != 0));
    };
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      rt::apply(map(height), map(width), static_cast<const T*>(x), static_cast<T*>(y), n, channels);
    });
  });
}
RT_EXPORT(rt_resample_forward);

rt_status rt_resample_backward(const void* dy, void* dx, const double* filter, int64_t taps, int32_t up, int64_t n,
                               int64_t height, int64_t width, int64_t channels, int32_t dtype) {
  return rt::guarded([&] {
    const auto map = [&](int64_t extent) {
      return rt::AxisMap::transposed(extent, output_extent(extent, taps, up != 0),
                                     entries(extent, filter, taps, up != 0));
    };
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      rt::apply(map(height), map(width), static_cast<const T*>(dy), static_cast<T*>(dx), n, channels);
    });
  });
}
RT_EXPORT(rt_resample_backward);
