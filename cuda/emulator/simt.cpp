// simt.cpp   runs the threads of a block as fibers; linked into every module image
//
// A thread runs until it waits or ends; the scheduler then resumes another that can go on. Barriers and warp collectives
// count threads that have not ended. When nobody can go on, the kernel fails and the report says who waits where.
#include "emulator/simt.h"

#include <sys/mman.h>

#include <array>
#include <cstdarg>
#include <map>
#include <numeric>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "The emulator's context switch is written for x86-64"
#endif

// Saves the callee's registers and stack pointer in *from and goes on where `to` was saved.
extern "C" void rt_emulator_switch(void** from, void* to);
asm(R"(
.text
.globl rt_emulator_switch
.hidden rt_emulator_switch
.type rt_emulator_switch, @function
rt_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size rt_emulator_switch, . - rt_emulator_switch
)");

namespace rt::emulator {

const Place* here;
Block block;

enum class State { ready, at_barrier, in_meeting, ended };

// A copy that has begun and not landed.
struct Copy {
  void* to;
  const void* from;
  std::size_t bytes, valid;
  int group;
};

struct Thread : Place {
  State state;
  void* stack_pointer;
  std::byte* stack;  // none before the first resume and after the end
  std::source_location where;
  bool counts;   // what it brings to barrier_count
  int counted;   // and takes
  unsigned mask;  // of its meeting
  const void* in;
  void* out;
  void (*complete)(const Meeting&);
  std::vector<Copy> copies;
  int groups;  // that it has committed
};

namespace {

constexpr std::size_t kStack = (kSanitized ? 512 : 64) << 10;  // the sanitizer puts guards around every local
constexpr std::uint64_t kStackEnd = 0x5afe57ac5afe57acu;  // at the lowest address of a stack
constexpr std::size_t kGuard = 128;                        // bytes on both sides of a shared array
constexpr std::uint16_t kGuardWord = 0xffc5;               // a NaN for whoever reads it

// One shared array of the block.
struct SharedArray {
  const void* tag;
  const char* name;
  std::byte* begin;
  std::size_t bytes;
};

// All that the running launch needs. Only one thread of the process runs kernels.
std::vector<Kernel>& kernels() {
  static std::vector<Kernel> all;
  return all;
}
const Launch* launch;
Outcome* outcome;
std::array<Thread, kMostThreads> threads;
std::vector<Thread*> ready;
Thread* running;
void* scheduler;  // its stack pointer while a thread runs
std::size_t live, arrived;
std::array<unsigned, kMostThreads / kWarp> alive, meeting;  // lanes of each warp
std::vector<std::byte*> stacks;
std::uint64_t random_state;
alignas(kGuard) std::byte arena[kSharedArena];
std::size_t arena_used;
std::vector<SharedArray> arrays;
#if defined(__SANITIZE_ADDRESS__)
const void* scheduler_stack;
std::size_t scheduler_stack_bytes;
#endif

// xorshift64*, Vigna 2016.
std::size_t random_below(std::size_t bound) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return static_cast<std::size_t>((random_state * 0x2545f4914f6cdd1du >> 32) * bound >> 32);
}

void append(const char* format, ...) __attribute__((format(printf, 1, 2)));
void append(const char* format, ...) {
  const std::size_t used = std::strlen(outcome->text);
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(outcome->text + used, sizeof outcome->text - used, format, arguments);
  va_end(arguments);
}

// Notes the first error of the launch and where in the grid it was.
void begin_report(int error) {
  outcome->error = error;
  append("kernel %s, block (%u,%u,%u)", launch->kernel->name, block.index.x, block.index.y, block.index.z);
  if (running != nullptr) {
    append(", thread (%u,%u,%u)", running->thread.x, running->thread.y, running->thread.z);
  }
  append(": ");
}

// --- fibers ------------------------------------------------------------------------------------------

void leave([[maybe_unused]] bool for_ever) {
  Thread& thread = *running;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(for_ever ? nullptr : &fake, scheduler_stack, scheduler_stack_bytes);
#endif
  rt_emulator_switch(&thread.stack_pointer, scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

void release_barrier();
void release_meetings(int warp);

[[noreturn]] void thread_body() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
  launch->kernel->invoke(launch->kernel->function, launch->parameters);
  Thread& thread = *running;
  thread.state = State::ended;
  alive[thread.warp] &= ~(1u << thread.lane);
  live--;
  release_barrier();
  release_meetings(thread.warp);
  leave(true);
  __builtin_unreachable();
}

std::byte* take_stack() {
  if (stacks.empty()) {
    constexpr std::size_t kSlab = 64;
    void* const memory =
        mmap(nullptr, kSlab * kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      return nullptr;
    }
    for (std::size_t i = 0; i < kSlab; i++) {
      auto* const stack = static_cast<std::byte*>(memory) + i * kStack;
      std::memcpy(stack, &kStackEnd, sizeof kStackEnd);
      stacks.push_back(stack);
    }
  }
  std::byte* const stack = stacks.back();
  stacks.pop_back();
  return stack;
}

// Lays out a stack from which rt_emulator_switch "returns" into thread_body.
void prepare(Thread& thread) {
  auto* top = reinterpret_cast<void**>(thread.stack + kStack);
  *--top = nullptr;  // where thread_body would return to: keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(&thread_body);
  for (int i = 0; i < 6; i++) {
    *--top = nullptr;
  }
  thread.stack_pointer = top;
}

void resume(Thread& thread) {
  if (thread.stack == nullptr) {
    thread.stack = take_stack();
    if (thread.stack == nullptr) {
      begin_report(kLaunchFailed);
      append("no memory for the stacks of its threads");
      return;
    }
    prepare(thread);
  }
  running = &thread;
  here = &thread;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, thread.stack, kStack);
#endif
  rt_emulator_switch(&scheduler, thread.stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  if (std::memcmp(thread.stack, &kStackEnd, sizeof kStackEnd) != 0) {
    std::memcpy(thread.stack, &kStackEnd, sizeof kStackEnd);
    if (outcome->error == kOk) {
      begin_report(kLaunchFailed);
      append("its local variables need more than the %zu bytes of an emulated stack", kStack);
    }
  }
  running = nullptr;
  if (thread.state == State::ended) {
    stacks.push_back(thread.stack);
    thread.stack = nullptr;
  }
}

// --- waiting -----------------------------------------------------------------------------------------

void make_ready(Thread& thread) {
  thread.state = State::ready;
  ready.push_back(&thread);
}

const char* short_name(const std::source_location& where) {
  const char* const slash = std::strrchr(where.file_name(), '/');
  return slash == nullptr ? where.file_name() : slash + 1;
}

bool same_place(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

// Lets the block go on if every live thread has arrived.
void release_barrier() {
  if (arrived == 0 || arrived < live) {
    return;
  }
  const Thread* first = nullptr;
  int counted = 0;
  for (std::size_t i = 0; i < launch->block.count(); i++) {
    if (threads[i].state == State::at_barrier) {
      first = first == nullptr ? &threads[i] : first;
      counted += threads[i].counts ? 1 : 0;
      if (!same_place(first->where, threads[i].where)) {
        const Thread& other = threads[i];
        fail(kLaunchFailed, "divergent barrier: thread (%u,%u,%u) is at %s:%u, thread (%u,%u,%u) at %s:%u",
             first->thread.x, first->thread.y, first->thread.z, short_name(first->where), first->where.line(),
             other.thread.x, other.thread.y, other.thread.z, short_name(other.where), other.where.line());
      }
    }
  }
  arrived = 0;
  for (std::size_t i = 0; i < launch->block.count(); i++) {
    if (threads[i].state == State::at_barrier) {
      threads[i].counted = counted;
      make_ready(threads[i]);
    }
  }
}

// Completes the meeting that `thread` waits for, if all of its mask that live are in it.
bool release_meeting(Thread& thread) {
  const unsigned present = thread.mask & alive[thread.warp];
  if ((meeting[thread.warp] & present) != present) {
    return false;
  }
  Meeting all{present, {}, {}};
  Thread* const warp = &threads[static_cast<std::size_t>(thread.warp * kWarp)];
  for (int lane = 0; lane < kWarp; lane++) {
    if ((present >> lane & 1u) != 0) {
      if (warp[lane].mask != thread.mask || warp[lane].complete != thread.complete) {
        return false;
      }
      all.in[lane] = warp[lane].in;
      all.out[lane] = warp[lane].out;
    }
  }
  thread.complete(all);
  meeting[thread.warp] &= ~present;
  for (int lane = 0; lane < kWarp; lane++) {
    if ((present >> lane & 1u) != 0) {
      make_ready(warp[lane]);
    }
  }
  return true;
}

void release_meetings(int warp) {
  for (int lane = 0; lane < kWarp; lane++) {
    if ((meeting[warp] >> lane & 1u) != 0) {
      release_meeting(threads[static_cast<std::size_t>(warp * kWarp + lane)]);
    }
  }
}

void report_deadlock() {
  std::map<std::string, int> places;
  for (std::size_t i = 0; i < launch->block.count(); i++) {
    const Thread& thread = threads[i];
    if (thread.state == State::ended) {
      continue;
    }
    char place[200];
    if (thread.state == State::at_barrier) {
      std::snprintf(place, sizeof place, "wait for the block at %s:%u", short_name(thread.where), thread.where.line());
    } else {
      std::snprintf(place, sizeof place, "wait for lanes %08x of warp %d at %s:%u", thread.mask, thread.warp,
                    short_name(thread.where), thread.where.line());
    }
    places[place]++;
  }
  begin_report(kLaunchFailed);
  append("divergent barrier, no thread can go on: of %zu live threads", live);
  for (const auto& [place, count] : places) {
    append("%s %d %s", place == places.begin()->first ? "" : ",", count, place.c_str());
  }
}

// --- shared memory -----------------------------------------------------------------------------------

void fill_guard(std::byte* begin, std::byte* end) {
  for (; begin < end; begin += 2) {
    std::memcpy(begin, &kGuardWord, sizeof kGuardWord);
  }
}

bool guard_intact(const std::byte* begin, const std::byte* end) {
  for (; begin < end; begin += 2) {
    if (std::memcmp(begin, &kGuardWord, sizeof kGuardWord) != 0) {
      return false;
    }
  }
  return true;
}

// Between two arrays: what an array's own size leaves of its last 128 bytes, and a guard.
std::byte* place_array(const void* tag, const char* name, std::size_t bytes) {
  std::byte* const begin = arena + arena_used + kGuard;
  std::byte* const end = begin + (bytes + kGuard - 1) / kGuard * kGuard + kGuard;
  permit(begin, static_cast<std::size_t>(end - begin));
  std::memset(begin, 0xff, bytes);
  // An odd number of bytes shares its last word with the guard.
  fill_guard(begin + (bytes + 1) / 2 * 2, end);
  forbid(begin + bytes, static_cast<std::size_t>(end - begin) - bytes);
  arena_used = static_cast<std::size_t>(end - arena) - kGuard;
  arrays.push_back({tag, name, begin, bytes});
  return begin;
}

void clear_shared() {
  arrays.clear();
  arena_used = 0;
  permit(arena, sizeof arena);
  fill_guard(arena, arena + kGuard);
  forbid(arena, sizeof arena);
  block.dynamic_shared = place_array(nullptr, "dynamic shared memory", launch->dynamic_shared);
}

void check_shared() {
  for (const SharedArray& array : arrays) {
    if (kSanitized || outcome->error != kOk) {
      return;
    }
    const bool before = guard_intact(array.begin - kGuard, array.begin);
    const bool behind = guard_intact(array.begin + (array.bytes + 1) / 2 * 2,
                                     array.begin + (array.bytes + kGuard - 1) / kGuard * kGuard + kGuard);
    if (!before || !behind) {
      begin_report(kIllegalAddress);
      append("something was written %s the %zu bytes of shared array %s", before ? "behind" : "before", array.bytes,
             array.name);
    }
  }
}

// --- blocks ------------------------------------------------------------------------------------------

void run_block() {
  clear_shared();
  const Extent size = launch->block;
  live = size.count();
  arrived = 0;
  alive.fill(0);
  meeting.fill(0);
  ready.clear();
  std::size_t i = 0;
  for (unsigned z = 0; z < size.z; z++) {
    for (unsigned y = 0; y < size.y; y++) {
      for (unsigned x = 0; x < size.x; x++, i++) {
        Thread& thread = threads[i];
        thread.thread = {x, y, z};
        thread.lane = static_cast<int>(i % kWarp);
        thread.warp = static_cast<int>(i / kWarp);
        thread.copies.clear();
        thread.groups = 0;
        alive[i / kWarp] |= 1u << i % kWarp;
        make_ready(thread);
      }
    }
  }
  std::size_t next = 0;  // of `ready`, in ascending order
  while (live > 0 && outcome->error == kOk) {
    if (next == ready.size()) {
      report_deadlock();
      break;
    }
    if (launch->seed != 0) {
      std::swap(ready[next], ready[next + random_below(ready.size() - next)]);
    }
    resume(*ready[next++]);
    if (next == ready.size() || next == kMostThreads) {
      ready.erase(ready.begin(), ready.begin() + static_cast<std::ptrdiff_t>(next));
      next = 0;
    }
  }
  for (std::size_t t = 0; t < size.count(); t++) {
    if (threads[t].stack != nullptr) {
      stacks.push_back(threads[t].stack);
      threads[t].stack = nullptr;
    }
  }
  check_shared();
}

// All blocks; with a seed in the order first + i step, step and count without a common divisor.
void run(const Launch& what, Outcome& result) {
  launch = &what;
  outcome = &result;
  running = nullptr;
  random_state = what.seed * 0x9e3779b97f4a7c15u | 1u;
  block.size = {what.block.x, what.block.y, what.block.z};
  block.grid = {what.grid.x, what.grid.y, what.grid.z};
  const std::size_t count = what.grid.count();
  std::size_t first = 0;
  std::size_t step = 1;
  if (what.seed != 0) {
    first = random_below(count);
    step = 1 + random_below(count);
    while (std::gcd(step, count) != 1) {
      step++;
    }
  }
  for (std::size_t i = 0; i < count && result.error == kOk; i++) {
    const std::size_t at = static_cast<std::size_t>((first + static_cast<unsigned __int128>(i) * step) % count);
    block.index = {static_cast<unsigned>(at % what.grid.x), static_cast<unsigned>(at / what.grid.x % what.grid.y),
                   static_cast<unsigned>(at / what.grid.x / what.grid.y)};
    run_block();
  }
}

}  // namespace

void fail(int error, const char* format, ...) {
  begin_report(error);
  const std::size_t used = std::strlen(outcome->text);
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(outcome->text + used, sizeof outcome->text - used, format, arguments);
  va_end(arguments);
  leave(true);
  __builtin_unreachable();
}

void* shared_array(const void* tag, const char* name, std::size_t bytes) {
  for (const SharedArray& array : arrays) {
    if (array.tag == tag) {
      return array.begin;
    }
  }
  std::size_t fixed = bytes;
  for (const SharedArray& array : arrays) {
    fixed += array.tag == nullptr ? 0 : array.bytes;
  }
  if (fixed > kStaticShared || arena_used + bytes + 4 * kGuard > kSharedArena) {
    fail(kLaunchFailed, "shared array %s makes %zu bytes of static shared memory, a kernel may have %zu", name, fixed,
         kStaticShared);
  }
  return place_array(tag, name, bytes);
}

bool is_shared(const void* p, std::size_t bytes) {
  const auto* const begin = static_cast<const std::byte*>(p);
  return std::any_of(arrays.begin(), arrays.end(), [=](const SharedArray& array) {
    return begin >= array.begin && begin + bytes <= array.begin + array.bytes;
  });
}

int barrier_count(bool value, std::source_location where) {
  Thread& thread = *running;
  thread.where = where;
  thread.counts = value;
  thread.state = State::at_barrier;
  arrived++;
  release_barrier();
  leave(false);
  return thread.counted;
}

void barrier(std::source_location where) { barrier_count(false, where); }

void meet(unsigned mask, const void* in, void* out, void (*complete)(const Meeting&), std::source_location where) {
  Thread& thread = *running;
  if ((mask >> thread.lane & 1u) == 0) {
    fail(kLaunchFailed, "lane %d calls a warp collective of lanes %08x at %s:%u", thread.lane, mask, short_name(where),
         where.line());
  }
  thread.where = where;
  thread.mask = mask;
  thread.in = in;
  thread.out = out;
  thread.complete = complete;
  thread.state = State::in_meeting;
  meeting[thread.warp] |= 1u << thread.lane;
  release_meeting(thread);
  leave(false);
}

void copy_begin(void* shared, const void* global, std::size_t bytes, std::size_t valid) {
  std::memset(shared, 0xff, bytes);
  running->copies.push_back({shared, global, bytes, valid, running->groups});
}

void copy_commit() { running->groups++; }

void copy_wait(int groups_in_flight) {
  Thread& thread = *running;
  std::erase_if(thread.copies, [&](const Copy& copy) {
    if (copy.group >= thread.groups - groups_in_flight) {
      return false;
    }
    std::memcpy(copy.to, copy.from, copy.valid);
    std::memset(static_cast<std::byte*>(copy.to) + copy.valid, 0, copy.bytes - copy.valid);
    return true;
  });
}

void Registration::add(Kernel&& kernel) { kernels().push_back(std::move(kernel)); }

}  // namespace rt::emulator

extern "C" __attribute__((visibility("default"))) const rt::emulator::Module* rt_emulator_module() {
  static const rt::emulator::Module module{rt::emulator::kernels(), &rt::emulator::run};
  return &module;
}
