// matmul.cpp   c = op(a) op(b) + bias, batched, through oneDNN; dense layers are such products
// shapes    op(a) (B, m, k), op(b) (B, k, n), c (B, m, n), bias (n)
// numerics  float32 sums; a float32 weight is rounded to bfloat16 for a product with bfloat16
// traffic   2 B m n k FLOP: compute-bound from about 64 rows on, below it one read of b
// measured  2 cores Zen 5, two threads, dense layers: 2048^3 38 ms (86 % of 530 GFLOP/s), bf16 20 ms (89 % of 970);
//           8192 x 128 -> 384 1.74 ms (87 %), bf16 0.90 ms (92 %); 16 x 256 -> 256 12 us, dx 9 us, dw 9.5 us on one
//           thread (67-89 % of 265); 1 x 16 -> 16 0.8 us, all of it overhead
// limits    every extent at least 1
// source    oneDNN matmul primitive. b is packed for every call where many rows win that back: 2048^3 1.04 times as fast
//           on two cores of a Zen 4 (bf16 1.06), 32768 x 128 -> 128 1.04 to 1.08 (1.02); a 512^3 would lose 5 %
//           (one run at real-time priority beside other work). A dense layer's weight may be laid out once for many calls
//           (rt_linear_pack), with the same sums to the last bit: 1152 -> 4608 on that machine, caches flushed, of the time
//           without: f32 1, 16, 256, 1024 rows .26, .56, .89, .91; bf16, which rounds the weight as well, .37, .23, .75, .90
#include "retort/matmul.h"

#include <array>

#include "cpu/column_sums.h"
#include "cpu/error.h"
#include "cpu/onednn.h"
#include "cpu/packed_weights.h"
#include "cpu/registry.h"
#include "cpu/threads.h"

namespace {

using rt::onednn::Desc;
using rt::onednn::Plan;
using rt::onednn::Tag;
using rt::onednn::Type;

// FLOP that one core does in about 25 us in float32, twice as many in bfloat16: below it a second thread arrives too
// late.
constexpr double kAloneFlop = 6.0e6;

// Rows and FLOP from which packing b pays; turning it as well needs more rows.
constexpr std::int64_t kPackRows = 2048;
constexpr std::int64_t kPackTurnedRows = 8192;
constexpr double kPackFlop = 5.0e8;

// Rows up to which a weight that is laid out once saves more than about 4 % of a call.
constexpr std::int64_t kMostKeptRows = 4096;

// One operand: what is stored at an address.
struct Operand {
  const void* address;
  Type stored;
  bool transposed;
  bool laid_out = false;  // a right factor as the primitive wants it, not (columns, rows)
};

struct Product {
  std::int64_t batch, m, n, k;
  Operand a, b;
  Type compute, result;
  bool biased;

  // A batch of (rows, columns), stored (columns, rows) if transposed.
  Desc matrices(std::int64_t rows, std::int64_t columns, Type type, bool transposed) const {
    return {{batch, rows, columns}, type, transposed ? Tag::acb : Tag::abc};
  }
  Desc bias() const { return {{1, 1, n}, Type::f32, Tag::abc}; }

  // b as the primitive wants it.
  Desc right() const {
    const bool many = batch == 1 && m >= (b.transposed ? kPackTurnedRows : kPackRows) && flop() >= kPackFlop;
    return many || b.laid_out ? Desc({batch, k, n}, compute, Tag::any) : matrices(k, n, compute, b.transposed);
  }

  // The type that the primitive writes.
  Type computed() const { return compute == Type::f32 ? Type::f32 : result; }

