// conv2d.cpp   y = x * weight + bias, channels-last, through oneDNN
// source    oneDNN convolution primitives, algorithm convolution_direct
#include "retort/conv2d.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "cpu/column_sums.h"
#include "cpu/conv2d_thin.h"
#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/gemm.h"
#include "cpu/onednn.h"
#include "cpu/registry.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace {

using rt::onednn::Desc;
using rt::onednn::Plan;
using rt::onednn::Tag;
using rt::onednn::Type;

// FLOP that one core does in about 20 us: below it a second thread arrives too late.
constexpr double kAloneFlop = 4.0e6;

// Threads with a weight gradient of their own; on more of them adding the gradients up would show.
constexpr std::int64_t kMostParts = 8;

enum Kind : std::int64_t { kForward, kBackwardData, kBackwardWeights };

struct Conv {
  std::int64_t n, h, w, c_in, c_out, kh, kw, stride, padding, groups;
  std::int32_t dtype;

  std::int64_t out(std::int64_t extent, std::int64_t kernel) const {
    return (extent + 2 * padding - kernel) / stride + 1;
  }
  dnnl::memory::dims x() const { return {n, c_in, h, w}; }
  dnnl::memory::dims y() const { return {n, c_out, out(h, kh), out(w, kw)}; }
  dnnl::memory::dims weight() const { return {groups, c_out / groups, c_in / groups, kh, kw}; }
  dnnl::memory::dims strides() const { return {stride, stride}; }
  dnnl::memory::dims pads() const { return {padding, padding}; }

  // oneDNN pads the two ends of an axis separately: at the far end only what the last window reads.
  dnnl::memory::dims far_pads() const {
    return {(out(h, kh) - 1) * stride + kh - h - padding, (out(w, kw) - 1) * stride + kw - w - padding};
  }

  // Images as the caller stores them, and as the primitive takes them.
  Desc stored(const dnnl::memory::dims& dims) const { return {dims, rt::onednn::storage_type(dtype), Tag::acdb}; }
  Desc images(const dnnl::memory::dims& dims) const { return {dims, rt::onednn::compute_type(dtype), Tag::acdb}; }
  Desc master() const { return {weight(), Type::f32, Tag::abcde}; }
  Desc packed() const { return {weight(), rt::onednn::compute_type(dtype), Tag::any}; }
  Desc gradient() const { return {weight(), Type::f32, Tag::any}; }
  Desc bias() const { return {{c_out}, Type::f32, Tag::a}; }

  // A matrix product over all pixels.
  bool pointwise() const { return kh == 1 && kw == 1 && stride == 1 && padding == 0 && groups == 1; }

  rt::ThinConv with_thin_input() const {
    return {n, out(h, kh), out(w, kw), c_out, h, w, c_in, kh, kw, padding, 1, dtype};
  }
  rt::ThinConv with_thin_output() const {
    return {n, h, w, c_in, out(h, kh), out(w, kw), c_out, kh, kw, padding, -1, dtype};
  }

  double flop() const {
    return 2.0 * static_cast<double>(n * out(h, kh) * out(w, kw) * c_out) *
           static_cast<double>(c_in / groups * kh * kw);
  }
};

dnnl::convolution_forward::primitive_desc forward_desc(const Conv& conv, bool biased) {
  return {rt::onednn::engine(),
          dnnl::prop_kind::forward_training,
          dnnl::algorithm::convolution_direct,
          conv.images(conv.x()),
          conv.packed(),
          biased ? conv.bias() : Desc(),
          conv.images(conv.y()),
          conv.strides(),
          conv.pads(),
          conv.far_pads(),
          rt::onednn::attributes()};
}

Plan forward(const Conv& conv, bool biased) {
  const auto description = forward_desc(conv, biased);
  Plan plan;
  const auto x = plan.external(conv.stored(conv.x()));
  const auto weight = plan.external(conv.master());
  const auto bias = plan.external(conv.bias());
  const auto y = plan.external(conv.stored(conv.y()));
  const auto result = plan.staged(y, description.dst_desc());
  std::vector<std::pair<int, Plan::Slot>> arguments = {{DNNL_ARG_SRC, plan.reordered(x, description.src_desc())},
                                                       {DNNL_ARG_WEIGHTS, plan.reordered(weight, description.weights_desc())},
                                                       {DNNL_ARG_DST, result}};
  if (biased) {
    arguments.emplace_back(DNNL_ARG_BIAS, bias);
  }
  plan.step(dnnl::convolution_forward(description), description.scratchpad_desc(), arguments);
  plan.deliver(result, y);
  return plan;
}

