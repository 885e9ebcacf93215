// conv2d.cpp   y = x * weight + bias, channels-last, and its gradients, through oneDNN; thin sides in conv2d_thin.cpp,
//                3x3 kernels that pay for it in conv2d_winograd.cpp; what follows is about the direct product
// shapes    x (N, H, W, Cin), y (N, Ho, Wo, Cout) f32 or bf16; weight (Cout, Cin/groups, kh, kw), bias (Cout) f32
// threads   images are cut into chunks of about 2 MB which threads take in turn, each with a primitive made for one
//           thread; too few images are left to oneDNN's own division
// tail      scale * (y + shift + residual) by the thread that made a chunk of y, while that is in its cache
// numerics  float32 sums, in bf16 rounded before a tail and after it. Outputs do not depend on the number of threads; a
//           weight gradient is the sum of one part a thread in order, bit-identical from run to run for one number of
//           threads
// traffic   2 N Ho Wo Cout Cin/groups kh kw FLOP each way; one read of the weights to lay them out anew for each call,
//           or, up to 4096 pixels, once for many calls (rt_conv2d_pack). Compute-bound from about 16 channels on
// measured  2 cores Zen 5 (530 GFLOP/s f32, 970 bf16), batch 32, ms forward / data / weights (GFLOP/s):
//           64->64   32x32  f32 5.3 / 5.4 / 5.9 (452 / 446 / 407)      bf16 2.6 / 2.6 / 3.3 (915 / 921 / 741)
//           128->128 16x16  f32 4.7 / 4.7 / 5.3 (517 / 513 / 453)      bf16 2.4 / 2.4 / 2.9 (1002 / 1002 / 824)
//           256->128 16x16  f32 9.7 / 9.9 / 10.7 (498 / 486 / 450)     bf16 4.9 / 4.9 / 6.2 (995 / 993 / 777)
//           128->128 8x8    f32 1.15 / 1.16 / 1.22 (524 / 522 / 493)   bf16 0.64 / 0.65 / 0.80 (939 / 933 / 753)
//           batch 64, f32: 32->32 28x28 2.0 / 2.0 / 2.2 (465 / 453 / 430); 64->64 14x14 1.9 / 1.9 / 2.0
//           (499 / 499 / 460); 96->96 7x7 1.0 / 1.0 / 1.0 (522 / 523 / 524)
//           1x1 64->64 14x14 batch 32 f32, one thread of a Zen 4 beside other work: with a tail .91 (shift) and .93 (residual)
//           of the time with a pass of its own behind
//           with weights laid out before, two threads of a Zen 4, caches flushed, of the time without: 3x3 bf16 one image
//           16x16 256->256 .53, 8x8 .34; four .81, .52; sixteen .94, .78. f32 one image 8x8 256->256 .54
// limits    every extent in [1, 2^31); any kernel, stride, padding and groups. bf16 on a CPU that cannot multiply it is
//           widened to f32 first
// source    oneDNN convolution primitives, algorithm convolution_direct
#include "retort/conv2d.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "cpu/column_sums.h"
#include "cpu/conv2d_tail.h"
#include "cpu/conv2d_thin.h"
#include "cpu/conv2d_winograd.h"
#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/gemm.h"
#include "cpu/onednn.h"
#include "cpu/packed_weights.h"
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

constexpr const char* kName = "conv2d";

// Bytes of input and output that a thread works on at a time: what stays close to a core.
constexpr std::int64_t kChunkBytes = 2 << 20;

// Up to here reading weights that were laid out before takes at most about 95 % of the time: beyond, those that were laid
// out for the call are still in the caches.
constexpr std::int64_t kMostKeptTiles = 256;
constexpr std::int64_t kMostKeptPixels = 4096;

// Tells layouts of Winograd's points from oneDNN's.
constexpr std::int64_t kWinograd = 3636;

enum Kind : std::int64_t { kForward, kBackwardData, kBackwardWeights, kPackForward, kPackData, kUnpackWeights };

