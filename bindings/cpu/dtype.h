// dtype.h   storage types: everything is computed in float32 and loaded from or stored to float32 or bfloat16.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "cpu/error.h"
#include "retort/base.h"

// Element-operations below which a loop stays on one thread: waking a sleeping OpenMP team costs 10-20 us,
// which is what one core needs for about this many.
constexpr std::int64_t RT_PARALLEL_MIN = 32768;

namespace rt {

// The upper half of a float32.
struct bf16 {
  std::uint16_t bits;
};
static_assert(sizeof(bf16) == 2);

inline float load(const float* p) { return *p; }

inline float load(const bf16* p) { return std::bit_cast<float>(static_cast<std::uint32_t>(p->bits) << 16); }

inline void store(float* p, float value) { *p = value; }

// Rounds to nearest, ties to even; a NaN stays one (its quiet bit is set, so that truncation cannot make it infinite).
inline void store(bf16* p, float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t quiet_nan = (bits >> 16) | 0x40u;
  p->bits = static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

// Calls `body(std::type_identity<T>{})` with the C++ type of a dtype argument:
//   rt::dispatch(dtype, [&](auto tag) { using T = typename decltype(tag)::type; ... static_cast<const T*>(x) ... });
template <class Body>
void dispatch(std::int32_t dtype, Body&& body) {
  switch (dtype) {
    case RT_F32:
      std::forward<Body>(body)(std::type_identity<float>{});
      return;
    case RT_BF16:
      std::forward<Body>(body)(std::type_identity<bf16>{});
      return;
    default:
      fail("dtype must be RT_F32 (0) or RT_BF16 (1), got %d", dtype);
  }
}

}  // namespace rt