  double flop() const {
    return 2.0 * static_cast<double>(batch) * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
};

dnnl::matmul::primitive_desc describe(const Product& product) {
  const Desc left = product.matrices(product.m, product.k, product.compute, product.a.transposed);
  const Desc target = product.matrices(product.m, product.n, product.computed(), false);
  const auto attributes = rt::onednn::attributes();
  return product.biased ? dnnl::matmul::primitive_desc(rt::onednn::engine(), left, product.right(), product.bias(),
                                                       target, attributes)
                        : dnnl::matmul::primitive_desc(rt::onednn::engine(), left, product.right(), target, attributes);
}

Plan build(const Product& product) {
  const auto [batch, m, n, k, a, b, compute, result, biased] = product;
  const auto description = describe(product);
  Plan plan;
  const auto stored_a = plan.external(product.matrices(m, k, a.stored, a.transposed));
  const auto stored_b =
      plan.external(b.laid_out ? description.weights_desc() : product.matrices(k, n, b.stored, b.transposed));
  const auto bias = plan.external(product.bias());
  const auto c = plan.external(product.matrices(m, n, result, false));
  const auto staged = plan.staged(c, description.dst_desc());
  std::vector<std::pair<int, Plan::Slot>> arguments = {
      {DNNL_ARG_SRC, plan.reordered(stored_a, description.src_desc())},
      {DNNL_ARG_WEIGHTS, plan.reordered(stored_b, description.weights_desc())},
      {DNNL_ARG_DST, staged}};
  if (biased) {
    arguments.emplace_back(DNNL_ARG_BIAS, bias);
  }
  plan.step(dnnl::matmul(description), description.scratchpad_desc(), arguments);
  plan.deliver(staged, c);
  return plan;
}

using Plans = rt::onednn::PlanCache<13>;

// The plan of `product` among a thread's, made by `build`.
template <class Build>
Plan& planned(const char* operation, Plans& plans, const Product& product, Build&& build) {
  const auto number = [](Type type) { return static_cast<std::int64_t>(type); };
  return rt::onednn::planned(operation, plans,
                             {product.batch, product.m, product.n, product.k, number(product.a.stored),
                              product.a.transposed, number(product.b.stored), product.b.transposed,
                              product.b.laid_out, number(product.compute), number(product.result), product.biased},
                             build);
}

rt::ThreadLimit limit_of(const Product& product) {
  const double worth_a_team = product.compute == Type::bf16 ? 2 * kAloneFlop : kAloneFlop;
  return rt::ThreadLimit(product.flop() < worth_a_team ? 1 : 0);
}

void run(const char* operation, const Product& product, const float* bias, void* c) {
  thread_local Plans plans;
  const auto limit = limit_of(product);
  planned(operation, plans, product, [&] { return build(product); })
      .run(operation, {product.a.address, product.b.address, bias, c});
}

Product linear(const void* x, const void* weight, bool laid_out, std::int64_t rows, std::int64_t in, std::int64_t out,
               std::int32_t dtype, bool biased) {
  const Type type = rt::onednn::storage_type(dtype);
  return {1, rows, out, in, {x, type, false}, {weight, Type::f32, true, laid_out}, rt::onednn::compute_type(dtype),
          type, biased};
}

// Lays the weight of `linear` out.
Plan& packing(const Product& linear) {
  thread_local Plans plans;
  return planned("linear", plans, linear, [&] {
    return rt::onednn::copy(linear.matrices(linear.k, linear.n, Type::f32, true), describe(linear).weights_desc());
  });
}

rt::PackedLayout layout_of(const Product& linear) {
  const auto limit = limit_of(linear);
  const Plan& plan = packing(linear);
  return {plan.layout(), static_cast<std::int64_t>(plan.bytes(1) + 3) / 4};
}

// Whether a product with a weight that is laid out is faster, and the same to the last bit: below AVX2 oneDNN sums a
// single row in another order then.
bool keeping_pays(std::int64_t rows) {
  return rows <= kMostKeptRows && dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx2;
}

}  // namespace

rt_status rt_matmul(const void* a, const void* b, void* c, int64_t batch, int64_t m, int64_t n, int64_t k,
                    int32_t transpose_a, int32_t transpose_b, int32_t dtype) {
  return rt::guarded([&] {
    const Type type = rt::onednn::storage_type(dtype);
    run("matmul",
        {batch, m, n, k, {a, type, transpose_a != 0}, {b, type, transpose_b != 0}, rt::onednn::compute_type(dtype),
         type, false},
        nullptr, c);
  });
}
RT_EXPORT(rt_matmul);

rt_status rt_linear_layout(int64_t rows, int64_t in, int64_t out, int32_t dtype, int64_t* layout) {
  return rt::guarded([&] {
    const Product product = linear(nullptr, nullptr, true, rows, in, out, dtype, false);
    rt::describe(keeping_pays(rows) ? layout_of(product) : rt::PackedLayout{}, layout);
  });
}
RT_EXPORT(rt_linear_layout);

rt_status rt_linear_pack(const float* weight, void* packed, int64_t layout, int64_t rows, int64_t in, int64_t out,
                         int32_t dtype) {
  return rt::guarded([&] {
    const Product product = linear(nullptr, nullptr, true, rows, in, out, dtype, false);
    rt::pack_weights(packed, layout, layout_of(product), [&](float* weights) {
      const auto limit = limit_of(product);
      packing(product).run("linear", {weight, weights});
    });
  });
}
RT_EXPORT(rt_linear_pack);

rt_status rt_linear_forward(const void* x, const float* weight, const void* packed, const float* bias, void* y,
                            int64_t rows, int64_t in, int64_t out, int32_t dtype) {
  return rt::guarded([&] {
    const bool biased = bias != nullptr;
    const float* const known =
        packed == nullptr
            ? nullptr
            : rt::packed_weights(packed, layout_of(linear(x, packed, true, rows, in, out, dtype, biased)));
    run("linear", linear(x, known == nullptr ? weight : known, known != nullptr, rows, in, out, dtype, biased), bias,
        y);
  });
}
RT_EXPORT(rt_linear_forward);

rt_status rt_linear_backward_data(const void* dy, const float* weight, void* dx, int64_t rows, int64_t in,
                                  int64_t out, int32_t dtype) {
  return rt::guarded([&] {
    const Type type = rt::onednn::storage_type(dtype);
    run("linear",
        {1, rows, in, out, {dy, type, false}, {weight, Type::f32, false}, rt::onednn::compute_type(dtype), type, false},
        nullptr, dx);
  });
}
RT_EXPORT(rt_linear_backward_data);

rt_status rt_linear_backward_weight(const void* x, const void* dy, float* dweight, int64_t rows, int64_t in,
                                    int64_t out, int32_t dtype) {
  return rt::guarded([&] {
    const Type type = rt::onednn::storage_type(dtype);
    run("linear",
        {1, out, in, rows, {dy, type, true}, {x, type, false}, rt::onednn::compute_type(dtype), Type::f32, false},
        nullptr, dweight);
  });
}
RT_EXPORT(rt_linear_backward_weight);

rt_status rt_linear_backward_bias(const void* dy, float* dbias, int64_t rows, int64_t out, int32_t dtype) {
  return rt::guarded([&] { rt::column_sums(dy, dtype, rows, out, dbias); });
}
RT_EXPORT(rt_linear_backward_bias);