struct Conv {
  std::int64_t n, h, w, c_in, c_out, kh, kw, stride, padding, groups;
  std::int32_t dtype;
  bool solo = false;  // run by one thread of several: primitives, and so their layouts of weights, are made for one

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

  bool winograd_pays(rt::WinogradPass pass) const {
    return rt::winograd_pays(pass, winograd(), kh, kw, stride, padding, groups);
  }
  rt::WinogradConv winograd() const { return {n, h, w, c_in, c_out, dtype}; }

  std::int64_t weights() const { return c_out * (c_in / groups) * kh * kw; }
  std::int64_t element() const { return dtype == RT_F32 ? sizeof(float) : sizeof(rt::bf16); }
  std::int64_t x_bytes() const { return h * w * c_in * element(); }
  std::int64_t y_bytes() const { return out(h, kh) * out(w, kw) * c_out * element(); }
  std::int64_t image_bytes() const { return x_bytes() + y_bytes(); }

  double flop() const {
    return 2.0 * static_cast<double>(n * out(h, kh) * out(w, kw) * c_out) *
           static_cast<double>(c_in / groups * kh * kw);
  }
};

std::int64_t padded(std::int64_t floats) { return (floats + 15) / 16 * 16; }

// Whole cache lines of floats that hold so many bytes.
std::int64_t floats_of(std::size_t bytes) { return padded(static_cast<std::int64_t>((bytes + 3) / 4)); }

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

dnnl::convolution_backward_data::primitive_desc data_desc(const Conv& conv) {
  return {rt::onednn::engine(), dnnl::algorithm::convolution_direct, conv.images(conv.x()),     conv.packed(),
          conv.images(conv.y()), conv.strides(),                      conv.pads(),               conv.far_pads(),
          forward_desc(conv, false), rt::onednn::attributes()};
}

dnnl::convolution_backward_weights::primitive_desc weights_desc(const Conv& conv, bool biased) {
  return {rt::onednn::engine(),
          dnnl::algorithm::convolution_direct,
          conv.images(conv.x()),
          conv.gradient(),
          biased ? conv.bias() : Desc(),
          conv.images(conv.y()),
          conv.strides(),
          conv.pads(),
          conv.far_pads(),
          forward_desc(conv, biased),
          rt::onednn::attributes()};
}

// (x, packed weight, bias) -> y
Plan forward(const Conv& conv, bool biased) {
  const auto description = forward_desc(conv, biased);
  Plan plan;
  const auto x = plan.external(conv.stored(conv.x()));
  const auto weight = plan.external(description.weights_desc());
  const auto bias = plan.external(conv.bias());
  const auto y = plan.external(conv.stored(conv.y()));
  const auto result = plan.staged(y, description.dst_desc());
  std::vector<std::pair<int, Plan::Slot>> arguments = {{DNNL_ARG_SRC, plan.reordered(x, description.src_desc())},
                                                       {DNNL_ARG_WEIGHTS, weight},
                                                       {DNNL_ARG_DST, result}};
  if (biased) {
    arguments.emplace_back(DNNL_ARG_BIAS, bias);
  }
  plan.step(dnnl::convolution_forward(description), description.scratchpad_desc(), arguments);
  plan.deliver(result, y);
  return plan;
}

// (dy, packed weight) -> dx
Plan backward_data(const Conv& conv) {
  const auto description = data_desc(conv);
  Plan plan;
  const auto dy = plan.external(conv.stored(conv.y()));
  const auto weight = plan.external(description.weights_desc());
  const auto dx = plan.external(conv.stored(conv.x()));
  const auto result = plan.staged(dx, description.diff_src_desc());
  plan.step(dnnl::convolution_backward_data(description), description.scratchpad_desc(),
            {{DNNL_ARG_DIFF_DST, plan.reordered(dy, description.diff_dst_desc())},
             {DNNL_ARG_WEIGHTS, weight},
             {DNNL_ARG_DIFF_SRC, result}});
  plan.deliver(result, dx);
  return plan;
}