Plan backward_data(const Conv& conv) {
  const dnnl::convolution_backward_data::primitive_desc description(
      rt::onednn::engine(), dnnl::algorithm::convolution_direct, conv.images(conv.x()), conv.packed(),
      conv.images(conv.y()), conv.strides(), conv.pads(), conv.far_pads(), forward_desc(conv, false),
      rt::onednn::attributes());
  Plan plan;
  const auto dy = plan.external(conv.stored(conv.y()));
  const auto weight = plan.external(conv.master());
  const auto dx = plan.external(conv.stored(conv.x()));
  const auto result = plan.staged(dx, description.diff_src_desc());
  plan.step(dnnl::convolution_backward_data(description), description.scratchpad_desc(),
            {{DNNL_ARG_DIFF_DST, plan.reordered(dy, description.diff_dst_desc())},
             {DNNL_ARG_WEIGHTS, plan.reordered(weight, description.weights_desc())},
             {DNNL_ARG_DIFF_SRC, result}});
  plan.deliver(result, dx);
  return plan;
}

Plan backward_weights(const Conv& conv, bool biased) {
  const dnnl::convolution_backward_weights::primitive_desc description(
      rt::onednn::engine(), dnnl::algorithm::convolution_direct, conv.images(conv.x()), conv.gradient(),
      biased ? conv.bias() : Desc(), conv.images(conv.y()), conv.strides(), conv.pads(), conv.far_pads(),
      forward_desc(conv, biased), rt::onednn::attributes());
  Plan plan;
  const auto x = plan.external(conv.stored(conv.x()));
  const auto dy = plan.external(conv.stored(conv.y()));
  const auto dweight = plan.external(conv.master());
  const auto dbias = plan.external(conv.bias());
  const auto result = plan.staged(dweight, description.diff_weights_desc());
  std::vector<std::pair<int, Plan::Slot>> arguments = {{DNNL_ARG_SRC, plan.reordered(x, description.src_desc())},
                                                       {DNNL_ARG_DIFF_DST, plan.reordered(dy, description.diff_dst_desc())},
                                                       {DNNL_ARG_DIFF_WEIGHTS, result}};
  if (biased) {
    arguments.emplace_back(DNNL_ARG_DIFF_BIAS, dbias);
  }
  plan.step(dnnl::convolution_backward_weights(description), description.scratchpad_desc(), arguments);
  plan.deliver(result, dweight);
  return plan;
}

// Runs the plan of one kind and shape on these addresses.
void run(Kind kind, const Conv& conv, bool biased, std::initializer_list<const void*> addresses) {
  thread_local rt::onednn::PlanCache<14> plans;
  const auto build = [&] {
    switch (kind) {
      case kForward:
        return forward(conv, biased);
      case kBackwardData:
        return backward_data(conv);
      default:
        return backward_weights(conv, biased);
    }
  };
  rt::onednn::run("conv2d", plans,
                  {kind, conv.n, conv.h, conv.w, conv.c_in, conv.c_out, conv.kh, conv.kw, conv.stride, conv.padding,
                   conv.groups, conv.dtype, biased},
                  build, addresses);
}

rt::ThreadLimit limit_of(const Conv& conv) { return rt::ThreadLimit(conv.flop() < kAloneFlop ? 1 : 0); }

// The weight gradient of images [first, first + conv.n).
void images_weight_gradient(const Conv& conv, std::int64_t first, const void* x, const void* dy, float* dweight,
                            float* dbias) {
  const std::size_t element = conv.dtype == RT_F32 ? sizeof(float) : sizeof(rt::bf16);
  const void* part_x = static_cast<const std::byte*>(x) + element * first * conv.h * conv.w * conv.c_in;
  const void* part_dy =
      static_cast<const std::byte*>(dy) + element * first * conv.out(conv.h, conv.kh) * conv.out(conv.w, conv.kw) * conv.c_out;
  if (conv.pointwise() && conv.dtype == RT_F32) {
    rt::gemm(rt::Transpose::yes, rt::Transpose::no, conv.c_out, conv.c_in, conv.n * conv.h * conv.w, 1.0f,
             static_cast<const float*>(part_dy), conv.c_out, static_cast<const float*>(part_x), conv.c_in, 0.0f,
             dweight, conv.c_in);
    return;
  }
  run(kBackwardWeights, conv, dbias != nullptr, {part_x, part_dy, dweight, dbias});
}

