// module.h   what a module image of the emulator tells the driver look-alike, and what the driver asks of it
//
// A module image is a host ELF library that exports one symbol, rt_emulator_module(). It holds the kernels of one .cu file
// and its own copy of the scheduler (simt.cpp), so that an image needs nothing of the library that loads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace rt::emulator {

// Where the address sanitizer watches, it stops whoever touches a guard, on the spot; elsewhere guards are compared later.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
inline void forbid(const void* p, std::size_t bytes) { __asan_poison_memory_region(p, bytes); }
inline void permit(const void* p, std::size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
#else
constexpr bool kSanitized = false;
inline void forbid(const void*, std::size_t) {}
inline void permit(const void*, std::size_t) {}
#endif

// Errors a running kernel can end with; the numbers are those of CUresult.
constexpr int kOk = 0;
constexpr int kIllegalAddress = 700;
constexpr int kMisalignedAddress = 716;
constexpr int kLaunchFailed = 719;

constexpr int kWarp = 32;
constexpr int kMostThreads = 1024;              // of a block, on every architecture
constexpr std::size_t kStaticShared = 48 << 10;  // bytes of shared memory a kernel may declare
constexpr std::size_t kSharedArena = 256 << 10;  // bytes of shared memory a block can have at all

// Where a kernel expects one parameter in its parameter block.
struct Parameter {
  std::size_t offset, bytes;
};

// One RT_KERNEL.
struct Kernel {
  const char* name;
  int most_threads;                         // its launch bound
  std::vector<Parameter> parameters;
  std::size_t parameter_bytes;
  void (*function)();                       // the kernel's body
  void (*invoke)(void (*)(), void* const*);  // calls it with one pointer for each parameter
};

struct Extent {
  unsigned x, y, z;
  std::size_t count() const { return std::size_t{x} * y * z; }
};

struct Launch {
  const Kernel* kernel;
  Extent grid, block;
  std::size_t dynamic_shared;  // bytes
  void* const* parameters;     // one pointer for each parameter
  std::uint64_t seed;          // order of fibers and blocks; 0 is ascending
};

// How a launch ended: kOk, or an error with a sentence.
struct Outcome {
  int error;
  char text[600];
};

struct Module {
  std::vector<Kernel> kernels;
  void (*run)(const Launch&, Outcome&);  // runs all blocks, one after the other, on the calling thread
};

}  // namespace rt::emulator

// Only one thread of the process may run kernels at a time.
extern "C" const rt::emulator::Module* rt_emulator_module();
