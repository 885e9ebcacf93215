// product.h   what both look-alikes of NVIDIA's product libraries compute: D = op(A) op(B) + bias on emulated device memory
//
// Column-major, as cuBLAS: element (i, j) of a matrix is at i + j * ld. Sums are float32, one after the other. The work is
// queued in the stream as a host function, so a missing synchronisation shows as it does with kernels.
#pragma once

#include <cstdint>

namespace rt::cublas {

using Status = int;  // cublasStatus_t

constexpr Status kSuccess = 0;
constexpr Status kNotInitialized = 1;
constexpr Status kInvalidValue = 7;
constexpr Status kExecutionFailed = 13;
constexpr Status kNotSupported = 15;

// cudaDataType_t, cublasComputeType_t and cublasOperation_t
constexpr int kFloat = 0;
constexpr int kBfloat16 = 14;
constexpr int kComputeFloat = 68;
constexpr int kNormal = 0;
constexpr int kTransposed = 1;

constexpr int bytes(int type) { return type == kFloat ? 4 : 2; }

struct Matrix {
  std::uint64_t address;
  int type;
  std::int64_t rows, columns, ld;
  std::int64_t stride;  // elements to the next matrix of a batch
};

struct Product {
  Matrix a, b, d;
  bool transpose_a, transpose_b;
  std::int64_t count;     // of the batch
  std::uint64_t bias;     // address of a float for each row of D, or 0
};

// Whether types, extents and memory fit together, and the product has a place in the stream.
Status enqueue(const Product& product, void* stream);

}  // namespace rt::cublas

// Every function of the interface: C linkage, visible.
#define RT_CUBLAS extern "C" __attribute__((visibility("default")))
