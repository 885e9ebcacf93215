// onednn.cpp   plans of oneDNN primitives; see onednn.h
// numerics  reorders between float32 and bfloat16 round to nearest even
// limits    one CPU engine a process, one stream and one arena a thread; the arena only grows
// source    oneDNN 3.13 C++ API
#include "cpu/onednn.h"

#include <cstdlib>
#include <memory>
#include <new>

#include "cpu/error.h"

namespace rt::onednn {
namespace {

constexpr std::size_t kAlignment = 64;  // of every temporary: a cache line, a full vector

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

dnnl::stream& stream() {
  thread_local dnnl::stream instance(engine());
  return instance;
}

struct Free {
  void operator()(std::byte* block) const noexcept { std::free(block); }
};

// At least `bytes` bytes, valid until this thread's next call.
std::byte* arena(std::size_t bytes) {
  thread_local std::unique_ptr<std::byte, Free> block;
  thread_local std::size_t capacity = 0;
  if (capacity < bytes) {
    block.reset();
    capacity = 0;
    block.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, aligned(bytes))));
    if (block == nullptr) {
      throw std::bad_alloc();
    }
    capacity = aligned(bytes);
  }
  return block.get();
}

void set_address(dnnl::memory& memory, const void* address) {
  dnnl::error::wrap_c_api(dnnl_memory_set_data_handle(memory.get(), const_cast<void*>(address)),
                          "an address was refused");
}

// Numbers of one layout in one, never 0.
std::int64_t number_of(const Desc& desc) {
  std::uint64_t hash = static_cast<std::uint64_t>(desc.get_data_type()) + desc.get_size();
  const auto take = [&hash](const dnnl::memory::dims& numbers) {
    for (const std::int64_t number : numbers) {
      hash = (hash ^ static_cast<std::uint64_t>(number)) * 0xff51afd7ed558ccdu;
      hash ^= hash >> 32;
    }
  };
  take(desc.get_dims());
  take(desc.get_padded_dims());
  take(desc.get_strides());
  take(desc.get_inner_blks());
  take(desc.get_inner_idxs());
  return static_cast<std::int64_t>(hash | 1);
}

}  // namespace

dnnl::engine& engine() {
  // Never destroyed: other threads may still be computing while the process exits.
  static dnnl::engine& instance = *new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return instance;
}

Type storage_type(std::int32_t dtype) {
  switch (dtype) {
    case RT_F32:
      return Type::f32;
    case RT_BF16:
      return Type::bf16;
    default:
      fail("dtype must be RT_F32 (0) or RT_BF16 (1), got %d", dtype);
  }
}

Type compute_type(std::int32_t dtype) {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  const Type type = storage_type(dtype);
  return type == Type::bf16 && (isa & needed) != needed ? Type::f32 : type;
}

dnnl::primitive_attr attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attributes.set_deterministic(true);
  return attributes;
}

Plan::Slot Plan::add(const Desc& desc) {
  memories_.emplace_back(desc, engine(), static_cast<void*>(nullptr));
  return memories_.size() - 1;
}

Plan::Slot Plan::external(const Desc& desc) {
  externals_.push_back(add(desc));
  return externals_.back();
}

Plan::Slot Plan::temporary(const Desc& desc) {
  const Slot slot = add(desc);
  temporaries_.push_back({slot, arena_bytes_});
  arena_bytes_ += aligned(desc.get_size());
  return slot;
}

Plan::Slot Plan::reordered(Slot source, const Desc& desc) {
  if (memories_[source].get_desc() == desc) {
    return source;
  }
  const Slot target = temporary(desc);
  reorder(source, target);
  return target;
}

Plan::Slot Plan::staged(Slot target, const Desc& desc) {
  return memories_[target].get_desc() == desc ? target : temporary(desc);
}

void Plan::deliver(Slot staged, Slot target) {
  if (staged != target) {
    reorder(staged, target);
  }
}

void Plan::reorder(Slot from, Slot to) {
  const dnnl::reorder::primitive_desc description(engine(), memories_[from].get_desc(), engine(),
                                                  memories_[to].get_desc(), attributes());
  step(dnnl::reorder(description), description.scratchpad_desc(), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

void Plan::step(const dnnl::primitive& primitive, const Desc& scratchpad,
                const std::vector<std::pair<int, Slot>>& arguments) {
  Step step{primitive, {}};
  for (const auto& [argument, slot] : arguments) {
    step.arguments.push_back({argument, memories_[slot].get()});
  }
  if (scratchpad.get_size() > 0) {
    step.arguments.push_back({DNNL_ARG_SCRATCHPAD, memories_[temporary(scratchpad)].get()});
  }
  steps_.push_back(std::move(step));
}

Plan copy(const Desc& from, const Desc& to) {
  Plan plan;
  const auto source = plan.external(from);
  plan.reorder(source, plan.external(to));
  plan.layout_ = number_of(to);
  return plan;
}

void Plan::run(const char* operation, std::initializer_list<const void*> addresses) try {
  const ThreadLimit limit(team_size());
  auto external = externals_.begin();
  for (const void* address : addresses) {
    set_address(memories_[*external++], address);
  }
  std::byte* base = arena(arena_bytes_);
  for (const auto& [slot, offset] : temporaries_) {
    set_address(memories_[slot], base + offset);
  }
  for (const Step& step : steps_) {
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(step.primitive.get(), stream().get(), static_cast<int>(step.arguments.size()),
                               step.arguments.data()),
        "a primitive could not be executed");
  }
  stream().wait();
} catch (const dnnl::error& error) {
  rethrow(operation, error);
}

void rethrow(const char* operation, const dnnl::error& error) {
  switch (error.status) {
    case dnnl_unimplemented:
      fail_with(RT_UNSUPPORTED, "%s: oneDNN has no kernel for these shapes and this CPU (%s)", operation, error.what());
    case dnnl_out_of_memory:
      fail_with(RT_OUT_OF_MEMORY, "%s: oneDNN ran out of memory", operation);
    case dnnl_invalid_arguments:
      fail("%s: oneDNN refused the arguments (%s)", operation, error.what());
    default:
      fail_with(RT_INTERNAL, "%s: oneDNN failed with status %d (%s)", operation, static_cast<int>(error.status),
                error.what());
  }
}

}  // namespace rt::onednn