// Each thread takes a run of images and a gradient of its own, which are then added in order: oneDNN's own division
// makes its threads spin on each other, which costs several times the work as soon as a core has something else to do.
void weight_gradient(const Conv& conv, const void* x, const void* dy, float* dweight, float* dbias) {
  if (dbias != nullptr && conv.pointwise() && conv.dtype == RT_F32) {
    rt::column_sums(dy, conv.dtype, conv.n * conv.h * conv.w, conv.c_out, dbias);
    dbias = nullptr;
  }
  const auto limit = limit_of(conv);
  const std::int64_t parts = std::min<std::int64_t>(rt::team_size(), conv.n);
  if (parts == 1 || parts > kMostParts) {
    images_weight_gradient(conv, 0, x, dy, dweight, dbias);
    return;
  }
  const std::int64_t weights = conv.c_out * (conv.c_in / conv.groups) * conv.kh * conv.kw;
  const std::int64_t part_floats = (weights + conv.c_out + 15) / 16 * 16;
  float* others = rt::scratch((parts - 1) * part_floats) - part_floats;
  rt::parallel(static_cast<int>(parts), [&](int part) {
    Conv images = conv;
    const std::int64_t first = conv.n * part / parts;
    images.n = conv.n * (part + 1) / parts - first;
    float* own = others + part * part_floats;
    images_weight_gradient(images, first, x, dy, part == 0 ? dweight : own,
                           dbias == nullptr || part == 0 ? dbias : own + weights);
  });
  for (std::int64_t part = 1; part < parts; ++part) {
    const float* other = others + part * part_floats;
    std::transform(other, other + weights, dweight, dweight, std::plus<>());
    if (dbias != nullptr) {
      std::transform(other + weights, other + weights + conv.c_out, dbias, dbias, std::plus<>());
    }
  }
}

}  // namespace

rt_status rt_conv2d_forward(const void* x, const float* weight, const float* bias, void* y, int64_t n, int64_t h,
                            int64_t w, int64_t c_in, int64_t c_out, int64_t kh, int64_t kw, int64_t stride,
                            int64_t padding, int64_t groups, int32_t dtype) {
  return rt::guarded([&] {
    const Conv conv{n, h, w, c_in, c_out, kh, kw, stride, padding, groups, dtype};
    if (rt::thin_pays(c_out, kh, kw, stride, groups)) {
      rt::thin_from_wide(conv.with_thin_output(), x, weight, bias, y);
      return;
    }
    const auto limit = limit_of(conv);
    run(kForward, conv, bias != nullptr, {x, weight, bias, y});
  });
}
RT_EXPORT(rt_conv2d_forward);

rt_status rt_conv2d_backward_data(const void* dy, const float* weight, void* dx, int64_t n, int64_t h, int64_t w,
                                  int64_t c_in, int64_t c_out, int64_t kh, int64_t kw, int64_t stride,
                                  int64_t padding, int64_t groups, int32_t dtype) {
  return rt::guarded([&] {
    const Conv conv{n, h, w, c_in, c_out, kh, kw, stride, padding, groups, dtype};
    if (rt::thin_pays(c_in, kh, kw, stride, groups)) {
      rt::thin_from_wide(conv.with_thin_input(), dy, weight, nullptr, dx);
      return;
    }
    const auto limit = limit_of(conv);
    run(kBackwardData, conv, false, {dy, weight, dx});
  });
}
RT_EXPORT(rt_conv2d_backward_data);

rt_status rt_conv2d_backward_weights(const void* x, const void* dy, float* dweight, float* dbias, int64_t n,
                                     int64_t h, int64_t w, int64_t c_in, int64_t c_out, int64_t kh, int64_t kw,
                                     int64_t stride, int64_t padding, int64_t groups, int32_t dtype) {
  return rt::guarded([&] {
    const Conv conv{n, h, w, c_in, c_out, kh, kw, stride, padding, groups, dtype};
    if (!rt::thin_pays(std::min(c_in, c_out), kh, kw, stride, groups)) {
      weight_gradient(conv, x, dy, dweight, dbias);
      return;
    }
    if (c_in <= c_out) {
      rt::thin_weight_gradient(conv.with_thin_input(), dy, x, dweight);
    } else {
      rt::thin_weight_gradient(conv.with_thin_output(), x, dy, dweight);
    }
    if (dbias != nullptr) {
      rt::column_sums(dy, dtype, n * conv.out(h, kh) * conv.out(w, kw), c_out, dbias);
    }
  });
}
RT_EXPORT(rt_conv2d_backward_weights);
