// mma.h   the emulated bodies of common/mma.cuh: one lane that comes last computes the whole warp's product
#pragma once

#include <array>

#include "emulator/simt.h"

namespace rt::emulator {

// What a lane brings to a product, and what it takes: its four elements of D.
struct Fragments {
  std::array<float, 4> d;
  std::array<std::uint32_t, 4> a;
  std::array<std::uint32_t, 2> b;
};

inline float half_of(std::uint32_t pair, int which) {
  return std::bit_cast<float>(which == 0 ? pair << 16 : pair & 0xffff0000u);
}

// The products keep all bits; the order of a tensor core's sums is not documented, here it is ascending k.
template <int K, class ElementA, class ElementB>
void multiply(const Lanes<Fragments, std::array<float, 4>>& lanes, ElementA element_a, ElementB element_b) {
  if (lanes.meeting.mask != RT_FULL_WARP) {
    fail(kLaunchFailed, "mma needs all 32 lanes of a warp, lanes %08x are there", lanes.meeting.mask);
  }
  float a[16][K];
  float b[K][8];
  for (int k = 0; k < K; k++) {
    for (int row = 0; row < 16; row++) {
      a[row][k] = element_a(lanes, row, k);
    }
    for (int column = 0; column < 8; column++) {
      b[k][column] = element_b(lanes, k, column);
    }
  }
  for (int row = 0; row < 16; row++) {
    float sum[8];
    for (int column = 0; column < 8; column++) {
      sum[column] = lanes.in(row % 8 * 4 + column / 2).d[row / 8 * 2 + column % 2];
    }
    for (int k = 0; k < K; k++) {
      for (int column = 0; column < 8; column++) {
        sum[column] += a[row][k] * b[k][column];
      }
    }
    for (int column = 0; column < 8; column++) {
      lanes.out(row % 8 * 4 + column / 2)[row / 8 * 2 + column % 2] = sum[column];
    }
  }
}

// What the tensor core reads of a float32.
inline float tf32(std::uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

template <class Complete>
void multiply_into(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Complete complete,
                   std::source_location where) {
  const Fragments mine{{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const auto sums = collective<Fragments, std::array<float, 4>>(RT_FULL_WARP, mine, complete, where);
  std::copy(sums.begin(), sums.end(), d);
}

template <int Count, bool Transposed>
void load_matrices(std::uint32_t (&r)[Count], const void* row, std::source_location where) {
  using Registers = std::array<std::uint32_t, Count>;
  if (here->lane < 8 * Count && !is_shared(row, 16)) {
    fail(kIllegalAddress, "ldmatrix reads 16 bytes at %p, which is not in the block's shared memory", row);
  }
  if (here->lane < 8 * Count) {
    check_aligned(row, 16);
  }
  const auto mine = collective<const void*, Registers>(
      RT_FULL_WARP, row,
      [](const Lanes<const void*, Registers>& lanes) {
        if (lanes.meeting.mask != RT_FULL_WARP) {
          fail(kLaunchFailed, "ldmatrix needs all 32 lanes of a warp, lanes %08x are there", lanes.meeting.mask);
        }
        for (int lane = 0; lane < kWarp; lane++) {
          for (int i = 0; i < Count; i++) {
            const auto element = [&](int at_row, int column) -> std::uint32_t {
              return static_cast<const std::uint16_t*>(lanes.in(8 * i + at_row))[column];
            };
            const int major = lane / 4;
            const int minor = lane % 4 * 2;
            lanes.out(lane)[i] = Transposed ? element(minor, major) | element(minor + 1, major) << 16
                                            : element(major, minor) | element(major, minor + 1) << 16;
          }
        }
      },
      where);
  std::copy(mine.begin(), mine.end(), r);
}

inline void begin_copy(void* shared, const void* global, std::size_t bytes, bool valid) {
  check_aligned(shared, bytes);
  check_aligned(global, bytes);
  if (!is_shared(shared, bytes)) {
    fail(kIllegalAddress, "cp.async writes %zu bytes at %p, which is not in the block's shared memory", bytes, shared);
  }
  copy_begin(shared, global, bytes, valid ? bytes : 0);
}

}  // namespace rt::emulator

#define RT_HERE std::source_location where = std::source_location::current()

inline void rt_mma_bf16_16816(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], RT_HERE) {
  rt::emulator::multiply_into(
      d, a, b,
      [](const auto& lanes) {
        rt::emulator::multiply<16>(
            lanes,
            [](const auto& in, int row, int k) {
              return rt::emulator::half_of(in.in(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2], k % 2);
            },
            [](const auto& in, int k, int column) {
              return rt::emulator::half_of(in.in(column * 4 + k % 8 / 2).b[k / 8], k % 2);
            });
      },
      where);
}

inline void rt_mma_tf32_1688(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], RT_HERE) {
  rt::emulator::multiply_into(
      d, a, b,
      [](const auto& lanes) {
        rt::emulator::multiply<8>(
            lanes,
            [](const auto& in, int row, int k) {
              return rt::emulator::tf32(in.in(row % 8 * 4 + k % 4).a[row / 8 + k / 4 * 2]);
            },
            [](const auto& in, int k, int column) { return rt::emulator::tf32(in.in(column * 4 + k % 4).b[k / 4]); });
      },
      where);
}

inline std::uint32_t rt_to_tf32(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  return std::isfinite(x) ? (bits + 0x1000u) & 0xffffe000u : bits;
}

inline void rt_ldmatrix_x4(std::uint32_t (&r)[4], const void* row, RT_HERE) {
  rt::emulator::load_matrices<4, false>(r, row, where);
}
inline void rt_ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row, RT_HERE) {
  rt::emulator::load_matrices<4, true>(r, row, where);
}
inline void rt_ldmatrix_x2(std::uint32_t (&r)[2], const void* row, RT_HERE) {
  rt::emulator::load_matrices<2, false>(r, row, where);
}
inline void rt_ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* row, RT_HERE) {
  rt::emulator::load_matrices<2, true>(r, row, where);
}

#undef RT_HERE

inline void rt_cp_async_16(void* shared, const void* global, bool valid = true) {
  rt::emulator::begin_copy(shared, global, 16, valid);
}
inline void rt_cp_async_16_cached(void* shared, const void* global, bool valid = true) {
  rt::emulator::begin_copy(shared, global, 16, valid);
}
inline void rt_cp_async_4(void* shared, const void* global, bool valid = true) {
  rt::emulator::begin_copy(shared, global, 4, valid);
}
inline void rt_cp_async_commit() { rt::emulator::copy_commit(); }
template <int N>
void rt_cp_async_wait() {
  rt::emulator::copy_wait(N);
}
