// memory.cpp   guards, and the driver's calls for memory
#include "emulator/driver/memory.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "emulator/driver/state.h"
#include "emulator/module.h"

namespace rt::driver {

using emulator::forbid;
using emulator::kSanitized;
using emulator::permit;

namespace {

constexpr std::size_t kGuard = 256;            // bytes on both sides; also what CUDA aligns allocations to
constexpr std::uint16_t kGuardWord = 0xffc5;   // a NaN in float32 and in bfloat16
constexpr std::size_t kKeptFreed = 16u << 20;  // bytes of freed memory that are watched

std::size_t rounded(std::size_t bytes) { return (bytes + kGuard - 1) / kGuard * kGuard; }

void fill(std::byte* begin, std::byte* end) {
  std::fill(reinterpret_cast<std::uint16_t*>(begin), reinterpret_cast<std::uint16_t*>(end), kGuardWord);
}

// The first byte that is not as `fill` left it, or `end`.
const std::byte* first_change(const std::byte* begin, const std::byte* end) {
  static const auto pattern = [] {
    std::array<std::byte, 4096> bytes{};
    fill(bytes.data(), bytes.data() + bytes.size());
    return bytes;
  }();
  while (begin < end) {
    const auto part = std::min<std::size_t>(pattern.size(), static_cast<std::size_t>(end - begin));
    if (std::memcmp(begin, pattern.data(), part) != 0) {
      return std::mismatch(begin, begin + part, pattern.data()).first;
    }
    begin += part;
  }
  return end;
}

// The guard behind an allocation starts at the next even byte; an odd last byte is left out.
std::size_t even(std::size_t bytes) { return (bytes + 1) / 2 * 2; }

}  // namespace

Memory& memory() {
  static Memory* const all = new Memory;
  return *all;
}

Allocation* Memory::allocate(std::size_t bytes, const Context* context, std::shared_ptr<Pool> pool, std::size_t limit) {
  if (bytes > limit || used_ + bytes > limit) {
    return nullptr;
  }
  const std::size_t whole = rounded(bytes) + 2 * kGuard;
  auto* const block = static_cast<std::byte*>(std::aligned_alloc(kGuard, whole));
  if (block == nullptr) {
    return nullptr;
  }
  std::byte* const begin = block + kGuard;
  fill(block, begin);
  std::memset(begin, 0xff, bytes);
  fill(begin + even(bytes), block + whole);
  forbid(block, kGuard);
  forbid(begin + bytes, whole - kGuard - bytes);
  used_ += bytes;
  if (pool != nullptr) {
    pool->used += bytes;
    pool->used_high = std::max(pool->used_high, pool->used);
  }
  const auto address = reinterpret_cast<std::uint64_t>(begin);
  return &(live_[address] = Allocation{begin, bytes, context, std::move(pool), false});
}

std::string Memory::damage_around(const std::byte* begin, std::size_t bytes) const {
  if (kSanitized) {
    return "";
  }
  const std::byte* const before = first_change(begin - kGuard, begin);
  const std::byte* const end = begin + rounded(bytes) + kGuard;
  const std::byte* const behind = first_change(begin + even(bytes), end);
  char text[200] = "";
  if (before != begin) {
    std::snprintf(text, sizeof text, "something was written %td bytes before the allocation of %zu bytes at %p", begin - before,
                  bytes, static_cast<const void*>(begin));
  } else if (behind != end) {
    std::snprintf(text, sizeof text, "something was written %td bytes behind the end of the allocation of %zu bytes at %p",
                  behind - (begin + bytes), bytes, static_cast<const void*>(begin));
  }
  return text;
}

std::string Memory::damage() {
  for (const auto& [address, allocation] : live_) {
    std::string found = damage_around(allocation.begin, allocation.bytes);
    if (!found.empty()) {
      fill(allocation.begin - kGuard, allocation.begin);
      fill(allocation.begin + even(allocation.bytes), allocation.begin + rounded(allocation.bytes) + kGuard);
      return found;
    }
  }
  for (const Freed& freed : freed_) {
    std::byte* const end = freed.begin + even(freed.bytes);
    if (!kSanitized && first_change(freed.begin, end) != end) {
      fill(freed.begin, end);
      char text[200];
      std::snprintf(text, sizeof text, "something was written to the %zu bytes at %p after they were freed", freed.bytes,
                    static_cast<const void*>(freed.begin));
      return text;
    }
  }
  return "";
}

void Memory::retire(std::byte* begin, std::size_t bytes) {
  permit(begin, even(bytes));
  fill(begin, begin + even(bytes));
  forbid(begin, even(bytes));
  freed_.push_back({begin, bytes});
  freed_bytes_ += bytes;
  while (freed_bytes_ > kKeptFreed) {
    evict();
  }
}

void Memory::evict() {
  const Freed oldest = freed_.front();
  freed_.pop_front();
  freed_bytes_ -= oldest.bytes;
  permit(oldest.begin - kGuard, rounded(oldest.bytes) + 2 * kGuard);
  std::free(oldest.begin - kGuard);
}

bool Memory::free(std::byte* begin) {
  const auto found = live_.find(reinterpret_cast<std::uint64_t>(begin));
  const Allocation allocation = found->second;
  const std::string damage = damage_around(begin, allocation.bytes);
  if (!damage.empty()) {
    report("%s; found when it was freed", damage.c_str());
  }
  used_ -= allocation.bytes;
  if (allocation.pool != nullptr) {
    allocation.pool->used -= allocation.bytes;
  }
  live_.erase(found);
  retire(begin, allocation.bytes);
  return damage.empty();
}

Allocation* Memory::starting_at(std::uint64_t p) {
  const auto found = live_.find(p);
  return found == live_.end() || found->second.freeing ? nullptr : &found->second;
}

Allocation* Memory::find(std::uint64_t p, std::size_t bytes) {
  auto next = live_.upper_bound(p);
  if (next == live_.begin()) {
    return nullptr;
  }
  Allocation& allocation = std::prev(next)->second;
  const std::uint64_t end = reinterpret_cast<std::uint64_t>(allocation.begin) + allocation.bytes;
  return allocation.freeing || p > end || bytes > end - p ? nullptr : &allocation;
}

std::pair<std::size_t, std::size_t> Memory::free_all(const Context* context) {
  std::pair<std::size_t, std::size_t> total{0, 0};
  for (auto next = live_.begin(); next != live_.end();) {
    const Allocation& allocation = (next++)->second;
    if (allocation.context == context) {
      total.first++;
      total.second += allocation.bytes;
      free(allocation.begin);
    }
  }
  for (auto next = host_.begin(); next != host_.end();) {
    const auto& [address, range] = *next++;
    if (range.context == context) {
      total.first++;
      total.second += range.bytes;
      free_host(reinterpret_cast<void*>(address));
    }
  }
  return total;
}

std::pair<std::size_t, std::size_t> Memory::live() const {
  std::pair<std::size_t, std::size_t> total{live_.size(), used_};
  for (const auto& [address, range] : host_) {
    total.first += range.allocated ? 1 : 0;
    total.second += range.allocated ? range.bytes : 0;
  }
  return total;
}

void* Memory::allocate_host(std::size_t bytes, unsigned flags, const Context* context) {
  void* const p = std::aligned_alloc(4096, (std::max<std::size_t>(bytes, 1) + 4095) / 4096 * 4096);
  if (p != nullptr) {
    host_[reinterpret_cast<std::uint64_t>(p)] = {bytes, true, flags, context};
  }
  return p;
}

bool Memory::free_host(void* p) {
  const auto found = host_.find(reinterpret_cast<std::uint64_t>(p));
  if (found == host_.end() || !found->second.allocated) {
    return false;
  }
  host_.erase(found);
  std::free(p);
  return true;
}

bool Memory::register_host(void* p, std::size_t bytes, unsigned flags) {
  if (pinned(p, 1) != nullptr) {
    return false;
  }
  host_[reinterpret_cast<std::uint64_t>(p)] = {bytes, false, flags, nullptr};
  return true;
}

bool Memory::unregister_host(void* p) {
  const auto found = host_.find(reinterpret_cast<std::uint64_t>(p));
  if (found == host_.end() || found->second.allocated) {
    return false;
  }
  host_.erase(found);
  return true;
}

const HostRange* Memory::pinned(const void* p, std::size_t bytes) const {
  const auto address = reinterpret_cast<std::uint64_t>(p);
  const auto next = host_.upper_bound(address);
  if (next == host_.begin()) {
    return nullptr;
  }
  const auto& [begin, range] = *std::prev(next);
  return address + bytes <= begin + range.bytes ? &range : nullptr;
}

namespace {

// Allocates; where memory is short it first lets queued frees happen.
Result allocate(Lock& lock, Context& context, DevicePointer* p, std::size_t bytes, std::shared_ptr<Pool> pool) {
  if (p == nullptr || bytes == 0) {
    return kInvalidValue;
  }
  const std::size_t limit = state().settings.memory;
  const Allocation* allocation = memory().allocate(bytes, &context, pool, limit);
  if (allocation == nullptr) {
    drain(lock, nullptr);
    if (context.error != kSuccess) {
      return context.error;
    }
    allocation = memory().allocate(bytes, &context, pool, limit);
  }
  if (allocation == nullptr) {
    return kOutOfMemory;
  }
  *p = reinterpret_cast<DevicePointer>(allocation->begin);
  return kSuccess;
}

std::shared_ptr<Pool> default_pool(int device) {
  std::shared_ptr<Pool> found;
  state().pools.for_each([&](const std::shared_ptr<Pool>& pool) {
    if (pool->implicit && pool->device == device) {
      found = pool;
    }
  });
  if (found == nullptr) {
    found = std::make_shared<Pool>();
    found->device = device;
    found->implicit = true;
    state().pools.add(found);
  }
  return found;
}

Result allocate_in_order(void* stream, DevicePointer* p, std::size_t bytes, const std::shared_ptr<Pool>& pool) {
  return in_stream(stream, [&](Lock& lock, Context& context, const std::shared_ptr<Stream>& found) {
    if (found->capture != nullptr) {
      // Allocation nodes are not emulated: a captured phase works on memory it has.
      found->capture->invalidated = true;
      return kCaptureUnsupported;
    }
    return allocate(lock, context, p, bytes, pool == nullptr ? default_pool(context.device->ordinal) : pool);
  });
}

// Frees now; damaged guards are the context's error from then on.
void free_now(Context& context, std::byte* begin) {
  if (!memory().free(begin) && context.error == kSuccess) {
    context.error = kIllegalAddress;
  }
}

}  // namespace

}  // namespace rt::driver

