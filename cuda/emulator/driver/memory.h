// memory.h   emulated device memory: every byte of an allocation is NaN at first, and so is what lies around it
//
// Device addresses are host addresses. On both sides of an allocation lie 256 guard bytes that are checked after each kernel
// and when it is freed. Freed memory is filled the same way and kept for a while, to notice who still writes to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace rt::driver {

struct Context;

// A memory pool: numbers only, allocations are never cached.
struct Pool {
  int device;
  std::uint64_t release_threshold = 0;
  std::uint64_t used = 0;
  std::uint64_t used_high = 0;
  bool implicit = false;  // a device's default pool
};

struct Allocation {
  std::byte* begin;
  std::size_t bytes;
  const Context* context;
  std::shared_ptr<Pool> pool;  // of cuMemAllocAsync
  bool freeing;                // cuMemFreeAsync was called, the stream has not got there
};

struct HostRange {
  std::size_t bytes;
  bool allocated;  // by cuMemHostAlloc, else registered
  unsigned flags;
  const Context* context;  // of an allocated one
};

class Memory {
 public:
  // Null if `limit` bytes of the device would be exceeded.
  Allocation* allocate(std::size_t bytes, const Context* context, std::shared_ptr<Pool> pool, std::size_t limit);

  // Whether the guards were intact.
  bool free(std::byte* begin);

  // The live allocation that has all of [p, p + bytes), or null; one that is being freed counts as gone.
  Allocation* find(std::uint64_t p, std::size_t bytes);

  // The allocation that starts at p, or null.
  Allocation* starting_at(std::uint64_t p);

  // A sentence on the first damaged guard or freed block, or an empty string. What it found it repairs.
  std::string damage();

  // Frees everything that belongs to a context; the number of allocations and their bytes.
  std::pair<std::size_t, std::size_t> free_all(const Context* context);

  // Device bytes in use.
  std::size_t used() const { return used_; }

  // How many allocations there are of device and page-locked memory, and their bytes.
  std::pair<std::size_t, std::size_t> live() const;

  void* allocate_host(std::size_t bytes, unsigned flags, const Context* context);
  bool free_host(void* p);
  bool register_host(void* p, std::size_t bytes, unsigned flags);
  bool unregister_host(void* p);

  // The page-locked range that has all of [p, p + bytes), or null.
  const HostRange* pinned(const void* p, std::size_t bytes) const;

 private:
  struct Freed {
    std::byte* begin;
    std::size_t bytes;
  };
  std::string damage_around(const std::byte* begin, std::size_t bytes) const;
  void retire(std::byte* begin, std::size_t bytes);
  void evict();

  std::map<std::uint64_t, Allocation> live_;
  std::size_t used_ = 0;
  std::deque<Freed> freed_;
  std::size_t freed_bytes_ = 0;
  std::map<std::uint64_t, HostRange> host_;
};

Memory& memory();

}  // namespace rt::driver
