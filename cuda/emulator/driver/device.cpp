// device.cpp   start, devices, contexts, errors, and what tests may ask the look-alike itself
#include <dlfcn.h>

#include <algorithm>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

#include "emulator/driver/state.h"

namespace rt::driver {

namespace {

struct ErrorText {
  Result code;
  const char* name;
  const char* text;
};

constexpr ErrorText kErrors[] = {
    {kSuccess, "CUDA_SUCCESS", "no error"},
    {kInvalidValue, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {kNotInitialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {kNoDevice, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {kInvalidImage, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {kNoBinaryForGpu, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {kFileNotFound, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {kSharedObjectFailed, "CUDA_ERROR_SHARED_OBJECT_INIT_FAILED", "shared object initialization failed"},
    {kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {kIllegalState, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {kNotFound, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {kNotReady, "CUDA_ERROR_NOT_READY", "device not ready"},
    {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {kLaunchOutOfResources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {kContextIsDestroyed, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {kHostMemoryAlreadyRegistered, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {kHostMemoryNotRegistered, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {kMisalignedAddress, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {kNotSupported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {kCaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {kCaptureInvalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {kCaptureMerge, "CUDA_ERROR_STREAM_CAPTURE_MERGE",
     "operation would result in a merge of separate capture sequences"},
    {kCaptureUnmatched, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began"},
    {kCaptureUnjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {kCaptureImplicit, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {kCapturedEvent, "CUDA_ERROR_CAPTURED_EVENT",
     "operation not permitted on an event last recorded in a capturing stream"},
    {kCaptureWrongThread, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {kGraphExecUpdateFailure, "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE",
     "the graph update was not performed because it included changes which violated constraints"},
};

const ErrorText* text_of(Result code) {
  const auto* const found =
      std::find_if(std::begin(kErrors), std::end(kErrors), [code](const ErrorText& each) { return each.code == code; });
  return found == std::end(kErrors) ? nullptr : found;
}

// "64M" and the like.
std::size_t bytes_of(const std::string& text) {
  char* end = nullptr;
  const unsigned long long number = std::strtoull(text.c_str(), &end, 10);
  switch (*end) {
    case 'G': return number << 30;
    case 'M': return number << 20;
    case 'K': return number << 10;
    default: return number;
  }
}

// Whether there is such a setting.
bool set(Settings& settings, const std::string& name, const std::string& value) {
  if (name == "seed") {
    settings.seed = std::strtoull(value.c_str(), nullptr, 10);
    state().random = settings.seed * 0x9e3779b97f4a7c15u | 1u;
  } else if (name == "memory") {
    settings.memory = bytes_of(value);
  } else if (name == "work") {
    settings.eager = value == "eager";
    settings.drop_launches = value == "none";
  } else if (name == "driver") {
    settings.version = static_cast<int>(std::strtol(value.c_str(), nullptr, 10));
  } else if (name == "devices") {
    settings.devices = value;
  } else if (name == "images") {
    settings.images = value;
  } else {
    return false;
  }
  return true;
}

void read_environment(Settings& settings) {
  for (const char* name : {"seed", "memory", "work", "driver", "devices", "images"}) {
    std::string variable = "RETORT_EMULATOR_";
    for (const char* c = name; *c != '\0'; c++) {
      variable += static_cast<char>(*c - 'a' + 'A');
    }
    const char* const value = std::getenv(variable.c_str());
    if (value != nullptr) {
      set(settings, name, value);
    }
  }
}

std::shared_ptr<Context> make_context(Device& device, unsigned flags) {
  auto context = std::make_shared<Context>();
  context->device = &device;
  context->flags = flags;
  context->references = 0;
  context->id = state().next_id++;
  context->legacy = make_stream(*context, 0, 0);
  state().contexts.add(context);
  return context;
}

// Calls body(lock, device) if there is such a device.
template <class Body>
Result on_device(int ordinal, Body body) {
  return initialised([&](Lock& lock) {
    if (ordinal < 0 || ordinal >= static_cast<int>(state().devices.size())) {
      return kInvalidDevice;
    }
    return body(lock, *state().devices[static_cast<std::size_t>(ordinal)]);
  });
}

int attribute_of(const Device& device, int attribute) {
  const bool large = device.major == 9 || device.major == 10;
  const bool a100 = device.major == 8 && device.minor == 0;
  const int opt_in = large ? 227 << 10 : a100 ? 163 << 10 : 99 << 10;
  switch (attribute) {
    case 1:
    case 2:
    case 3: return 1024;                      // threads of a block, its x and y
    case 4: return 64;                        // its z
    case 5: return 0x7fffffff;                // grid x
    case 6:
    case 7: return 65535;                     // grid y, z
    case 8: return 48 << 10;                  // shared memory of a block
    case 9: return 64 << 10;                  // constant memory
    case 10: return 32;                       // warp
    case 11: return 0x7fffffff;               // pitch
    case 12:
    case 82: return 64 << 10;                 // registers
    case 13: return 1980000;                  // clock, kHz
    case 14: return 512;                      // texture alignment
    case 15:
    case 31:
    case 40:
    case 41:
    case 78:
    case 79:
    case 80:
    case 99: return 1;                        // overlap, concurrency, copy engine, unified addresses, priorities, caches
    case 16: return kMultiprocessors;
    case 19: return 1;                        // maps host memory
    case 33: return device.ordinal + 1;       // PCI bus
    case 36: return 2619000;                  // memory clock, kHz
    case 37: return 5120;                     // memory bus, bits
    case 38: return 50 << 20;                 // second-level cache
    case 39: return large || a100 ? 2048 : 1536;  // threads of a multiprocessor
    case 75: return device.major;
    case 76: return device.minor;
    case 81: return opt_in + 1024;            // shared memory of a multiprocessor
    case 97: return opt_in;
    case 106: return 32;                      // blocks of a multiprocessor
    case 111: return 1024;                    // reserved shared memory of a block
    case 115: return 1;                       // memory pools
    default: return 0;                        // anything else is not there
  }
}

}  // namespace

State& state() {
  static State* const all = new State;
  return *all;
}

void report(const char* format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "retort emulator: %s\n", line);
  std::fflush(stderr);
}

Context*& current_context() {
  thread_local Context* current = nullptr;
  return current;
}

void destroy_context(Lock& lock, const std::shared_ptr<Context>& context) {
  State& all = state();
  drain(lock, context.get());
  const std::string damage = memory().damage();
  if (!damage.empty()) {
    report("%s; found when its context ended", damage.c_str());
  }
  const auto [count, bytes] = memory().free_all(context.get());
  if (count != 0) {
    all.leaks += count;
    report("%zu allocations of %zu bytes were not freed before their context ended", count, bytes);
  }
  const auto ours = [&](const auto& object) { return object.context == context.get(); };
  all.streams.remove_if(ours);
  all.events.remove_if(ours);
  all.execs.remove_if(ours);
  all.functions.remove_if([&](const Function& function) { return function.image->context == context.get(); });
  all.images.remove_if(ours);
  all.contexts.remove(context.get());
  all.ended.push_back(context);  // queued work and marks may still point to it
}

// What is wrong at the end of the process is said, whether or not contexts were released.
__attribute__((destructor)) void check_at_exit() {
  if (state().mutex.try_lock()) {
    const std::string damage = memory().damage();
    if (!damage.empty()) {
      report("%s; found at exit", damage.c_str());
    }
    state().mutex.unlock();
  }
}

}  // namespace rt::driver

using namespace rt::driver;

// --- for tests ---------------------------------------------------------------------------------------

// Changes a setting: seed, memory, work, driver, devices (before cuInit) or images, as the environment variables.
RT_API rt_emulator_set(const char* name, const char* value) {
  const Lock lock(state().mutex);
  return set(state().settings, name, value) ? kSuccess : kInvalidValue;
}

// allocations of device and page-locked memory and bytes that live, launches that ran, leaks found when contexts ended; -1 for another name.
extern "C" __attribute__((visibility("default"))) long long rt_emulator_count(const char* what) {
  const Lock lock(state().mutex);
  const std::string name = what;
  return name == "allocations" ? static_cast<long long>(memory().live().first)
         : name == "bytes"     ? static_cast<long long>(memory().live().second)
         : name == "launches"  ? static_cast<long long>(state().launches)
         : name == "leaks"     ? static_cast<long long>(state().leaks)
                               : -1;
}

// --- start and errors --------------------------------------------------------------------------------

RT_API cuInit(unsigned flags) {
  State& all = state();
  const Lock lock(all.mutex);
  if (flags != 0) {
    return kInvalidValue;
  }
  if (all.initialised) {
    return kSuccess;
  }
  if (!all.environment_read) {
    all.environment_read = true;
    read_environment(all.settings);
  }
  std::istringstream list(all.settings.devices);
  for (std::string capability; std::getline(list, capability, ',');) {
    auto device = std::make_unique<Device>();
    device->ordinal = static_cast<int>(all.devices.size());
    device->major = std::atoi(capability.c_str());
    const std::size_t dot = capability.find('.');
    device->minor = dot == std::string::npos ? 0 : std::atoi(capability.c_str() + dot + 1);
    all.devices.push_back(std::move(device));
  }
  if (all.devices.empty()) {
    return kNoDevice;
  }
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    report("the emulated kernels are compiled for AVX2, which this processor lacks");
    return kNoDevice;
  }
  all.initialised = true;
  return kSuccess;
}

RT_API cuDriverGetVersion(int* version) {
  if (version == nullptr) {
    return kInvalidValue;
  }
  const Lock lock(state().mutex);
  if (!state().environment_read) {
    state().environment_read = true;
    read_environment(state().settings);
  }
  *version = state().settings.version;
  return kSuccess;
}

RT_API cuGetErrorName(Result code, const char** name) {
  const ErrorText* const found = text_of(code);
  *name = found == nullptr ? nullptr : found->name;
  return found == nullptr ? kInvalidValue : kSuccess;
}

RT_API cuGetErrorString(Result code, const char** text) {
  const ErrorText* const found = text_of(code);
  *text = found == nullptr ? nullptr : found->text;
  return found == nullptr ? kInvalidValue : kSuccess;
}

// The newest variant of a function that this library has.
RT_API cuGetProcAddress_v2(const char* symbol, void** function, int, std::uint64_t, int* status) {
  if (symbol == nullptr || function == nullptr) {
    return kInvalidValue;
  }
  Dl_info self;
  dladdr(reinterpret_cast<void*>(&cuInit), &self);
  void* const library = dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  *function = nullptr;
  for (const char* suffix : {"_v4", "_v3", "_v2", ""}) {
    if (*function == nullptr && library != nullptr) {
      *function = dlsym(library, (std::string(symbol) + suffix).c_str());
    }
  }
  if (library != nullptr) {
    dlclose(library);
  }
  if (status != nullptr) {
    *status = *function == nullptr ? 1 : 0;
  }
  return *function == nullptr ? kNotFound : kSuccess;
}

RT_API cuGetProcAddress(const char* symbol, void** function, int version, std::uint64_t flags) {
  return cuGetProcAddress_v2(symbol, function, version, flags, nullptr);
}

// --- devices -----------------------------------------------------------------------------------------

RT_API cuDeviceGetCount(int* count) {
  return initialised([&](Lock&) {
    *count = static_cast<int>(state().devices.size());
    return kSuccess;
  });
}

RT_API cuDeviceGet(int* device, int ordinal) {
  return on_device(ordinal, [&](Lock&, Device&) {
    *device = ordinal;
    return kSuccess;
  });
}

RT_API cuDeviceGetName(char* name, int bytes, int ordinal) {
  return on_device(ordinal, [&](Lock&, Device& device) {
    if (name == nullptr || bytes < 1) {
      return kInvalidValue;
    }
    std::snprintf(name, static_cast<std::size_t>(bytes), "Retort emulator sm_%d%d", device.major, device.minor);
    return kSuccess;
  });
}

RT_API cuDeviceGetUuid_v2(char* uuid, int ordinal) {
  return on_device(ordinal, [&](Lock&, Device&) {
    std::memcpy(uuid, "retort-emulator", 15);
    uuid[15] = static_cast<char>(ordinal);
    return kSuccess;
  });
}

RT_API cuDeviceGetUuid(char* uuid, int ordinal) { return cuDeviceGetUuid_v2(uuid, ordinal); }

RT_API cuDeviceTotalMem_v2(std::size_t* bytes, int ordinal) {
  return on_device(ordinal, [&](Lock&, Device&) {
    *bytes = state().settings.memory;
    return kSuccess;
  });
}

RT_API cuDeviceGetAttribute(int* value, int attribute, int ordinal) {
  return on_device(ordinal, [&](Lock&, Device& device) {
    if (value == nullptr || attribute < 1 || attribute > 200) {
      return kInvalidValue;
    }
    *value = attribute_of(device, attribute);
    return kSuccess;
  });
}

RT_API cuDeviceComputeCapability(int* major, int* minor, int ordinal) {
  return on_device(ordinal, [&](Lock&, Device& device) {
    *major = device.major;
    *minor = device.minor;
    return kSuccess;
  });
}

RT_API cuDeviceGetPCIBusId(char* id, int bytes, int ordinal) {
  return on_device(ordinal, [&](Lock&, Device&) {
    std::snprintf(id, static_cast<std::size_t>(bytes), "0000:%02x:00.0", ordinal + 1);
    return kSuccess;
  });
}

RT_API cuDeviceCanAccessPeer(int* can, int ordinal, int) {
  return on_device(ordinal, [&](Lock&, Device&) {
    *can = 0;
    return kSuccess;
  });
}

// --- contexts ----------------------------------------------------------------------------------------

RT_API cuDevicePrimaryCtxRetain(void** context, int ordinal) {
  return on_device(ordinal, [&](Lock&, Device& device) {
    if (device.primary == nullptr) {
      device.primary = make_context(device, device.primary_flags);
    }
    device.primary->references++;
    *context = device.primary.get();
    return kSuccess;
  });
}

RT_API cuDevicePrimaryCtxRelease_v2(int ordinal) {
  return on_device(ordinal, [&](Lock& lock, Device& device) {
    if (device.primary == nullptr) {
      return kInvalidContext;
    }
    if (--device.primary->references == 0) {
      const auto ended = std::exchange(device.primary, nullptr);
      destroy_context(lock, ended);
    }
    return kSuccess;
  });
}

RT_API cuDevicePrimaryCtxReset_v2(int ordinal) {
  return on_device(ordinal, [&](Lock& lock, Device& device) {
    const auto ended = std::exchange(device.primary, nullptr);
    if (ended != nullptr) {
      destroy_context(lock, ended);
    }
    return kSuccess;
  });
}

RT_API cuDevicePrimaryCtxSetFlags_v2(int ordinal, unsigned flags) {
  return on_device(ordinal, [&](Lock&, Device& device) {
    device.primary_flags = flags;
    return kSuccess;
  });
}

RT_API cuDevicePrimaryCtxGetState(int ordinal, unsigned* flags, int* active) {
  return on_device(ordinal, [&](Lock&, Device& device) {
    *flags = device.primary_flags;
    *active = device.primary != nullptr ? 1 : 0;
    return kSuccess;
  });
}

namespace {

// Contexts that cuCtxPushCurrent put below the current one.
thread_local std::vector<Context*> below;

}  // namespace

RT_API cuCtxCreate_v2(void** context, unsigned flags, int ordinal) {
  return on_device(ordinal, [&](Lock&, Device& device) {
    Context* const made = make_context(device, flags).get();
    below.push_back(current_context());
    current_context() = made;
    *context = made;
    return kSuccess;
  });
}

RT_API cuCtxCreate_v4(void** context, void*, unsigned flags, int ordinal) {
  return cuCtxCreate_v2(context, flags, ordinal);
}

RT_API cuCtxDestroy_v2(void* context) {
  return initialised([&](Lock& lock) {
    const auto found = state().contexts.find(context);
    if (found == nullptr || found == found->device->primary) {
      return kInvalidContext;
    }
    if (current_context() == found.get()) {
      current_context() = below.empty() ? nullptr : below.back();
      if (!below.empty()) {
        below.pop_back();
      }
    }
    destroy_context(lock, found);
    return kSuccess;
  });
}

RT_API cuCtxSetCurrent(void* context) {
  return initialised([&](Lock&) {
    if (context != nullptr && state().contexts.find(context) == nullptr) {
      return kInvalidContext;
    }
    current_context() = static_cast<Context*>(context);
    return kSuccess;
  });
}

RT_API cuCtxGetCurrent(void** context) {
  return initialised([&](Lock&) {
    *context = current_context();
    return kSuccess;
  });
}

RT_API cuCtxPushCurrent_v2(void* context) {
  return initialised([&](Lock&) {
    if (state().contexts.find(context) == nullptr) {
      return kInvalidContext;
    }
    below.push_back(current_context());
    current_context() = static_cast<Context*>(context);
    return kSuccess;
  });
}

RT_API cuCtxPopCurrent_v2(void** context) {
  return initialised([&](Lock&) {
    if (current_context() == nullptr) {
      return kInvalidContext;
    }
    if (context != nullptr) {
      *context = current_context();
    }
    current_context() = below.empty() ? nullptr : below.back();
    if (!below.empty()) {
      below.pop_back();
    }
    return kSuccess;
  });
}

RT_API cuCtxGetDevice(int* ordinal) {
  return in_context([&](Lock&, Context& context) {
    *ordinal = context.device->ordinal;
    return kSuccess;
  });
}

RT_API cuCtxGetFlags(unsigned* flags) {
  return in_context([&](Lock&, Context& context) {
    *flags = context.flags;
    return kSuccess;
  });
}

RT_API cuCtxGetId(void* context, unsigned long long* id) {
  return initialised([&](Lock&) {
    const auto found =
        state().contexts.find(context == nullptr ? static_cast<void*>(current_context()) : context);
    if (found == nullptr) {
      return kInvalidContext;
    }
    *id = found->id;
    return kSuccess;
  });
}

RT_API cuCtxGetApiVersion(void*, unsigned* version) {
  *version = 3020;
  return kSuccess;
}

RT_API cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  return in_context([&](Lock&, Context&) {
    if (least != nullptr) {
      *least = 0;
    }
    if (greatest != nullptr) {
      *greatest = -5;
    }
    return kSuccess;
  });
}

RT_API cuProfilerStart() { return kSuccess; }
RT_API cuProfilerStop() { return kSuccess; }