using namespace rt::driver;

RT_API cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  return in_context([&](Lock&, Context&) {
    if (free != nullptr) {
      *free = state().settings.memory - std::min(memory().used(), state().settings.memory);
    }
    if (total != nullptr) {
      *total = state().settings.memory;
    }
    return kSuccess;
  });
}

RT_API cuMemAlloc_v2(DevicePointer* p, std::size_t bytes) {
  return in_context([&](Lock& lock, Context& context) {
    const Result forbidden = forbidden_by_capture();
    return forbidden != kSuccess ? forbidden : allocate(lock, context, p, bytes, nullptr);
  });
}

// Waits for the device, as drivers do.
RT_API cuMemFree_v2(DevicePointer p) {
  return in_context([&](Lock& lock, Context& context) {
    if (p == 0) {
      return kSuccess;
    }
    const Result forbidden = forbidden_by_capture();
    if (forbidden != kSuccess) {
      return forbidden;
    }
    drain(lock, nullptr);
    const Allocation* const allocation = memory().starting_at(p);
    if (allocation == nullptr) {
      return kInvalidValue;
    }
    free_now(context, allocation->begin);
    return context.error;
  });
}

RT_API cuMemAllocAsync(DevicePointer* p, std::size_t bytes, void* stream) {
  return allocate_in_order(stream, p, bytes, nullptr);
}

