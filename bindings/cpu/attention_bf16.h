// attention_bf16.h   one head of attention with the processor's bfloat16 products; see attention_bf16.cpp.
#pragma once

#include <cmath>
#include <cstdint>

#include "cpu/dtype.h"

namespace rt {

// Extents and distances of a call, as retort/attention.h names them.
struct AttentionSizes {
  std::int64_t n, heads, tq, tk, d, q_row, kv_row;

  float scale() const { return 1.0f / std::sqrt(static_cast<float>(d)); }
  std::int64_t query(std::int64_t sample, std::int64_t head) const { return sample * tq * q_row + head * d; }
  std::int64_t key(std::int64_t sample, std::int64_t head) const { return sample * tk * kv_row + head * d; }
  std::int64_t result(std::int64_t sample, std::int64_t head) const { return sample * tq * heads * d + head * d; }
};

#if defined(__AVX512F__)

// Whether this CPU multiplies bfloat16, and so may run what follows.
bool multiplies_bf16();

// One head of one sample; `memory` has room for floats() floats and begins on a cache line.
struct Bf16AttentionForward {
  AttentionSizes s;
  const bf16 *q, *k, *v;
  bf16* out;
  float* lse;

  static std::int64_t floats(const AttentionSizes& s);
  void run(float* memory) const;
};

// One head of one sample; dq, dk, dv may be null.
struct Bf16AttentionBackward {
  AttentionSizes s;
  const bf16 *q, *k, *v, *out;
  const float* lse;
  const bf16* dout;
  bf16 *dq, *dk, *dv;

  static std::int64_t floats(const AttentionSizes& s);
  void run(float* memory) const;
};

#endif

}  // namespace rt
