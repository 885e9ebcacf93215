// module.cpp   module images, functions and launches
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "emulator/driver/state.h"

namespace rt::driver {

namespace {

// Bytes of shared memory that a block may have after cuFuncSetAttribute, and that a multiprocessor has.
std::size_t opt_in_shared(const Device& device) {
  switch (device.major) {
    case 9:
    case 10: return 227 << 10;
    case 8: return (device.minor == 0 ? 163 : 99) << 10;
    default: return 99 << 10;
  }
}

// A path that no image had before: dlopen would take an image of the same path for the one it has.
std::string new_path(const std::string& folder) {
  static std::atomic<unsigned> count;
  return folder + "/retort-" + std::to_string(count++) + ".so";
}

// dlopen of a library that is in memory.
void open_image(const void* image, std::size_t bytes, Image& loaded) {
  std::string path;
  if (state().settings.images.empty()) {
    loaded.file = memfd_create("retort-image", MFD_CLOEXEC);
    path = "/proc/self/fd/" + std::to_string(loaded.file);
    const char* p = static_cast<const char*>(image);
    for (std::size_t written = 0; loaded.file >= 0 && written < bytes;) {
      const ssize_t n = write(loaded.file, p + written, bytes - written);
      if (n <= 0) {
        break;
      }
      written += static_cast<std::size_t>(n);
    }
  } else {
    // Sanitizers and debuggers find the source lines of a file that stays.
    path = new_path(state().settings.images);
    std::ofstream(path, std::ios::binary).write(static_cast<const char*>(image), static_cast<std::streamsize>(bytes));
  }
  loaded.handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded.handle == nullptr) {
    report("a module image does not load: %s", dlerror());
  }
}

// Loads an image; a cubin or PTX is for another device.
Result load(const void* image, Context* context, std::shared_ptr<Image>& loaded) {
  if (image == nullptr) {
    return kInvalidValue;
  }
  if (std::memcmp(image, ELFMAG, SELFMAG) != 0) {
    const auto* const text = static_cast<const char*>(image);
    const bool ptx = std::strncmp(text, "//", 2) == 0 || std::strncmp(text, ".version", 8) == 0;
    return ptx ? kNoBinaryForGpu : kInvalidImage;
  }
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof header);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) {
    return kNoBinaryForGpu;
  }
  loaded = std::make_shared<Image>();
  loaded->context = context;
  open_image(image, header.e_shoff + std::size_t{header.e_shnum} * header.e_shentsize, *loaded);
  if (loaded->handle == nullptr) {
    return kSharedObjectFailed;
  }
  const auto describe = reinterpret_cast<const emulator::Module* (*)()>(dlsym(loaded->handle, "rt_emulator_module"));
  if (describe == nullptr) {
    return kInvalidImage;
  }
  loaded->module = describe();
  for (const Kernel& kernel : loaded->module->kernels) {
    auto function = std::make_shared<Function>();
    function->image = loaded.get();
    function->kernel = &kernel;
    loaded->functions.push_back(function);
  }
  return kSuccess;
}

Result load_and_keep(const void* image, Context* context, void** handle) {
  std::shared_ptr<Image> loaded;
  const Result result = load(image, context, loaded);
  if (result != kSuccess) {
    return result;
  }
  for (const auto& function : loaded->functions) {
    state().functions.add(function);
  }
  *handle = state().images.add(std::move(loaded));
  return kSuccess;
}

Result unload(Lock& lock, void* handle) {
  const auto image = state().images.find(handle);
  if (image == nullptr) {
    return kInvalidHandle;
  }
  drain(lock, nullptr);
  for (const auto& function : image->functions) {
    state().functions.remove(function.get());
  }
  state().images.remove(handle);
  return kSuccess;
}

Result find_function(void* handle, const char* name, void** function) {
  const auto image = state().images.find(handle);
  if (image == nullptr) {
    return kInvalidHandle;
  }
  if (name == nullptr || function == nullptr) {
    return kInvalidValue;
  }
  for (const auto& each : image->functions) {
    if (std::strcmp(each->kernel->name, name) == 0) {
      *function = each.get();
      return kSuccess;
    }
  }
  return kNotFound;
}

Result parameter(void* function, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  const auto found = state().functions.find(function);
  if (found == nullptr) {
    return kInvalidHandle;
  }
  const auto& parameters = found->kernel->parameters;
  if (index >= parameters.size() || offset == nullptr) {
    return kInvalidValue;
  }
  *offset = parameters[index].offset;
  if (bytes != nullptr) {
    *bytes = parameters[index].bytes;
  }
  return kSuccess;
}