// (x, dy) -> (packed dweight, dbias)
Plan backward_weights(const Conv& conv, bool biased) {
  const auto description = weights_desc(conv, biased);
  Plan plan;
  const auto x = plan.external(conv.stored(conv.x()));
  const auto dy = plan.external(conv.stored(conv.y()));
  const auto dweight = plan.external(description.diff_weights_desc());
  const auto dbias = plan.external(conv.bias());
  std::vector<std::pair<int, Plan::Slot>> arguments = {
      {DNNL_ARG_SRC, plan.reordered(x, description.src_desc())},
      {DNNL_ARG_DIFF_DST, plan.reordered(dy, description.diff_dst_desc())},
      {DNNL_ARG_DIFF_WEIGHTS, dweight}};
  if (biased) {
    arguments.emplace_back(DNNL_ARG_DIFF_BIAS, dbias);
  }
  plan.step(dnnl::convolution_backward_weights(description), description.scratchpad_desc(), arguments);
  return plan;
}

// The layout of weights that the threads which run the convolution will ask for.
template <class Query>
Desc layout(const Conv& conv, Query&& query) {
  const rt::ThreadLimit limit(conv.solo ? 1 : 0);
  return query();
}

Plan build(Kind kind, const Conv& conv, bool biased) {
  switch (kind) {
    case kForward:
      return forward(conv, biased);
    case kBackwardData:
      return backward_data(conv);
    case kBackwardWeights:
      return backward_weights(conv, biased);
    case kPackForward:
      return rt::onednn::copy(conv.master(), layout(conv, [&] { return forward_desc(conv, biased).weights_desc(); }));
    case kPackData:
      return rt::onednn::copy(conv.master(), layout(conv, [&] { return data_desc(conv).weights_desc(); }));
    default:
      return rt::onednn::copy(layout(conv, [&] { return weights_desc(conv, biased).diff_weights_desc(); }), conv.master());
  }
}

Plan& planned(Kind kind, const Conv& conv, bool biased) {
  thread_local rt::onednn::PlanCache<15> plans;
  return rt::onednn::planned(kName, plans,
                             {kind, conv.n, conv.h, conv.w, conv.c_in, conv.c_out, conv.kh, conv.kw, conv.stride,
                              conv.padding, conv.groups, conv.dtype, biased, conv.solo},
                             [&] { return build(kind, conv, biased); });
}

rt::ThreadLimit limit_of(const Conv& conv) { return rt::ThreadLimit(conv.flop() < kAloneFlop ? 1 : 0); }

// How the images of a call are shared out: `chunks` runs of equal length, each worked on by one thread of `threads`.
// Too few images for that are one chunk, which oneDNN shares out by itself.
struct Division {
  Conv chunk;
  std::int64_t chunks;
  int threads;

  explicit Division(const Conv& conv) : chunk(conv), chunks(1), threads(1) {
    const std::int64_t team = rt::team_size();
    if (conv.n < 2 * team && conv.n % team != 0) {
      return;
    }
    chunk.n = 1;
    const std::int64_t most = std::min(conv.n / team, kChunkBytes / conv.image_bytes());
    for (std::int64_t images = 2; images <= most; ++images) {
      chunk.n = conv.n % images == 0 ? images : chunk.n;
    }
    chunks = conv.n / chunk.n;
    chunk.solo = team > 1;
    threads = static_cast<int>(team);
  }

  const void* x(const void* base, std::int64_t index) const {
    return static_cast<const std::byte*>(base) + index * chunk.n * chunk.x_bytes();
  }
  const void* y(const void* base, std::int64_t index) const {
    return static_cast<const std::byte*>(base) + index * chunk.n * chunk.y_bytes();
  }
};

// Calls work(plan) with the plan that lays out the weights of a call as its primitive wants them.
template <class Work>
auto with_packing(Kind kind, const Conv& chunk, bool biased, Work&& work) {
  // Only for solo: otherwise the layout is asked for here, and depends on the threads that the reader of it is made for.
  const rt::ThreadLimit limit(chunk.solo && chunk.weights() < RT_PARALLEL_MIN ? 1 : 0);
  return work(planned(kind, chunk, biased));
}