RT_API cuMemAllocFromPoolAsync(DevicePointer* p, std::size_t bytes, void* pool, void* stream) {
  std::shared_ptr<Pool> found;
  const Result result = in_context([&](Lock&, Context&) {
    found = state().pools.find(pool);
    return found == nullptr ? kInvalidHandle : kSuccess;
  });
  return result != kSuccess ? result : allocate_in_order(stream, p, bytes, found);
}

RT_API cuMemFreeAsync(DevicePointer p, void* stream) {
  return in_stream(stream, [&](Lock& lock, Context&, const std::shared_ptr<Stream>& found) {
    if (p == 0) {
      return kSuccess;
    }
    Allocation* const allocation = memory().starting_at(p);
    if (allocation == nullptr) {
      return kInvalidValue;
    }
    if (found->capture != nullptr) {
      found->capture->invalidated = true;
      return kCaptureUnsupported;
    }
    allocation->freeing = true;
    std::byte* const begin = allocation->begin;
    return submit(lock, found, {kNodeEmpty, [begin](Context& context) {
                                  const Lock inner(state().mutex);
                                  free_now(context, begin);
                                }, nullptr});
  });
}

RT_API cuDeviceGetDefaultMemPool(void** pool, int device) {
  return initialised([&](Lock&) {
    if (device < 0 || device >= static_cast<int>(state().devices.size())) {
      return kInvalidDevice;
    }
    *pool = default_pool(device).get();
    return kSuccess;
  });
}