// Registers, constants and spills are nvcc's business; the numbers here are those of an ordinary kernel.
Result get_attribute(int* value, int attribute, void* function) {
  const auto found = state().functions.find(function);
  if (found == nullptr) {
    return kInvalidHandle;
  }
  if (value == nullptr) {
    return kInvalidValue;
  }
  switch (attribute) {
    case kFunctionMaxThreads: *value = found->kernel->most_threads; return kSuccess;
    case kFunctionSharedBytes:
    case kFunctionConstBytes:
    case kFunctionLocalBytes:
    case kFunctionCacheModeCa: *value = 0; return kSuccess;
    case kFunctionRegisters: *value = 32; return kSuccess;
    case kFunctionPtxVersion:
    case kFunctionBinaryVersion: *value = 90; return kSuccess;
    case kFunctionMaxDynamicShared: *value = static_cast<int>(found->most_dynamic_shared); return kSuccess;
    case kFunctionSharedCarveout: *value = found->carveout; return kSuccess;
    default: return kInvalidValue;
  }
}

Result set_attribute(const Device& device, void* function, int attribute, int value) {
  const auto found = state().functions.find(function);
  if (found == nullptr) {
    return kInvalidHandle;
  }
  if (attribute == kFunctionMaxDynamicShared) {
    if (value < 0 || static_cast<std::size_t>(value) > opt_in_shared(device)) {
      return kInvalidValue;
    }
    found->most_dynamic_shared = static_cast<std::size_t>(value);
    return kSuccess;
  }
  if (attribute == kFunctionSharedCarveout && value >= -1 && value <= 100) {
    found->carveout = value;
    return kSuccess;
  }
  return kInvalidValue;
}

// Blocks of a function that one multiprocessor holds.
int active_blocks(const Device& device, const Function& function, int threads, std::size_t dynamic_shared) {
  const std::size_t most_threads = device.major == 8 && device.minor != 0 ? 1536 : device.major >= 12 ? 1536 : 2048;
  if (threads < 1 || threads > function.kernel->most_threads || dynamic_shared > opt_in_shared(device)) {
    return 0;
  }
  const std::size_t by_threads = most_threads / static_cast<std::size_t>((threads + 31) / 32 * 32);
  const std::size_t by_shared = (opt_in_shared(device) + 1024) / (dynamic_shared + 1024);
  return static_cast<int>(std::min({by_threads, by_shared, std::size_t{32}}));
}

// The parameters of a launch, from one pointer each or from a packed buffer.
Result pack_parameters(const Kernel& kernel, void** parameters, void** extra, std::vector<std::byte>& packed) {
  packed.resize(kernel.parameter_bytes);
  if (parameters != nullptr) {
    for (std::size_t i = 0; i < kernel.parameters.size(); i++) {
      std::memcpy(packed.data() + kernel.parameters[i].offset, parameters[i], kernel.parameters[i].bytes);
    }
    return kSuccess;
  }
  const void* buffer = nullptr;
  std::size_t bytes = 0;
  for (; extra != nullptr && reinterpret_cast<std::uintptr_t>(*extra) != kParameterEnd; extra += 2) {
    switch (reinterpret_cast<std::uintptr_t>(extra[0])) {
      case kParameterBuffer: buffer = extra[1]; break;
      case kParameterBytes: bytes = *static_cast<std::size_t*>(extra[1]); break;
      default: return kInvalidValue;
    }
  }
  if (kernel.parameters.empty()) {
    return kSuccess;
  }
  if (buffer == nullptr || bytes < kernel.parameter_bytes) {
    return kInvalidValue;
  }
  std::memcpy(packed.data(), buffer, packed.size());
  return kSuccess;
}

bool possible(const Function& function, Extent grid, Extent block, std::size_t dynamic_shared) {
  const bool grid_fits = grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535u &&
                         grid.z <= 65535u;
  const bool block_fits = block.x >= 1 && block.y >= 1 && block.z >= 1 && block.x <= 1024u && block.y <= 1024u &&
                          block.z <= 64u && block.count() <= static_cast<std::size_t>(function.kernel->most_threads);
  return grid_fits && block_fits && dynamic_shared <= function.most_dynamic_shared;
}

}  // namespace

Image::~Image() {
  if (handle != nullptr) {
    dlclose(handle);
  }
  if (file >= 0) {
    close(file);
  }
}