// The weights of a call, laid out in this thread's scratch memory.
const float* packed_weight(Kind kind, const Conv& chunk, bool biased, const float* weight) {
  return with_packing(kind, chunk, biased, [&](Plan& plan) {
    float* const packed = rt::scratch(floats_of(plan.bytes(1)));
    plan.run(kName, {weight, packed});
    return packed;
  });
}

// The tail of the images of `conv` that begin at image `first` of y.
void finish(const Conv& conv, const rt::ConvTail& tail, std::int64_t first, void* y) {
  if (tail.any()) {
    const std::int64_t pixels = conv.out(conv.h, conv.kh) * conv.out(conv.w, conv.kw);
    rt::finish_images(tail, conv.dtype, first, conv.n, pixels, conv.c_out, y);
  }
}

void forward(const Conv& conv, const void* x, const float* weight, const float* laid_out, const float* bias,
             const rt::ConvTail& tail, void* y) {
  const auto limit = limit_of(conv);
  const Division division(conv);
  const bool biased = bias != nullptr;
  const float* packed = laid_out != nullptr ? laid_out : packed_weight(kPackForward, division.chunk, biased, weight);
  rt::parallel(division.threads, division.chunks, [&](std::int64_t index) {
    planned(kForward, division.chunk, biased).run(kName, {division.x(x, index), packed, bias, division.y(y, index)});
    if (division.chunks > 1) {
      finish(division.chunk, tail, index * division.chunk.n, y);
    }
  });
  if (division.chunks == 1) {
    Conv image = conv;
    image.n = 1;
    rt::parallel(tail.any() ? rt::team_size() : 1, conv.n, [&](std::int64_t index) { finish(image, tail, index, y); });
  }
}

void data_gradient(const Conv& conv, const void* dy, const float* weight, const float* laid_out, void* dx) {
  const auto limit = limit_of(conv);
  const Division division(conv);
  const float* packed = laid_out != nullptr ? laid_out : packed_weight(kPackData, division.chunk, false, weight);
  rt::parallel(division.threads, division.chunks, [&](std::int64_t index) {
    planned(kBackwardData, division.chunk, false).run(kName, {division.y(dy, index), packed, division.x(dx, index)});
  });
}

void add(const float* other, std::int64_t count, float* sum) {
  std::transform(other, other + count, sum, sum, std::plus<>());
}

// Each thread adds up the gradients of its chunks, in the primitive's layout with the bias behind; the threads' sums
// are then added in order. oneDNN's own division makes its threads spin on each other, which costs several times the
// work as soon as a core has something else to do.
void weight_gradient(const Conv& conv, const void* x, const void* dy, float* dweight, float* dbias) {
  const auto limit = limit_of(conv);
  const Division division(conv);
  const bool biased = dbias != nullptr;
  Plan& unpack = planned(kUnpackWeights, division.chunk, biased);
  const std::int64_t weights = floats_of(unpack.bytes(0));
  const std::int64_t floats = weights + padded(conv.c_out);
  float* sums = rt::scratch(2 * division.threads * floats);
  rt::parallel(division.threads, division.threads, [&](std::int64_t thread) {
    Plan& plan = planned(kBackwardWeights, division.chunk, biased);
    float* sum = sums + thread * floats;
    float* own = sums + (division.threads + thread) * floats;
    const std::int64_t first = division.chunks * thread / division.threads;
    for (std::int64_t index = first; index < division.chunks * (thread + 1) / division.threads; ++index) {
      float* target = index == first ? sum : own;
      plan.run(kName, {division.x(x, index), division.y(dy, index), target, target + weights});
      if (target == own) {
        add(own, biased ? weights + conv.c_out : weights, sum);
      }
    }
  });
  for (int thread = 1; thread < division.threads; ++thread) {
    add(sums + thread * floats, biased ? weights + conv.c_out : weights, sums);
  }
  unpack.run(kName, {sums, dweight});
  if (biased) {
    std::copy_n(sums + weights, conv.c_out, dbias);
  }
}