RT_API cuDeviceGetMemPool(void** pool, int device) { return cuDeviceGetDefaultMemPool(pool, device); }

RT_API cuMemPoolCreate(void** pool, const PoolProperties* properties) {
  return initialised([&](Lock&) {
    const bool right = pool != nullptr && properties != nullptr && properties->allocation_type == 1 &&
                       properties->location_type == 1 && properties->location >= 0 &&
                       properties->location < static_cast<int>(state().devices.size());
    if (!right) {
      return kInvalidValue;
    }
    auto made = std::make_shared<Pool>();
    made->device = properties->location;
    *pool = state().pools.add(std::move(made));
    return kSuccess;
  });
}

RT_API cuMemPoolDestroy(void* pool) {
  return initialised([&](Lock&) {
    const auto found = state().pools.find(pool);
    if (found == nullptr) {
      return kInvalidHandle;
    }
    if (found->implicit) {
      return kInvalidValue;
    }
    state().pools.remove(pool);
    return kSuccess;
  });
}

RT_API cuMemPoolTrimTo(void* pool, std::size_t) {
  return initialised([&](Lock&) { return state().pools.find(pool) == nullptr ? kInvalidHandle : kSuccess; });
}

// Reserved and used bytes are the same, because nothing is cached.
RT_API cuMemPoolGetAttribute(void* pool, int attribute, void* value) {
  return initialised([&](Lock&) {
    const auto found = state().pools.find(pool);
    if (found == nullptr) {
      return kInvalidHandle;
    }
    std::uint64_t number = 0;
    switch (attribute) {
      case kPoolReleaseThreshold: number = found->release_threshold; break;
      case kPoolReservedCurrent:
      case kPoolUsedCurrent: number = found->used; break;
      case kPoolReservedHigh:
      case kPoolUsedHigh: number = found->used_high; break;
      default:
        if (attribute < kPoolReuseFirst || attribute > kPoolReuseLast) {
          return kInvalidValue;
        }
        *static_cast<int*>(value) = 1;
        return kSuccess;
    }
    std::memcpy(value, &number, sizeof number);
    return kSuccess;
  });
}

RT_API cuMemPoolSetAttribute(void* pool, int attribute, void* value) {
  return initialised([&](Lock&) {
    const auto found = state().pools.find(pool);
    if (found == nullptr) {
      return kInvalidHandle;
    }
    switch (attribute) {
      case kPoolReleaseThreshold: std::memcpy(&found->release_threshold, value, sizeof(std::uint64_t)); return kSuccess;
      case kPoolReservedHigh:
      case kPoolUsedHigh: found->used_high = found->used; return kSuccess;
      default: return attribute >= kPoolReuseFirst && attribute <= kPoolReuseLast ? kSuccess : kInvalidValue;
    }
  });
}