void run_kernel(Context& context, const KernelCall& call) {
  State& all = state();
  std::vector<void*> parameters;
  std::vector<std::byte> packed = call.parameters;
  for (const emulator::Parameter& parameter : call.kernel->parameters) {
    parameters.push_back(packed.data() + parameter.offset);
  }
  std::uint64_t seed = 0;
  {
    const Lock lock(all.mutex);
    all.launches++;
    seed = all.settings.seed == 0 ? 0 : all.settings.seed + 0x10001 * all.launches;
  }
  emulator::Outcome outcome{emulator::kOk, ""};
  call.image->module->run({call.kernel, call.grid, call.block, call.dynamic_shared, parameters.data(), seed}, outcome);
  const Lock lock(all.mutex);
  const std::string damage = memory().damage();
  if (!damage.empty()) {
    report("kernel %s: %s", call.kernel->name, damage.c_str());
    outcome.error = outcome.error == emulator::kOk ? kIllegalAddress : outcome.error;
  }
  if (outcome.text[0] != '\0') {
    report("%s", outcome.text);
  }
  if (outcome.error != emulator::kOk && context.error == kSuccess) {
    context.error = outcome.error;
  }
}

Result make_call(void* function, Extent grid, Extent block, std::size_t dynamic_shared, void** parameters, void** extra,
                 std::shared_ptr<const KernelCall>& call) {
  const auto found = state().functions.find(function);
  if (found == nullptr) {
    return kInvalidHandle;
  }
  if (!possible(*found, grid, block, dynamic_shared)) {
    return kInvalidValue;
  }
  KernelCall made{found->image->shared_from_this(), found->kernel, grid, block, dynamic_shared, {}};
  const Result packed = pack_parameters(*found->kernel, parameters, extra, made.parameters);
  call = std::make_shared<const KernelCall>(std::move(made));
  return packed;
}

}  // namespace rt::driver

using namespace rt::driver;

RT_API cuModuleLoadData(void** module, const void* image) {
  return in_context([&](Lock&, Context& context) { return load_and_keep(image, &context, module); });
}

// Options of the just-in-time compiler are accepted; the logs stay empty.
RT_API cuModuleLoadDataEx(void** module, const void* image, unsigned count, int* options, void** values) {
  for (unsigned i = 0; i < count; i++) {
    if ((options[i] == 3 || options[i] == 5) && values[i] != nullptr) {  // info log, error log
      *static_cast<char*>(values[i]) = '\0';
    }
    if (options[i] == 4 || options[i] == 6) {  // in: bytes of a log, out: bytes written
      values[i] = nullptr;
    }
  }
  return cuModuleLoadData(module, image);
}

RT_API cuModuleLoad(void** module, const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string image{std::istreambuf_iterator<char>(file), {}};
  return file ? cuModuleLoadData(module, image.c_str()) : kFileNotFound;
}

RT_API cuModuleUnload(void* module) {
  return in_context([&](Lock& lock, Context&) { return unload(lock, module); });
}

RT_API cuModuleGetFunction(void** function, void* module, const char* name) {
  return in_context([&](Lock&, Context&) { return find_function(module, name, function); });
}

// Kernels get all they need as parameters: there are no device variables.
RT_API cuModuleGetGlobal_v2(DevicePointer*, std::size_t*, void* module, const char*) {
  return in_context([&](Lock&, Context&) { return state().images.find(module) == nullptr ? kInvalidHandle : kNotFound; });
}

RT_API cuModuleGetLoadingMode(int* mode) {
  *mode = 1;  // CU_MODULE_EAGER_LOADING
  return kSuccess;
}

RT_API cuLibraryLoadData(void** library, const void* image, int*, void**, unsigned, int*, void**, unsigned) {
  return initialised([&](Lock&) { return load_and_keep(image, nullptr, library); });
}

RT_API cuLibraryUnload(void* library) {
  return initialised([&](Lock& lock) { return unload(lock, library); });
}

RT_API cuLibraryGetKernel(void** kernel, void* library, const char* name) {
  return initialised([&](Lock&) { return find_function(library, name, kernel); });
}

RT_API cuLibraryGetModule(void** module, void* library) {
  return in_context([&](Lock&, Context&) {
    *module = library;
    return state().images.find(library) == nullptr ? kInvalidHandle : kSuccess;
  });
}

// A CUkernel and its CUfunction are the same object here.
RT_API cuKernelGetFunction(void** function, void* kernel) {
  return in_context([&](Lock&, Context&) {
    *function = kernel;
    return state().functions.find(kernel) == nullptr ? kInvalidHandle : kSuccess;
  });
}

RT_API cuKernelGetName(const char** name, void* kernel) {
  return initialised([&](Lock&) {
    const auto found = state().functions.find(kernel);
    if (found == nullptr) {
      return kInvalidHandle;
    }
    *name = found->kernel->name;
    return kSuccess;
  });
}

