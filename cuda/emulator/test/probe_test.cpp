// probe_test.cpp   the emulator tested by itself: what it computes, what it detects, how its streams behave
//
// usage     emulator_test <module image of probe.cu> [name of one test]
// exit      0 if every test passed; each failure is one line with the test, the expression and the values
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "emulator/driver/abi.h"
#include "emulator/module.h"
#include "math/philox.h"

using rt::driver::DevicePointer;
using rt::driver::Result;

// The part of the interface that is tested, as cuda.h declares it.
extern "C" {
Result cuInit(unsigned);
Result cuDeviceGetAttribute(int*, int, int);
Result cuDevicePrimaryCtxRetain(void**, int);
Result cuDevicePrimaryCtxRelease_v2(int);
Result cuCtxSetCurrent(void*);
Result cuCtxSynchronize();
Result cuModuleLoadData(void**, const void*);
Result cuModuleUnload(void*);
Result cuModuleGetFunction(void**, void*, const char*);
Result cuFuncGetParamInfo(void*, std::size_t, std::size_t*, std::size_t*);
Result cuFuncSetAttribute(void*, int, int);
Result cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
Result cuLinkCreate_v2(unsigned, int*, void**, void**);
Result cuMemAlloc_v2(DevicePointer*, std::size_t);
Result cuMemFree_v2(DevicePointer);
Result cuMemAllocAsync(DevicePointer*, std::size_t, void*);
Result cuMemFreeAsync(DevicePointer, void*);
Result cuMemGetInfo_v2(std::size_t*, std::size_t*);
Result cuMemHostAlloc(void**, std::size_t, unsigned);
Result cuMemFreeHost(void*);
Result cuMemcpyHtoD_v2(DevicePointer, const void*, std::size_t);
Result cuMemcpyDtoH_v2(void*, DevicePointer, std::size_t);
Result cuMemcpyHtoDAsync_v2(DevicePointer, const void*, std::size_t, void*);
Result cuMemcpyDtoHAsync_v2(void*, DevicePointer, std::size_t, void*);
Result cuMemsetD32Async(DevicePointer, unsigned, std::size_t, void*);
Result cuStreamCreate(void**, unsigned);
Result cuStreamDestroy_v2(void*);
Result cuStreamSynchronize(void*);
Result cuStreamQuery(void*);
Result cuStreamWaitEvent(void*, void*, unsigned);
Result cuStreamBeginCapture_v2(void*, int);
Result cuStreamEndCapture(void*, void**);
Result cuEventCreate(void**, unsigned);
Result cuEventRecord(void*, void*);
Result cuEventSynchronize(void*);
Result cuEventDestroy_v2(void*);
Result cuEventElapsedTime_v2(float*, void*, void*);
Result cuGraphInstantiateWithFlags(void**, void*, unsigned long long);
Result cuGraphLaunch(void*, void*);
Result cuGraphExecDestroy(void*);
Result cuGraphDestroy(void*);
Result rt_emulator_set(const char*, const char*);
long long rt_emulator_count(const char*);
}

namespace {

constexpr int kNonBlocking = 1;

std::string image;       // of the probe's module
std::string program;     // this one,
std::string image_file;  // and its argument
const char* test_name;   // that runs
int failures = 0;

void fail(int line, const std::string& what) {
  std::printf("FAILED %s, line %d: %s\n", test_name, line, what.c_str());
  failures++;
}

template <class A, class B>
void check_equal(int line, const char* expression, const A& got, const B& expected) {
  if (!(got == expected)) {
    fail(line, std::string(expression) + " is " + std::to_string(got) + ", expected " + std::to_string(expected));
  }
}

#define CHECK_EQUAL(got, expected) check_equal(__LINE__, #got, got, expected)
#define CHECK(condition)          \
  do {                            \
    if (!(condition)) {           \
      fail(__LINE__, #condition); \
    }                             \
  } while (false)

float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t to_bf16(float x) { return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16); }

std::vector<float> numbers(std::size_t n) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  std::generate(x.begin(), x.end(), [&] { return normal(random); });
  return x;
}

