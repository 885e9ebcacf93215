// onednn.h   oneDNN primitives compiled once per shape and thread, run on other addresses each time.
//
// A Plan is a short list of primitives (reorder the weights, convolve, reorder the gradient back) with every memory
// object made in advance; a run only sets addresses. Plans live in thread-local caches, so nothing is locked, and
// take temporaries (packed weights, oneDNN's scratchpad) from one grow-only arena a thread.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cpu/threads.h"

namespace rt::onednn {

using Tag = dnnl::memory::format_tag;
using Type = dnnl::memory::data_type;
using Desc = dnnl::memory::desc;

dnnl::engine& engine();

// oneDNN's name of a dtype argument.
Type storage_type(std::int32_t dtype);

// The type that primitives work in: bfloat16 only where the CPU multiplies it, else activations are widened first.
Type compute_type(std::int32_t dtype);

// Attributes of every primitive here: scratchpad is ours, results do not depend on timing.
dnnl::primitive_attr attributes();

class Plan {
 public:
  using Slot = std::size_t;

  // A tensor whose address is given to each run, in the order of declaration.
  Slot external(const Desc& desc);

  // A temporary in the arena.
  Slot temporary(const Desc& desc);

  // `source` in another layout or type: itself if it is that already, else a temporary filled at this point.
  Slot reordered(Slot source, const Desc& desc);

  // A slot to write with `desc`: `target` itself if that is its layout, else a temporary; see `deliver`.
  Slot staged(Slot target, const Desc& desc);

  // Copies a staged slot to its target; does nothing where they are the same.
  void deliver(Slot staged, Slot target);

  // Appends a copy from one layout and type to another.
  void reorder(Slot from, Slot to);

  // Appends a primitive.
  void step(const dnnl::primitive& primitive, const Desc& scratchpad,
            const std::vector<std::pair<int, Slot>>& arguments);

  // Bytes of the tensor in a slot.
  std::size_t bytes(Slot slot) const { return memories_[slot].get_desc().get_size(); }

  // Of a `copy`: a number that tells the layout that it writes from others, never 0.
  std::int64_t layout() const { return layout_; }

  // Runs all steps on these addresses and waits. A null address stands for an argument that no step reads.
  void run(const char* operation, std::initializer_list<const void*> addresses);

 private:
  struct Step {
    dnnl::primitive primitive;
    std::vector<dnnl_exec_arg_t> arguments;
  };
  struct Temporary {
    Slot slot;
    std::size_t offset;
  };

  friend Plan copy(const Desc& from, const Desc& to);

  Slot add(const Desc& desc);
  std::vector<dnnl::memory> memories_;
  std::vector<Slot> externals_;
  std::vector<Temporary> temporaries_;
  std::vector<Step> steps_;
  std::size_t arena_bytes_ = 0;
  std::int64_t layout_ = 0;
};

// (tensor in one layout) -> (tensor in the other)
Plan copy(const Desc& from, const Desc& to);

// Numbers that tell one plan from another.
template <std::size_t N>
struct KeyHash {
  std::size_t operator()(const std::array<std::int64_t, N>& key) const noexcept {
    std::uint64_t hash = 0x9e3779b97f4a7c15u;
    for (const std::int64_t number : key) {
      hash = (hash ^ static_cast<std::uint64_t>(number)) * 0xff51afd7ed558ccdu;
      hash ^= hash >> 32;
    }
    return hash;
  }
};

template <std::size_t N>
using PlanCache = std::unordered_map<std::array<std::int64_t, N>, Plan, KeyHash<N>>;

// Turns an exception of oneDNN into rt::Error with the operation's name.
[[noreturn]] void rethrow(const char* operation, const dnnl::error& error);

// The plan of `key`; `build()` makes it if this thread has not met the key yet.
//
// The last number of `key` is filled in here: the size of the team. A primitive divides its work when it is made, and
// waits for ever if it is then run by fewer threads.
template <std::size_t N, class Build>
Plan& planned(const char* operation, PlanCache<N>& cache, std::array<std::int64_t, N> key, Build&& build) {
  key.back() = team_size();
  const auto found = cache.find(key);
  if (found != cache.end()) {
    return found->second;
  }
  try {
    const ThreadLimit limit(team_size());
    return cache.emplace(key, build()).first->second;
  } catch (const dnnl::error& error) {
    rethrow(operation, error);
  }
}

}  // namespace rt::onednn
