// abi.h   the part of CUDA's binary interface that the look-alike implements, without needing cuda.h
//
// Handles are pointers to the objects of state.h. Numbers and layouts are those of CUDA 13.0; they have not changed since
// CUDA 11 unless a name says so (_v2, _v3, _v4).
#pragma once

#include <cstddef>
#include <cstdint>

namespace rt::driver {

using Result = int;                        // CUresult
using DevicePointer = unsigned long long;  // CUdeviceptr

constexpr Result kSuccess = 0;
constexpr Result kInvalidValue = 1;
constexpr Result kOutOfMemory = 2;
constexpr Result kNotInitialized = 3;
constexpr Result kNoDevice = 100;
constexpr Result kInvalidDevice = 101;
constexpr Result kInvalidImage = 200;
constexpr Result kInvalidContext = 201;
constexpr Result kNoBinaryForGpu = 209;
constexpr Result kFileNotFound = 301;
constexpr Result kSharedObjectFailed = 303;
constexpr Result kInvalidHandle = 400;
constexpr Result kIllegalState = 401;
constexpr Result kNotFound = 500;
constexpr Result kNotReady = 600;
constexpr Result kIllegalAddress = 700;
constexpr Result kLaunchOutOfResources = 701;
constexpr Result kContextIsDestroyed = 709;
constexpr Result kHostMemoryAlreadyRegistered = 712;
constexpr Result kHostMemoryNotRegistered = 713;
constexpr Result kMisalignedAddress = 716;
constexpr Result kLaunchFailed = 719;
constexpr Result kNotSupported = 801;
constexpr Result kCaptureUnsupported = 900;
constexpr Result kCaptureInvalidated = 901;
constexpr Result kCaptureMerge = 902;
constexpr Result kCaptureUnmatched = 903;
constexpr Result kCaptureUnjoined = 904;
constexpr Result kCaptureImplicit = 906;
constexpr Result kCapturedEvent = 907;
constexpr Result kCaptureWrongThread = 908;
constexpr Result kGraphExecUpdateFailure = 910;

constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kEventDisableTiming = 2;

// CUfunction_attribute
constexpr int kFunctionMaxThreads = 0;
constexpr int kFunctionSharedBytes = 1;
constexpr int kFunctionConstBytes = 2;
constexpr int kFunctionLocalBytes = 3;
constexpr int kFunctionRegisters = 4;
constexpr int kFunctionPtxVersion = 5;
constexpr int kFunctionBinaryVersion = 6;
constexpr int kFunctionCacheModeCa = 7;
constexpr int kFunctionMaxDynamicShared = 8;
constexpr int kFunctionSharedCarveout = 9;

// CUstreamCaptureMode and CUstreamCaptureStatus
constexpr int kCaptureGlobal = 0;
constexpr int kCaptureThreadLocal = 1;
constexpr int kCaptureRelaxed = 2;
constexpr int kCaptureNone = 0;
constexpr int kCaptureActive = 1;
constexpr int kCaptureStatusInvalidated = 2;

// CUgraphNodeType
constexpr int kNodeKernel = 0;
constexpr int kNodeMemcpy = 1;
constexpr int kNodeMemset = 2;
constexpr int kNodeHost = 3;
constexpr int kNodeEmpty = 5;
constexpr int kNodeWaitEvent = 6;
constexpr int kNodeEventRecord = 7;

// Special stream handles.
constexpr std::uintptr_t kStreamLegacy = 1;
constexpr std::uintptr_t kStreamPerThread = 2;

// Entries of `extra` in cuLaunchKernel.
constexpr std::uintptr_t kParameterEnd = 0;
constexpr std::uintptr_t kParameterBuffer = 1;
constexpr std::uintptr_t kParameterBytes = 2;

struct LaunchAttribute {  // CUlaunchAttribute
  int id;
  char padding[4];
  unsigned value[16];
};
static_assert(sizeof(LaunchAttribute) == 72);
constexpr int kLaunchCluster = 4;

struct LaunchConfig {  // CUlaunchConfig
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  void* stream;
  LaunchAttribute* attributes;
  unsigned attribute_count;
};
static_assert(sizeof(LaunchConfig) == 56);

struct KernelNodeParameters {  // CUDA_KERNEL_NODE_PARAMS_v2
  void* function;
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  void** parameters;
  void** extra;
  void* kernel;
  void* context;
};
static_assert(sizeof(KernelNodeParameters) == 72);

struct PoolProperties {  // CUmemPoolProps
  int allocation_type, handle_types, location_type, location;
  void* security;
  std::size_t most_bytes;
  unsigned short usage;
  unsigned char reserved[54];
};
static_assert(sizeof(PoolProperties) == 88);

struct InstantiateParameters {  // CUDA_GRAPH_INSTANTIATE_PARAMS
  std::uint64_t flags;
  void* upload_stream;
  void* error_node;
  int result;
};

struct UpdateResult {  // CUgraphExecUpdateResultInfo
  int result;
  void* error_node;
  void* error_from_node;
};

// CUmemPool_attribute
constexpr int kPoolReuseFirst = 1;
constexpr int kPoolReuseLast = 3;
constexpr int kPoolReleaseThreshold = 4;
constexpr int kPoolReservedCurrent = 5;
constexpr int kPoolReservedHigh = 6;
constexpr int kPoolUsedCurrent = 7;
constexpr int kPoolUsedHigh = 8;

}  // namespace rt::driver

// Every function of the interface: C linkage, visible.
#define RT_API extern "C" __attribute__((visibility("default"))) ::rt::driver::Result