// A fresh primary context with the probe loaded and one non-blocking stream.
class Device {
 public:
  Device() {
    CHECK_EQUAL(cuInit(0), 0);
    CHECK_EQUAL(cuDevicePrimaryCtxRetain(&context_, 0), 0);
    CHECK_EQUAL(cuCtxSetCurrent(context_), 0);
    CHECK_EQUAL(cuModuleLoadData(&module_, image.data()), 0);
    CHECK_EQUAL(cuStreamCreate(&stream, kNonBlocking), 0);
  }
  ~Device() {
    cuCtxSetCurrent(nullptr);
    cuDevicePrimaryCtxRelease_v2(0);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void* function(const char* name) const {
    void* found = nullptr;
    CHECK_EQUAL(cuModuleGetFunction(&found, module_, name), 0);
    return found;
  }

  // Launches with one pointer for each argument.
  template <class... A>
  Result launch(const char* name, unsigned grid, unsigned block, unsigned shared, A... arguments) const {
    void* parameters[] = {static_cast<void*>(&arguments)..., nullptr};
    return cuLaunchKernel(function(name), grid, 1, 1, block, 1, 1, shared, stream, parameters, nullptr);
  }

  // What the work so far ended with.
  Result finish() const { return cuStreamSynchronize(stream); }

  void* module() const { return module_; }

  void* stream = nullptr;

 private:
  void* context_ = nullptr;
  void* module_ = nullptr;
};

template <class T>
class Array {
 public:
  explicit Array(std::size_t n) : n_(n) { CHECK_EQUAL(cuMemAlloc_v2(&p, n * sizeof(T)), 0); }
  explicit Array(const std::vector<T>& values) : Array(values.size()) {
    CHECK_EQUAL(cuMemcpyHtoD_v2(p, values.data(), n_ * sizeof(T)), 0);
  }
  ~Array() { cuMemFree_v2(p); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  std::vector<T> read() const {
    std::vector<T> values(n_);
    CHECK_EQUAL(cuMemcpyDtoH_v2(values.data(), p, n_ * sizeof(T)), 0);
    return values;
  }

  DevicePointer p = 0;

 private:
  std::size_t n_;
};

// --- what it computes ---------------------------------------------------------------------------------

struct ProbeStruct {
  std::int32_t first;
  double second;
};

void parameters() {
  const Device device;
  const Array<double> out(1);
  CHECK_EQUAL(device.launch("rt_probe_parameters", 1, 32, 0, std::int8_t{1}, std::int64_t{20}, 300.0f,
                            ProbeStruct{4000, 50000.0}, std::int16_t{600}, out.p),
              0);
  CHECK_EQUAL(device.finish(), 0);
  CHECK_EQUAL(out.read()[0], 54921.0);
  const std::array<std::pair<std::size_t, std::size_t>, 6> expected{{{0, 1}, {8, 8}, {16, 4}, {24, 16}, {40, 2}, {48, 8}}};
  std::size_t offset = 0;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < expected.size(); i++) {
    CHECK_EQUAL(cuFuncGetParamInfo(device.function("rt_probe_parameters"), i, &offset, &bytes), 0);
    CHECK_EQUAL(offset, expected[i].first);
    CHECK_EQUAL(bytes, expected[i].second);
  }
  CHECK_EQUAL(cuFuncGetParamInfo(device.function("rt_probe_parameters"), 6, &offset, &bytes), 1);
}

void barrier() {
  const Device device;
  const auto x = numbers(256);
  const Array<float> in(x);
  const Array<float> out(256);
  CHECK_EQUAL(device.launch("rt_probe_reverse", 1, 256, 1024, in.p, out.p), 0);
  CHECK_EQUAL(device.finish(), 0);
  const auto got = out.read();
  CHECK(std::equal(x.rbegin(), x.rend(), got.begin()));
}

void early_exit() {
  const Device device;
  const Array<float> out(96);
  CHECK_EQUAL(device.launch("rt_probe_early_exit", 1, 96, 0, out.p), 0);
  CHECK_EQUAL(device.finish(), 0);
  const auto got = out.read();
  for (std::size_t warp = 0; warp < 3; warp++) {
    int stay = 0;
    for (std::size_t i = 32 * warp; i < 32 * warp + 32; i++) {
      stay += i % 3 != 1 ? 1 : 0;
    }
    for (std::size_t i = 32 * warp; i < 32 * warp + 32; i++) {
      CHECK(i % 3 == 1 ? std::isnan(got[i]) : got[i] == static_cast<float>(stay));
    }
  }
}

void shuffles() {
  const Device device;
  const Array<int> out(256);
  CHECK_EQUAL(device.launch("rt_probe_shuffles", 1, 32, 0, out.p), 0);
  CHECK_EQUAL(device.finish(), 0);
  const auto got = out.read();
  for (int lane = 0; lane < 32; lane++) {
    const auto row = [&](int r) { return got[static_cast<std::size_t>(32 * r + lane)]; };
    CHECK_EQUAL(row(0), lane ^ 5);
    CHECK_EQUAL(row(1), lane < 3 ? lane : lane - 3);
    CHECK_EQUAL(row(2), lane > 28 ? lane : lane + 3);
    CHECK_EQUAL(row(3), 7);
    CHECK_EQUAL(row(4), lane % 8 == 7 ? lane : lane + 1);
    CHECK_EQUAL(static_cast<unsigned>(row(5)), 0xaaaaaaaau);
    CHECK_EQUAL(row(6), 1);
    CHECK_EQUAL(row(7), (lane < 16 ? 1 : 0) + 2 * (lane ^ 1));
  }
}

void reductions() {
  const Device device;
  for (const std::size_t n : {32u, 96u, 1024u}) {
    const auto x = numbers(n);
    const Array<float> in(x);
    const Array<float> out(2 * n);
    CHECK_EQUAL(device.launch("rt_probe_reduce", 1, static_cast<unsigned>(n), 0, in.p, out.p), 0);
    CHECK_EQUAL(device.finish(), 0);
    const auto got = out.read();
    double sum = 0;
    for (const float each : x) {
      sum += static_cast<double>(each);
    }
    for (std::size_t i = 0; i < n; i++) {
      CHECK(std::abs(static_cast<double>(got[2 * i]) - sum) < 1e-4);
      CHECK_EQUAL(got[2 * i], got[0]);
      CHECK_EQUAL(got[2 * i + 1], *std::max_element(x.begin(), x.end()));
    }
  }
}

void atomics() {
  const Device device;
  const Array<int> sum(std::vector<int>{0});
  const Array<float> total(std::vector<float>{0});
  const Array<unsigned> arrived(std::vector<unsigned>{0});
  const Array<int> last(1);
  CHECK_EQUAL(device.launch("rt_probe_atomics", 5, 64, 0, sum.p, total.p, arrived.p, last.p), 0);
  CHECK_EQUAL(device.finish(), 0);
  CHECK_EQUAL(sum.read()[0], 5 * 64 * 63 / 2);
  CHECK_EQUAL(total.read()[0], 320.0f);
  CHECK_EQUAL(arrived.read()[0], 0u);
  CHECK_EQUAL(last.read()[0], 5 * 64 * 63 / 2);
}

// D = A B, with B given by its element (k, column).
void check_product(const std::vector<float>& d, int depth, const std::function<double(int, int)>& a,
                   const std::function<double(int, int)>& b, double bound) {
  for (int row = 0; row < 16; row++) {
    for (int column = 0; column < 8; column++) {
      double sum = 0;
      for (int k = 0; k < depth; k++) {
        sum += a(row, k) * b(k, column);
      }
      CHECK(std::abs(static_cast<double>(d[static_cast<std::size_t>(row * 8 + column)]) - sum) < bound);
    }
  }
}

void mma_bf16() {
  const Device device;
  const auto x = numbers(16 * 16 + 16 * 8);
  std::vector<std::uint16_t> a(256);
  std::vector<std::uint16_t> b(128);
  std::transform(x.begin(), x.begin() + 256, a.begin(), to_bf16);
  std::transform(x.begin() + 256, x.end(), b.begin(), to_bf16);
  const Array<std::uint16_t> in_a(a);
  const Array<std::uint16_t> in_b(b);
  const Array<float> out(128);
  const auto element = [](const std::vector<std::uint16_t>& of, int i) {
    return static_cast<double>(from_bf16(of[static_cast<std::size_t>(i)]));
  };
  const auto of_a = [&](int row, int k) { return element(a, row * 16 + k); };
  CHECK_EQUAL(device.launch("rt_probe_mma_bf16", 1, 32, 0, in_a.p, in_b.p, out.p), 0);
  CHECK_EQUAL(device.finish(), 0);
  check_product(out.read(), 16, of_a, [&](int k, int column) { return element(b, column * 16 + k); }, 1e-5);
  CHECK_EQUAL(device.launch("rt_probe_mma_trans", 1, 32, 0, in_a.p, in_b.p, out.p), 0);
  CHECK_EQUAL(device.finish(), 0);
  check_product(out.read(), 16, of_a, [&](int k, int column) { return element(b, k * 8 + column); }, 1e-5);
}

void mma_tf32() {
  const Device device;
  const auto x = numbers(16 * 8 + 8 * 8);
  const Array<float> in_a(std::vector<float>(x.begin(), x.begin() + 128));
  const Array<float> in_b(std::vector<float>(x.begin() + 128, x.end()));
  const Array<float> out(128);
  CHECK_EQUAL(device.launch("rt_probe_mma_tf32", 1, 32, 0, in_a.p, in_b.p, out.p), 0);
  CHECK_EQUAL(device.finish(), 0);
  check_product(
      out.read(), 8, [&](int row, int k) { return static_cast<double>(x[static_cast<std::size_t>(row * 8 + k)]); },
      [&](int k, int column) { return static_cast<double>(x[static_cast<std::size_t>(128 + k * 8 + column)]); }, 1e-5);
}

void normals() {
  const Device device;
  const rt_philox_key key{1, 2, 3, 4, 5};
  const Array<float> out(128);
  CHECK_EQUAL(device.launch("rt_probe_normals", 1, 32, 0, key, out.p), 0);
  CHECK_EQUAL(device.finish(), 0);
  const auto got = out.read();
  for (std::uint32_t block = 0; block < 32; block++) {
    const rt_philox_words w = rt_philox(key, block);
    const rt_pair pairs[] = {rt_normal_pair(w.w0, w.w1), rt_normal_pair(w.w2, w.w3)};
    const float expected[] = {pairs[0].first, pairs[0].second, pairs[1].first, pairs[1].second};
    for (std::size_t i = 0; i < 4; i++) {
      CHECK(std::abs(got[4 * block + i] - expected[i]) < 1e-6f);
    }
  }
}

// --- what it detects ----------------------------------------------------------------------------------

void race() {
  const auto x = numbers(64);
  int wrong = 0;
  for (const char* seed : {"0", "1", "2", "3"}) {
    rt_emulator_set("seed", seed);
    const Device device;
    const Array<float> in(x);
    const Array<float> out(64);
    CHECK_EQUAL(device.launch("rt_probe_race", 1, 64, 256, in.p, out.p), 0);
    CHECK_EQUAL(device.finish(), 0);
    const auto got = out.read();
    wrong += std::equal(x.rbegin(), x.rend(), got.begin()) ? 0 : 1;
  }
  CHECK_EQUAL(wrong, 4);
}

// The error sticks, and the next context is healthy again.
void expect_failure(Result expected, const std::function<void(const Device&)>& launch) {
  {
    const Device device;
    launch(device);
    CHECK_EQUAL(device.finish(), expected);
    CHECK_EQUAL(device.finish(), expected);
    DevicePointer p = 0;
    CHECK_EQUAL(cuMemAlloc_v2(&p, 4), expected);
  }
  const Device device;
  CHECK_EQUAL(device.launch("rt_probe_nothing", 1, 32, 0), 0);
  CHECK_EQUAL(device.finish(), 0);
}

// What a test leaves allocated goes with its context.
DevicePointer floats(std::size_t n) {
  DevicePointer p = 0;
  CHECK_EQUAL(cuMemAlloc_v2(&p, n * sizeof(float)), 0);
  return p;
}

void divergence() {
  expect_failure(719, [](const Device& device) { device.launch("rt_probe_divergent", 1, 64, 0, floats(64)); });
  expect_failure(719, [](const Device& device) { device.launch("rt_probe_two_barriers", 1, 64, 0, floats(64)); });
}

void red_zones() {
  for (const std::int64_t index : {-1, 32, 63}) {
    expect_failure(700, [=](const Device& device) { device.launch("rt_probe_write", 1, 1, 0, floats(32), index); });
  }
  expect_failure(700, [](const Device& device) { device.launch("rt_probe_shared_overflow", 1, 32, 0, floats(32), 32); });
  expect_failure(716, [](const Device& device) { device.launch("rt_probe_misaligned", 1, 1, 0, floats(8), floats(8)); });
}

void write_after_free() {
  expect_failure(700, [](const Device& device) {
    const DevicePointer p = floats(32);
    CHECK_EQUAL(cuMemFreeAsync(p, device.stream), 0);
    CHECK_EQUAL(device.launch("rt_probe_write", 1, 1, 0, p, std::int64_t{3}), 0);
  });
}

void fresh_memory_is_nan() {
  const Device device;
  const Array<float> out(64);
  const auto fresh = out.read();
  CHECK(std::all_of(fresh.begin(), fresh.end(), [](float x) { return std::isnan(x); }));
  CHECK_EQUAL(cuMemsetD32Async(out.p, 0, 64, device.stream), 0);
  CHECK_EQUAL(device.launch("rt_probe_fresh_shared", 1, 32, 128, out.p), 0);
  CHECK_EQUAL(device.finish(), 0);
  const auto shared = out.read();
  CHECK(std::all_of(shared.begin(), shared.end(), [](float x) { return std::isnan(x); }));
}

void unwaited_copy_is_nan() {
  const Device device;
  const Array<float> in(numbers(128));
  const Array<float> out(32);
  CHECK_EQUAL(device.launch("rt_probe_copy_unwaited", 1, 32, 0, in.p, out.p), 0);
  CHECK_EQUAL(device.finish(), 0);
  const auto got = out.read();
  CHECK(std::all_of(got.begin(), got.end(), [](float x) { return std::isnan(x); }));
}

void leaks() {
  const long long before = rt_emulator_count("leaks");
  {
    const Device device;
    floats(5);
    floats(6);
    CHECK_EQUAL(rt_emulator_count("allocations"), 2);
    CHECK_EQUAL(rt_emulator_count("bytes"), 44);
    void* pinned = nullptr;
    CHECK_EQUAL(cuMemHostAlloc(&pinned, 10, 0), 0);
    CHECK_EQUAL(rt_emulator_count("allocations"), 3);
    CHECK_EQUAL(rt_emulator_count("bytes"), 54);
  }
  CHECK_EQUAL(rt_emulator_count("leaks") - before, 3);
  CHECK_EQUAL(rt_emulator_count("allocations"), 0);
}

// --- how it refuses -----------------------------------------------------------------------------------

void errors() {
  std::size_t free = 0;
  CHECK_EQUAL(cuInit(0), 0);
  cuCtxSetCurrent(nullptr);
  CHECK_EQUAL(cuMemGetInfo_v2(&free, nullptr), 201);
  const Device device;
  void* found = nullptr;
  CHECK_EQUAL(cuModuleGetFunction(&found, device.module(), "rt_absent"), 500);
  CHECK_EQUAL(cuModuleLoadData(&found, "neither one nor the other"), 200);
  CHECK_EQUAL(cuModuleLoadData(&found, "// PTX\n.version 9.0"), 209);
  std::string cubin = image;
  cubin[18] = static_cast<char>(190);  // e_machine of a cubin
  cubin[19] = 0;
  CHECK_EQUAL(cuModuleLoadData(&found, cubin.data()), 209);
  CHECK_EQUAL(device.launch("rt_probe_nothing", 0, 32, 0), 1);
  CHECK_EQUAL(device.launch("rt_probe_nothing", 1, 257, 0), 1);
  CHECK_EQUAL(device.launch("rt_probe_nothing", 1, 32, 49153), 1);
  CHECK_EQUAL(cuFuncSetAttribute(device.function("rt_probe_nothing"), 8, 232448), 0);
  CHECK_EQUAL(cuFuncSetAttribute(device.function("rt_probe_nothing"), 8, 232449), 1);
  CHECK_EQUAL(device.launch("rt_probe_nothing", 1, 32, 232448), 0);
  CHECK_EQUAL(device.launch("rt_probe_nothing", 1, 32, 232449), 1);
  CHECK_EQUAL(device.finish(), 0);
  const Array<float> x(4);
  CHECK_EQUAL(cuMemcpyDtoH_v2(&free, x.p + 12, 8), 1);
  CHECK_EQUAL(cuMemFree_v2(x.p + 4), 1);
  CHECK_EQUAL(cuStreamSynchronize(&free), 400);
  CHECK_EQUAL(cuLinkCreate_v2(0, nullptr, nullptr, nullptr), 801);
}

// A second image is another one, also after one was unloaded.
void images() {
  const Device device;
  std::string other = image;
  const std::string name = "rt_probe_nothing";
  for (std::size_t at = other.find(name); at != std::string::npos; at = other.find(name, at)) {
    other.replace(at, name.size(), "rt_probe_another");
  }
  for (int i = 0; i < 2; i++) {
    void* module = nullptr;
    void* found = nullptr;
    CHECK_EQUAL(cuModuleLoadData(&module, other.data()), 0);
    CHECK_EQUAL(cuModuleGetFunction(&found, module, "rt_probe_another"), 0);
    CHECK_EQUAL(cuModuleGetFunction(&found, module, name.c_str()), 500);
    CHECK_EQUAL(device.launch(name.c_str(), 1, 32, 0), 0);
    CHECK_EQUAL(cuModuleUnload(module), 0);
  }
  CHECK_EQUAL(device.finish(), 0);
}

void memory_limit() {
  const Device device;
  rt_emulator_set("memory", "1M");
  DevicePointer first = 0;
  DevicePointer second = 0;
  CHECK_EQUAL(cuMemAllocAsync(&first, 700 << 10, device.stream), 0);
  CHECK_EQUAL(cuMemAllocAsync(&second, 700 << 10, device.stream), 2);
  CHECK_EQUAL(cuMemFreeAsync(first, device.stream), 0);
  CHECK_EQUAL(cuMemAllocAsync(&second, 700 << 10, device.stream), 0);
  std::size_t free = 0;
  std::size_t total = 0;
  CHECK_EQUAL(cuMemGetInfo_v2(&free, &total), 0);
  CHECK_EQUAL(free, std::size_t{324} << 10);
  CHECK_EQUAL(total, std::size_t{1} << 20);
  CHECK_EQUAL(cuMemFreeAsync(second, device.stream), 0);
  CHECK_EQUAL(device.finish(), 0);
  rt_emulator_set("memory", "2G");
}

// --- how streams behave -------------------------------------------------------------------------------

void asynchrony() {
  const Device device;
  const Array<float> x(std::vector<float>{1, 2, 3, 4});
  void* pinned = nullptr;
  CHECK_EQUAL(cuMemHostAlloc(&pinned, 16, 0), 0);
  auto* const host = static_cast<float*>(pinned);
  host[0] = -1;
  CHECK_EQUAL(cuMemcpyDtoHAsync_v2(host, x.p, 16, device.stream), 0);
  CHECK_EQUAL(host[0], -1.0f);  // nobody has waited
  CHECK_EQUAL(device.finish(), 0);
  CHECK_EQUAL(host[0], 1.0f);
  // Page-locked memory is read when the stream gets there, pageable memory at the call.
  CHECK_EQUAL(cuMemcpyHtoDAsync_v2(x.p, host, 4, device.stream), 0);
  host[0] = 9;
  float pageable = 8;
  CHECK_EQUAL(cuMemcpyHtoDAsync_v2(x.p + 4, &pageable, 4, device.stream), 0);
  pageable = 7;
  CHECK_EQUAL(device.finish(), 0);
  CHECK_EQUAL(x.read()[0], 9.0f);
  CHECK_EQUAL(x.read()[1], 8.0f);
  // A copy on the legacy stream does not wait for a non-blocking stream.
  CHECK_EQUAL(cuMemsetD32Async(x.p, 0, 4, device.stream), 0);
  CHECK_EQUAL(x.read()[0], 9.0f);
  CHECK_EQUAL(cuStreamQuery(device.stream), 600);
  CHECK_EQUAL(device.finish(), 0);
  CHECK_EQUAL(x.read()[0], 0.0f);
  CHECK_EQUAL(cuMemFreeHost(pinned), 0);
}

void events() {
  const Device device;
  void* other = nullptr;
  void* begin = nullptr;
  void* end = nullptr;
  CHECK_EQUAL(cuStreamCreate(&other, kNonBlocking), 0);
  CHECK_EQUAL(cuEventCreate(&begin, 0), 0);
  CHECK_EQUAL(cuEventCreate(&end, 0), 0);
  const Array<float> x(4);
  CHECK_EQUAL(cuEventRecord(begin, other), 0);
  CHECK_EQUAL(cuMemsetD32Async(x.p, 0x3f800000u, 4, other), 0);
  CHECK_EQUAL(cuEventRecord(end, other), 0);
  CHECK_EQUAL(cuStreamWaitEvent(device.stream, end, 0), 0);
  CHECK_EQUAL(device.launch("rt_probe_write", 1, 1, 0, x.p, std::int64_t{2}), 0);
  CHECK_EQUAL(device.finish(), 0);  // draws the other stream after it
  CHECK_EQUAL(x.read()[3], 1.0f);
  float milliseconds = -1;
  CHECK_EQUAL(cuEventSynchronize(end), 0);
  CHECK_EQUAL(cuEventElapsedTime_v2(&milliseconds, begin, end), 0);
  CHECK(milliseconds >= 0);
  CHECK_EQUAL(cuEventDestroy_v2(begin), 0);
  CHECK_EQUAL(cuEventDestroy_v2(end), 0);
  CHECK_EQUAL(cuStreamDestroy_v2(other), 0);
}

void graphs() {
  const Device device;
  const Array<int> sum(std::vector<int>{0});
  const Array<float> total(std::vector<float>{0});
  const Array<unsigned> arrived(std::vector<unsigned>{0});
  const Array<int> last(1);
  CHECK_EQUAL(cuStreamBeginCapture_v2(device.stream, 1), 0);
  CHECK_EQUAL(device.launch("rt_probe_atomics", 1, 32, 0, sum.p, total.p, arrived.p, last.p), 0);
  void* graph = nullptr;
  CHECK_EQUAL(cuStreamEndCapture(device.stream, &graph), 0);
  CHECK_EQUAL(sum.read()[0], 0);
  void* exec = nullptr;
  CHECK_EQUAL(cuGraphInstantiateWithFlags(&exec, graph, 0), 0);
  CHECK_EQUAL(cuGraphDestroy(graph), 0);
  for (int i = 0; i < 3; i++) {
    CHECK_EQUAL(cuGraphLaunch(exec, device.stream), 0);
  }
  CHECK_EQUAL(device.finish(), 0);
  CHECK_EQUAL(sum.read()[0], 3 * 496);
  CHECK_EQUAL(cuGraphExecDestroy(exec), 0);
  // Waiting inside a capture spoils it.
  CHECK_EQUAL(cuStreamBeginCapture_v2(device.stream, 1), 0);
  CHECK_EQUAL(cuStreamSynchronize(device.stream), 900);
  CHECK_EQUAL(device.launch("rt_probe_nothing", 1, 32, 0), 901);
  CHECK_EQUAL(cuStreamEndCapture(device.stream, &graph), 901);
  CHECK_EQUAL(device.finish(), 0);
}

// The sanitizer ends the process at the first wrong access: each runs in a process of its own, which must end so.
void sanitizer() {
  for (const char* name : {"red_zones", "write_after_free"}) {
    std::string said;
    std::FILE* const process = popen(("'" + program + "' '" + image_file + "' " + name + " 2>&1").c_str(), "r");
    for (int c = std::fgetc(process); c != EOF; c = std::fgetc(process)) {
      said += static_cast<char>(c);
    }
    CHECK(pclose(process) != 0);
    CHECK(said.find("AddressSanitizer") != std::string::npos);
  }
}

struct Test {
  const char* name;
  void (*run)();
  bool harmful = false;  // it makes kernels write where they must not
};

constexpr Test kTests[] = {
    {"parameters", parameters},
    {"barrier", barrier},
    {"early_exit", early_exit},
    {"shuffles", shuffles},
    {"reductions", reductions},
    {"atomics", atomics},
    {"mma_bf16", mma_bf16},
    {"mma_tf32", mma_tf32},
    {"normals", normals},
    {"race", race},
    {"divergence", divergence},
    {"red_zones", red_zones, true},
    {"write_after_free", write_after_free, true},
    {"fresh_memory_is_nan", fresh_memory_is_nan},
    {"unwaited_copy_is_nan", unwaited_copy_is_nan},
    {"leaks", leaks},
    {"errors", errors},
    {"images", images},
    {"memory_limit", memory_limit},
    {"asynchrony", asynchrony},
    {"events", events},
    {"graphs", graphs},
};

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "usage: emulator_test IMAGE [TEST]\n");
    return 2;
  }
  std::ifstream file(arguments[1], std::ios::binary);
  image.assign(std::istreambuf_iterator<char>(file), {});
  program = arguments[0];
  image_file = arguments[1];
  int ran = 0;
  for (const char* seed : {"0", "1", "2"}) {
    for (const Test& test : kTests) {
      const bool chosen = count < 3 ? !(test.harmful && rt::emulator::kSanitized) : std::strcmp(arguments[2], test.name) == 0;
      if (chosen) {
        test_name = test.name;
        rt_emulator_set("seed", seed);
        test.run();
        ran++;
      }
    }
  }
  if (count < 3 && rt::emulator::kSanitized) {
    test_name = "sanitizer";
    sanitizer();
    ran++;
  }
  std::printf("%d tests, %d failures\n", ran, failures);
  return ran == 0 || failures != 0 ? 1 : 0;
}
