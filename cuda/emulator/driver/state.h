// state.h   what the look-alike keeps: devices, contexts, streams and their queued work, modules, graphs
//
// One mutex guards everything. Work is queued by API calls and done by one device thread, one step at a time, without the
// mutex. It holds work back until somebody waits for it (RETORT_EMULATOR_WORK=eager starts at once), and takes ready streams
// in an order that the seed decides: a program that reads without waiting, or orders two streams by luck, shows it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "emulator/driver/abi.h"
#include "emulator/driver/memory.h"
#include "emulator/module.h"

namespace rt::driver {

using emulator::Extent;
using emulator::Kernel;

constexpr int kMultiprocessors = 4;  // of a device: few, so that grids sized by it stay small

// Read from the environment by the first call, changed by rt_emulator_set.
struct Settings {
  std::uint64_t seed = 0;                     // RETORT_EMULATOR_SEED; 0 keeps ascending orders
  std::size_t memory = std::size_t{2} << 30;  // RETORT_EMULATOR_MEMORY, bytes a device has, with K, M or G
  bool eager = false;                         // RETORT_EMULATOR_WORK=eager
  bool drop_launches = false;                 // RETORT_EMULATOR_WORK=none: kernels are accepted and not run
  int version = 13000;                        // RETORT_EMULATOR_DRIVER, what cuDriverGetVersion says
  std::string devices = "9.0";                // RETORT_EMULATOR_DEVICES, compute capabilities with commas; may be empty
  std::string images;                         // RETORT_EMULATOR_IMAGES, a directory to load module images from
};

struct Context;
struct Image;
struct Capture;

// A kernel with all it was launched with.
struct KernelCall {
  std::shared_ptr<Image> image;  // keeps the code loaded
  const Kernel* kernel;
  Extent grid, block;
  std::size_t dynamic_shared;
  std::vector<std::byte> parameters;
};

// One piece of work, in a stream or in a graph.
struct Step {
  int kind;                                // kNode...
  std::function<void(Context&)> run;       // on the device thread, without the mutex
  std::shared_ptr<const KernelCall> call;  // of a kernel: what to run instead
};

struct Stream;

// All that a stream was given up to a moment.
struct Mark {
  std::shared_ptr<Stream> stream;
  std::uint64_t sequence;
};

struct Work {
  Step step;
  std::vector<Mark> after;
};

struct Stream {
  Context* context;
  unsigned flags;
  int priority;
  std::uint64_t id;
  std::deque<Work> queue;
  std::uint64_t issued = 0;  // how much work it was given,
  std::uint64_t done = 0;    // has done,
  std::uint64_t wanted = 0;  // and has to do now
  std::shared_ptr<Capture> capture;
};

// The moment an event was last recorded.
struct Record {
  Mark mark;
  std::chrono::steady_clock::time_point time;  // when the stream got there
  std::shared_ptr<Capture> capture;            // recorded into a graph instead
  std::uint64_t captured = 0;                  // how much the capture's stream had then
};

struct Event {
  Context* context;
  unsigned flags;
  std::shared_ptr<Record> record;
};

struct Function {
  Image* image;
  const Kernel* kernel;
  std::size_t most_dynamic_shared = emulator::kStaticShared;
  int carveout = -1;
};

// A loaded module or library.
struct Image : std::enable_shared_from_this<Image> {
  Context* context;  // none for a library
  void* handle;      // of dlopen
  int file = -1;     // in memory; open as long as dlopen knows the image by its number
  const emulator::Module* module;
  std::vector<std::shared_ptr<Function>> functions;
  ~Image();
};

struct Node {
  Step step;
};

struct Graph {
  std::vector<std::shared_ptr<Node>> nodes;  // in an order that respects all dependencies
};

struct GraphExec {
  Context* context;
  std::vector<std::pair<std::shared_ptr<Node>, Step>> steps;  // the node each was made from
};

// What one cuStreamBeginCapture began.
struct Capture {
  std::uint64_t id;
  int mode;
  std::thread::id thread;
  std::shared_ptr<Stream> origin;
  std::shared_ptr<Graph> graph;
  bool invalidated = false;
  bool ended = false;
  struct Member {
    std::shared_ptr<Stream> stream;
    std::uint64_t steps = 0;   // it has added
    std::uint64_t joined = 0;  // of them, those that another stream of the capture waits for
  };
  std::vector<Member> members;  // the first is the origin
};

struct Device {
  int ordinal;
  int major, minor;
  std::shared_ptr<Context> primary;
  unsigned primary_flags = 0;
};

struct Context {
  Device* device;
  unsigned flags;
  int references;  // of the primary context; 0 for others
  std::uint64_t id;
  std::shared_ptr<Stream> legacy;  // the stream that handle 0 means
  Result error = kSuccess;         // the first asynchronous error; sticks
};

// The objects of one kind that handles point to.
template <class T>
class Handles {
 public:
  T* add(std::shared_ptr<T> object) {
    T* const handle = object.get();
    live_[handle] = std::move(object);
    return handle;
  }
  std::shared_ptr<T> find(const void* handle) const {
    const auto found = live_.find(handle);
    return found == live_.end() ? nullptr : found->second;
  }
  bool remove(const void* handle) { return live_.erase(handle) != 0; }
  template <class Condition>
  void remove_if(Condition condition) {
    std::erase_if(live_, [&](const auto& entry) { return condition(*entry.second); });
  }
  template <class Body>
  void for_each(Body body) const {
    for (const auto& entry : live_) {
      body(entry.second);
    }
  }