// The same for a 1x1 kernel in float32: dweight = dy^T x over all pixels, divided among the threads.
void pointwise_weight_gradient(const Conv& conv, const float* x, const float* dy, float* dweight) {
  const auto limit = limit_of(conv);
  const std::int64_t pixels = conv.n * conv.h * conv.w;
  const std::int64_t parts = std::min<std::int64_t>(rt::team_size(), conv.n);
  float* others = rt::scratch((parts - 1) * padded(conv.weights())) - padded(conv.weights());
  rt::parallel(static_cast<int>(parts), parts, [&](std::int64_t part) {
    const std::int64_t first = pixels * part / parts;
    rt::gemm(rt::Transpose::yes, rt::Transpose::no, conv.c_out, conv.c_in, pixels * (part + 1) / parts - first, 1.0f,
             dy + first * conv.c_out, conv.c_out, x + first * conv.c_in, conv.c_in, 0.0f,
             part == 0 ? dweight : others + part * padded(conv.weights()), conv.c_in);
  });
  for (std::int64_t part = 1; part < parts; ++part) {
    add(others + part * padded(conv.weights()), conv.weights(), dweight);
  }
}

// How a call wants its weights. `kind` is one of the two for packing.
rt::PackedLayout layout_of(Kind kind, const Conv& conv, bool biased) {
  if (rt::thin_pays(kind == kPackForward ? conv.c_out : conv.c_in, conv.kh, conv.kw, conv.stride, conv.groups)) {
    return {};
  }
  if (conv.winograd_pays(rt::WinogradPass::images)) {
    const std::array<std::int64_t, 4> numbers{kWinograd, kind, conv.c_in, conv.c_out};
    return {static_cast<std::int64_t>(rt::onednn::KeyHash<4>{}(numbers) | 1), rt::winograd_points(conv.winograd())};
  }
  const auto limit = limit_of(conv);
  return with_packing(kind, Division(conv).chunk, biased, [](const Plan& plan) {
    return rt::PackedLayout{plan.layout(), floats_of(plan.bytes(1))};
  });
}

// Whether laying out the weights takes so much of a call that it is worth their memory to do it once.
bool keeping_pays(const Conv& conv) {
  return conv.winograd_pays(rt::WinogradPass::images)
             ? rt::winograd_tiles(conv.winograd()) <= kMostKeptTiles
             : conv.n * conv.out(conv.h, conv.kh) * conv.out(conv.w, conv.kw) <= kMostKeptPixels;
}

// The weights in a block of rt_conv2d_pack, or null where there is none or it is for another kind of call.
const float* weights_in(const void* block, Kind kind, const Conv& conv, bool biased) {
  return block == nullptr ? nullptr : rt::packed_weights(block, layout_of(kind, conv, biased));
}

Kind packing_of(std::int32_t pass) { return pass == RT_CONV2D_FORWARD ? kPackForward : kPackData; }

}  // namespace

rt_status rt_conv2d_layout(int64_t n, int64_t h, int64_t w, int64_t c_in, int64_t c_out, int64_t kh, int64_t kw,
                           int64_t stride, int64_t padding, int64_t groups, int32_t dtype, int32_t pass,
                           int64_t* layout) {
  return rt::guarded([&] {
    const Conv conv{n, h, w, c_in, c_out, kh, kw, stride, padding, groups, dtype};
    rt::describe(keeping_pays(conv) ? layout_of(packing_of(pass), conv, false) : rt::PackedLayout{}, layout);
  });
}
RT_EXPORT(rt_conv2d_layout);