RT_API cuMemGetAddressRange_v2(DevicePointer* begin, std::size_t* bytes, DevicePointer p) {
  return in_context([&](Lock&, Context&) {
    const Allocation* const allocation = memory().find(p, 1);
    if (allocation == nullptr) {
      return kNotFound;
    }
    if (begin != nullptr) {
      *begin = reinterpret_cast<DevicePointer>(allocation->begin);
    }
    if (bytes != nullptr) {
      *bytes = allocation->bytes;
    }
    return kSuccess;
  });
}

RT_API cuPointerGetAttribute(void* value, int attribute, DevicePointer p) {
  return in_context([&](Lock&, Context& context) {
    const Allocation* const device = memory().find(p, 1);
    const bool host = device == nullptr && memory().pinned(reinterpret_cast<const void*>(p), 1) != nullptr;
    if (device == nullptr && !host) {
      return kInvalidValue;
    }
    const auto give = [value](const auto& what) {
      std::memcpy(value, &what, sizeof what);
      return kSuccess;
    };
    switch (attribute) {
      case 1: return give(device != nullptr ? device->context : &context);
      case 2: return give(device != nullptr ? 2u : 1u);                        // CU_MEMORYTYPE
      case 3: return give(p);                                                 // device pointer
      case 4: return host ? give(p) : kInvalidValue;                          // host pointer
      case 8: return give(0u);                                                // managed
      case 9: return give(context.device->ordinal);
      case 11: return device != nullptr ? give(device->begin) : kInvalidValue;  // start of range
      case 12: return device != nullptr ? give(device->bytes) : kInvalidValue;  // its bytes
      default: return kNotSupported;
    }
  });
}

RT_API cuMemHostAlloc(void** p, std::size_t bytes, unsigned flags) {
  return in_context([&](Lock&, Context& context) {
    const Result forbidden = forbidden_by_capture();
    if (forbidden != kSuccess) {
      return forbidden;
    }
    *p = memory().allocate_host(bytes, flags, &context);
    return *p == nullptr ? kOutOfMemory : kSuccess;
  });
}

RT_API cuMemAllocHost_v2(void** p, std::size_t bytes) { return cuMemHostAlloc(p, bytes, 0); }

RT_API cuMemFreeHost(void* p) {
  return in_context([&](Lock& lock, Context&) {
    const Result forbidden = forbidden_by_capture();
    if (forbidden != kSuccess) {
      return forbidden;
    }
    drain(lock, nullptr);
    return memory().free_host(p) ? kSuccess : kInvalidValue;
  });
}

RT_API cuMemHostRegister_v2(void* p, std::size_t bytes, unsigned flags) {
  return in_context([&](Lock&, Context&) {
    if (p == nullptr || bytes == 0) {
      return kInvalidValue;
    }
    return memory().register_host(p, bytes, flags) ? kSuccess : kHostMemoryAlreadyRegistered;
  });
}

RT_API cuMemHostUnregister(void* p) {
  return in_context([&](Lock& lock, Context&) {
    drain(lock, nullptr);
    return memory().unregister_host(p) ? kSuccess : kHostMemoryNotRegistered;
  });
}

RT_API cuMemHostGetDevicePointer_v2(DevicePointer* device, void* p, unsigned) {
  return in_context([&](Lock&, Context&) {
    if (memory().pinned(p, 1) == nullptr) {
      return kInvalidValue;
    }
    *device = reinterpret_cast<DevicePointer>(p);
    return kSuccess;
  });
}

RT_API cuMemHostGetFlags(unsigned* flags, void* p) {
  return in_context([&](Lock&, Context&) {
    const HostRange* const range = memory().pinned(p, 1);
    if (range == nullptr) {
      return kInvalidValue;
    }
    *flags = range->flags;
    return kSuccess;
  });
}