RT_API cuFuncGetName(const char** name, void* function) { return cuKernelGetName(name, function); }

RT_API cuFuncGetModule(void** module, void* function) {
  return in_context([&](Lock&, Context&) {
    const auto found = state().functions.find(function);
    if (found == nullptr) {
      return kInvalidHandle;
    }
    *module = found->image;
    return kSuccess;
  });
}

RT_API cuKernelSetAttribute(int attribute, int value, void* kernel, int device) {
  return initialised([&](Lock&) {
    if (device < 0 || device >= static_cast<int>(state().devices.size())) {
      return kInvalidDevice;
    }
    return set_attribute(*state().devices[static_cast<std::size_t>(device)], kernel, attribute, value);
  });
}

RT_API cuKernelGetAttribute(int* value, int attribute, void* kernel, int) {
  return initialised([&](Lock&) { return get_attribute(value, attribute, kernel); });
}

RT_API cuKernelGetParamInfo(void* kernel, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  return initialised([&](Lock&) { return parameter(kernel, index, offset, bytes); });
}

RT_API cuFuncSetAttribute(void* function, int attribute, int value) {
  return in_context(
      [&](Lock&, Context& context) { return set_attribute(*context.device, function, attribute, value); });
}

RT_API cuFuncGetAttribute(int* value, int attribute, void* function) {
  return in_context([&](Lock&, Context&) { return get_attribute(value, attribute, function); });
}

RT_API cuFuncGetParamInfo(void* function, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  return in_context([&](Lock&, Context&) { return parameter(function, index, offset, bytes); });
}

RT_API cuFuncSetCacheConfig(void*, int) {
  return in_context([](Lock&, Context&) { return kSuccess; });
}

RT_API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* function, int threads, std::size_t dynamic_shared) {
  return in_context([&](Lock&, Context& context) {
    const auto found = state().functions.find(function);
    if (found == nullptr) {
      return kInvalidHandle;
    }
    *blocks = active_blocks(*context.device, *found, threads, dynamic_shared);
    return kSuccess;
  });
}

RT_API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, void* function, int threads,
                                                            std::size_t dynamic_shared, unsigned) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, dynamic_shared);
}

RT_API cuOccupancyMaxPotentialBlockSize(int* least_grid, int* threads, void* function,
                                        std::size_t (*shared_of)(int), std::size_t dynamic_shared, int most_threads) {
  return in_context([&](Lock&, Context& context) {
    const auto found = state().functions.find(function);
    if (found == nullptr) {
      return kInvalidHandle;
    }
    const int most = most_threads > 0 ? std::min(most_threads, found->kernel->most_threads) : found->kernel->most_threads;
    int best = 0;
    for (int size = most / 32 * 32; size >= 32; size -= 32) {
      const std::size_t shared = shared_of == nullptr ? dynamic_shared : shared_of(size);
      const int blocks = active_blocks(*context.device, *found, size, shared);
      if (blocks * size > best) {
        best = blocks * size;
        *threads = size;
        *least_grid = blocks * kMultiprocessors;
      }
    }
    return best > 0 ? kSuccess : kInvalidValue;
  });
}

RT_API cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared_bytes, void* stream, void** parameters,
                      void** extra) {
  if (state().settings.drop_launches) {
    return kSuccess;
  }
  return in_stream(stream, [&](Lock& lock, Context&, const std::shared_ptr<Stream>& found) {
    Step step{kNodeKernel, nullptr, nullptr};
    const Result made = make_call(function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes,
                                  parameters, extra, step.call);
    return made != kSuccess ? made : submit(lock, found, std::move(step));
  });
}

RT_API cuLaunchKernelEx(const LaunchConfig* config, void* function, void** parameters, void** extra) {
  for (unsigned i = 0; i < config->attribute_count; i++) {
    const LaunchAttribute& attribute = config->attributes[i];
    if (attribute.id == kLaunchCluster && attribute.value[0] * attribute.value[1] * attribute.value[2] > 1) {
      return kNotSupported;
    }
  }
  return cuLaunchKernel(function, config->grid_x, config->grid_y, config->grid_z, config->block_x, config->block_y,
                        config->block_z, config->shared_bytes, config->stream, parameters, extra);
}

// Blocks run one after the other, so a kernel that synchronises its grid would wait for ever.
RT_API cuLaunchCooperativeKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                                 unsigned block_y, unsigned block_z, unsigned shared_bytes, void* stream,
                                 void** parameters) {
  return grid_x * grid_y * grid_z > 1 ? kNotSupported
                                      : cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                                                       shared_bytes, stream, parameters, nullptr);
}
