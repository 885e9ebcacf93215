// memory.cpp   blocks of host memory, and the few byte loops the pool needs.
// traffic   fill writes, copy reads and writes each byte once: memory-bound
// limits    allocation is thread-safe; blocks are given back with the size they were asked for

#include "retort/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "cpu/error.h"
#include "cpu/registry.h"

namespace {

constexpr std::int64_t kCacheLine = 64;
constexpr std::int64_t kHugePage = std::int64_t{2} << 20;
constexpr std::int64_t kSlice = std::int64_t{256} << 10;  // bytes a thread takes at once: a share of its L2 cache
constexpr std::int64_t kSerialSlices = 4;                         // below, one thread is done before others wake

std::int64_t round_up(std::int64_t bytes, std::int64_t unit) { return (bytes + unit - 1) / unit * unit; }

// Maps one huge page too much and cuts both ends off, so that the block starts on a huge page.
void* map_huge(std::int64_t bytes) {
  const std::int64_t wanted = round_up(bytes, kHugePage);
  void* raw = mmap(nullptr, wanted + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) {
    return nullptr;
  }
  const auto start = reinterpret_cast<std::intptr_t>(raw);
  const std::int64_t head = round_up(start, kHugePage) - start;
  if (head > 0) {
    munmap(raw, head);
  }
  if (head < kHugePage) {
    munmap(reinterpret_cast<void*>(start + head + wanted), kHugePage - head);
  }
  void* block = reinterpret_cast<void*>(start + head);
  madvise(block, wanted, MADV_HUGEPAGE);  // advice only: without huge pages the block is slower, not wrong
  return block;
}

// Calls body(offset, bytes) for slices of the range, in parallel where there is enough to do.
template <class Body>
void for_slices(std::int64_t bytes, Body&& body) {
  const std::int64_t slices = (bytes + kSlice - 1) / kSlice;
#pragma omp parallel for schedule(static) if (slices > kSerialSlices)
  for (std::int64_t s = 0; s < slices; s++) {
    body(s * kSlice, std::min(kSlice, bytes - s * kSlice));
  }
}

// The limit of this process's control group, or `otherwise` where none is set.
std::int64_t group_limit(std::int64_t otherwise) {
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    std::int64_t limit = 0;
    if (file >> limit && limit > 0) {
      return std::min(limit, otherwise);
    }
  }
  return otherwise;
}

}  // namespace

rt_status rt_memory_allocate(int64_t bytes, void** block) {
  return rt::guarded([&] {
    if (bytes < 1) {
      rt::fail("memory: bytes must be at least 1, got %ld", bytes);
    }
    *block = bytes >= kHugePage ? map_huge(bytes) : std::aligned_alloc(kCacheLine, round_up(bytes, kCacheLine));
    if (*block == nullptr) {
      rt::fail_with(RT_OUT_OF_MEMORY, "the system has no block of %ld bytes", bytes);
    }
  });
}
RT_EXPORT(rt_memory_allocate);

rt_status rt_memory_free(void* block, int64_t bytes) {
  return rt::guarded([&] {
    if (bytes >= kHugePage) {
      munmap(block, round_up(bytes, kHugePage));
    } else {
      std::free(block);
    }
  });
}
RT_EXPORT(rt_memory_free);

rt_status rt_memory_fill(void* block, int32_t value, int64_t bytes) {
  return rt::guarded([&] {
    for_slices(bytes, [&](std::int64_t offset, std::int64_t count) {
      std::memset(static_cast<char*>(block) + offset, value, count);
    });
  });
}
RT_EXPORT(rt_memory_fill);

rt_status rt_memory_copy(const void* from, void* to, int64_t bytes) {
  return rt::guarded([&] {
    for_slices(bytes, [&](std::int64_t offset, std::int64_t count) {
      std::memcpy(static_cast<char*>(to) + offset, static_cast<const char*>(from) + offset, count);
    });
  });
}
RT_EXPORT(rt_memory_copy);

rt_status rt_memory_holds(const void* block, int32_t value, int64_t bytes, int32_t* holds) {
  return rt::guarded([&] {
    const auto* first = static_cast<const unsigned char*>(block);
    const auto expected = static_cast<unsigned char>(value);
    *holds = std::all_of(first, first + bytes, [&](unsigned char byte) { return byte == expected; });
  });
}
RT_EXPORT(rt_memory_holds);

rt_status rt_memory_physical(int64_t* bytes) {
  return rt::guarded([&] { *bytes = group_limit(std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE)); });
}
RT_EXPORT(rt_memory_physical);