rt_status rt_conv2d_pack(const float* weight, void* packed, int64_t layout, int64_t n, int64_t h, int64_t w,
                         int64_t c_in, int64_t c_out, int64_t kh, int64_t kw, int64_t stride, int64_t padding,
                         int64_t groups, int32_t dtype, int32_t pass) {
  return rt::guarded([&] {
    const Conv conv{n, h, w, c_in, c_out, kh, kw, stride, padding, groups, dtype};
    const Kind kind = packing_of(pass);
    rt::pack_weights(packed, layout, layout_of(kind, conv, false), [&](float* weights) {
      if (!conv.winograd_pays(rt::WinogradPass::images)) {
        const auto limit = limit_of(conv);
        with_packing(kind, Division(conv).chunk, false, [&](Plan& plan) { plan.run(kName, {weight, weights}); });
      } else if (kind == kPackForward) {
        rt::winograd_pack_forward(conv.winograd(), weight, weights);
      } else {
        rt::winograd_pack_data(conv.winograd(), weight, weights);
      }
    });
  });
}
RT_EXPORT(rt_conv2d_pack);

rt_status rt_conv2d_forward(const void* x, const float* weight, const void* packed, const float* bias,
                            const float* shift, const void* residual, double scale, void* y, int64_t n, int64_t h,
                            int64_t w, int64_t c_in, int64_t c_out, int64_t kh, int64_t kw, int64_t stride,
                            int64_t padding, int64_t groups, int32_t dtype) {
  return rt::guarded([&] {
    const Conv conv{n, h, w, c_in, c_out, kh, kw, stride, padding, groups, dtype};
    const rt::ConvTail tail{shift, residual, static_cast<float>(scale)};
    const float* const laid_out = weights_in(packed, kPackForward, conv, bias != nullptr);
    if (rt::thin_pays(c_out, kh, kw, stride, groups)) {
      rt::thin_from_wide(conv.with_thin_output(), x, weight, bias, tail, y);
    } else if (conv.winograd_pays(rt::WinogradPass::images)) {
      rt::winograd_forward(conv.winograd(), x, weight, laid_out, bias, tail, y);
    } else {
      forward(conv, x, weight, laid_out, bias, tail, y);
    }
  });
}
RT_EXPORT(rt_conv2d_forward);

rt_status rt_conv2d_backward_data(const void* dy, const float* weight, const void* packed, void* dx, int64_t n,
                                  int64_t h, int64_t w, int64_t c_in, int64_t c_out, int64_t kh, int64_t kw,
                                  int64_t stride, int64_t padding, int64_t groups, int32_t dtype) {
  return rt::guarded([&] {
    const Conv conv{n, h, w, c_in, c_out, kh, kw, stride, padding, groups, dtype};
    const float* const laid_out = weights_in(packed, kPackData, conv, false);
    if (rt::thin_pays(c_in, kh, kw, stride, groups)) {
      rt::thin_from_wide(conv.with_thin_input(), dy, weight, nullptr, {}, dx);
    } else if (conv.winograd_pays(rt::WinogradPass::images)) {
      rt::winograd_data_gradient(conv.winograd(), dy, weight, laid_out, dx);
    } else {
      data_gradient(conv, dy, weight, laid_out, dx);
    }
  });
}
RT_EXPORT(rt_conv2d_backward_data);

rt_status rt_conv2d_backward_weights(const void* x, const void* dy, float* dweight, float* dbias, int64_t n,
                                     int64_t h, int64_t w, int64_t c_in, int64_t c_out, int64_t kh, int64_t kw,
                                     int64_t stride, int64_t padding, int64_t groups, int32_t dtype) {
  return rt::guarded([&] {
    const Conv conv{n, h, w, c_in, c_out, kh, kw, stride, padding, groups, dtype};
    const bool thin = rt::thin_pays(std::min(c_in, c_out), kh, kw, stride, groups);
    const bool winograd = !thin && conv.winograd_pays(rt::WinogradPass::weight_gradient);
    if (!thin && !winograd && !(conv.pointwise() && dtype == RT_F32)) {
      weight_gradient(conv, x, dy, dweight, dbias);
      return;
    }
    if (winograd) {
      rt::winograd_weight_gradient(conv.winograd(), x, dy, dweight);
    } else if (!thin) {
      pointwise_weight_gradient(conv, static_cast<const float*>(x), static_cast<const float*>(dy), dweight);
    } else if (c_in <= c_out) {
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