 private:
  std::unordered_map<const void*, std::shared_ptr<T>> live_;
};

using Lock = std::unique_lock<std::mutex>;

struct State {
  std::mutex mutex;
  std::condition_variable work;  // the device thread may have something to do
  std::condition_variable done;  // a step is done
  Settings settings;
  bool environment_read = false;
  bool initialised = false;
  bool running = false;  // there is a device thread
  std::vector<std::unique_ptr<Device>> devices;
  Handles<Context> contexts;
  Handles<Stream> streams;
  Handles<Event> events;
  Handles<Image> images;
  Handles<Function> functions;
  Handles<Graph> graphs;
  Handles<Node> nodes;
  Handles<GraphExec> execs;
  Handles<Pool> pools;
  std::vector<std::weak_ptr<Stream>> queues;  // every stream that may have work
  std::vector<std::weak_ptr<Capture>> captures;
  std::vector<std::shared_ptr<Context>> ended;
  std::uint64_t next_id = 1;
  std::uint64_t launches = 0;  // that ran
  std::uint64_t leaks = 0;     // allocations that a context's end found
  std::uint64_t random = 1;
};

// Never destroyed: the device thread may outlive main.
State& state();

// One line on stderr, beginning with "retort emulator: ".
__attribute__((format(printf, 1, 2))) void report(const char* format, ...);

// The context that is current on this thread.
Context*& current_context();

// --- work.cpp, module.cpp: the device thread ----------------------------------------------------------------------

std::shared_ptr<Stream> make_stream(Context& context, unsigned flags, int priority);

// The stream a handle means, or null.
std::shared_ptr<Stream> stream_of(Context& context, void* handle);

// Queues a step behind what the stream has and behind `after`, or adds it to the graph that the stream captures.
Result submit(Lock& lock, const std::shared_ptr<Stream>& stream, Step step, std::vector<Mark> after = {});

// Waits until a stream has got that far; the context's error then.
Result wait(Lock& lock, const Mark& mark);

// Waits for all streams of a context, or of all contexts.
void drain(Lock& lock, const Context* context);

// Runs a kernel and checks what it left; on the device thread.
void run_kernel(Context& context, const KernelCall& call);

// Checks a launch and copies its parameters; for streams and for graphs.
Result make_call(void* function, Extent grid, Extent block, std::size_t dynamic_shared, void** parameters, void** extra,
                 std::shared_ptr<const KernelCall>& call);

// --- graph.cpp ----------------------------------------------------------------------------------------

// An error if a capture forbids a call that could interrupt it; the capture is then invalid.
Result forbidden_by_capture();

// Adds a step to the capture that `stream` is part of.
Result capture_step(const std::shared_ptr<Stream>& stream, Step step);

// cuEventRecord and cuStreamWaitEvent where capturing streams are involved.
Result capture_record(const std::shared_ptr<Stream>& stream, Record& record);
Result capture_wait(const std::shared_ptr<Stream>& stream, const Record& record);

// --- device.cpp ----------------------------------------------------------------------------------------

// Ends a context: waits, checks guards, counts and frees what is left.
void destroy_context(Lock& lock, const std::shared_ptr<Context>& context);

// Calls body(lock) if cuInit was called; a C++ exception becomes an error.
template <class Body>
Result initialised(Body body) {
  Lock lock(state().mutex);
  if (!state().initialised) {
    return kNotInitialized;
  }
  try {
    return body(lock);
  } catch (const std::bad_alloc&) {
    return kOutOfMemory;
  }
}

// Calls body(lock, context) if a healthy context is current.
template <class Body>
Result in_context(Body body) {
  return initialised([&](Lock& lock) {
    Context* const context = current_context();
    if (context == nullptr) {
      return kInvalidContext;
    }
    if (state().contexts.find(context) == nullptr) {
      return kContextIsDestroyed;
    }
    if (context->error != kSuccess) {
      return context->error;
    }
    return body(lock, *context);
  });
}

// Calls body(lock, context, stream) if the handle is a stream's as well.
template <class Body>
Result in_stream(void* handle, Body body) {
  return in_context([&](Lock& lock, Context& context) {
    const auto stream = stream_of(context, handle);
    return stream == nullptr ? kInvalidHandle : body(lock, context, stream);
  });
}

}  // namespace rt::driver
