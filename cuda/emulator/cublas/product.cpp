// product.cpp   checks a product, queues it, and computes it when the stream gets there
#include "emulator/cublas/product.h"

#include <atomic>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

// Of the driver look-alike, which is loaded before.
extern "C" {
int cuLaunchHostFunc(void* stream, void (*function)(void*), void* data);
int cuStreamIsCapturing(void* stream, int* status);
int cuMemGetAddressRange_v2(unsigned long long* begin, std::size_t* bytes, unsigned long long p);
}

namespace rt::cublas {

namespace {

std::atomic<std::size_t> products{0};

struct Queued {
  Product product;
  bool replayed;  // part of a graph: run as often as the graph is, and kept
};

float load(std::uint64_t address, int type, std::int64_t index) {
  if (type == kFloat) {
    return reinterpret_cast<const float*>(address)[index];
  }
  const std::uint32_t bits = reinterpret_cast<const std::uint16_t*>(address)[index];
  return std::bit_cast<float>(bits << 16);
}

void store(std::uint64_t address, int type, std::int64_t index, float value) {
  if (type == kFloat) {
    reinterpret_cast<float*>(address)[index] = value;
    return;
  }
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if (value == value) {
    bits += 0x7fff + (bits >> 16 & 1);  // to the nearest, ties to even
  }
  reinterpret_cast<std::uint16_t*>(address)[index] = static_cast<std::uint16_t>(bits >> 16);
}

void compute(const Product& p) {
  const std::int64_t inner = p.transpose_a ? p.a.rows : p.a.columns;
  for (std::int64_t batch = 0; batch < p.count; batch++) {
    for (std::int64_t j = 0; j < p.d.columns; j++) {
      for (std::int64_t i = 0; i < p.d.rows; i++) {
        float sum = 0;
        for (std::int64_t k = 0; k < inner; k++) {
          const std::int64_t at_a = p.transpose_a ? k + i * p.a.ld : i + k * p.a.ld;
          const std::int64_t at_b = p.transpose_b ? j + k * p.b.ld : k + j * p.b.ld;
          sum += load(p.a.address, p.a.type, batch * p.a.stride + at_a) *
                 load(p.b.address, p.b.type, batch * p.b.stride + at_b);
        }
        if (p.bias != 0) {
          sum += load(p.bias, kFloat, i);
        }
        store(p.d.address, p.d.type, batch * p.d.stride + i + j * p.d.ld, sum);
      }
    }
  }
}

void run(void* data) {
  auto* const queued = static_cast<Queued*>(data);
  compute(queued->product);
  if (!queued->replayed) {
    delete queued;
  }
}

// Whether one live allocation has all of it.
bool holds(std::uint64_t address, std::int64_t bytes) {
  unsigned long long begin = 0;
  std::size_t size = 0;
  return cuMemGetAddressRange_v2(&begin, &size, address) == 0 &&
         address + static_cast<std::uint64_t>(bytes) <= begin + size;
}

bool valid(const Matrix& m, std::int64_t count) {
  if ((m.type != kFloat && m.type != kBfloat16) || m.rows < 1 || m.columns < 1 || m.ld < m.rows) {
    return false;
  }
  const std::int64_t last = (count - 1) * m.stride + (m.columns - 1) * m.ld + m.rows;
  return m.address % static_cast<std::uint64_t>(bytes(m.type)) == 0 && holds(m.address, last * bytes(m.type));
}

}  // namespace

Status enqueue(const Product& product, void* stream) {
  const auto shape = [](const Matrix& m, bool transposed) {
    return transposed ? std::pair(m.columns, m.rows) : std::pair(m.rows, m.columns);
  };
  const auto [m, k] = shape(product.a, product.transpose_a);
  const auto [inner, n] = shape(product.b, product.transpose_b);
  if (product.count < 1 || k != inner || product.d.rows != m || product.d.columns != n ||
      !valid(product.a, product.count) || !valid(product.b, product.count) || !valid(product.d, product.count) ||
      (product.bias != 0 && !holds(product.bias, m * bytes(kFloat)))) {
    return kInvalidValue;
  }
  if (product.a.type != product.b.type || (product.a.type == kFloat && product.d.type != kFloat) ||
      (product.bias != 0 && product.d.type != kFloat)) {
    return kNotSupported;
  }
  int capturing = 0;
  if (cuStreamIsCapturing(stream, &capturing) != 0) {
    return kInvalidValue;
  }
  auto queued = std::make_unique<Queued>(Queued{product, capturing != 0});
  if (cuLaunchHostFunc(stream, run, queued.get()) != 0) {
    return kExecutionFailed;
  }
  queued.release();
  products++;
  return kSuccess;
}

}  // namespace rt::cublas

// How many products were queued.
RT_CUBLAS std::size_t rt_cublas_products() { return rt::cublas::products; }
