// philox.h   Philox4x32-10: 128 random bits from a 64-bit key and a 128-bit counter, and numbers made of them
// formula   ten rounds of (c0,c1,c2,c3) -> (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)), k += W
// counter   (index / 4, tag, step low, step high); key (seed low, seed high); element `index` takes word index % 4
// numerics  uniform: (word >> 8) 2^-24 in [0, 1); normal: Box-Muller on word pairs, within 3e-7 of float64's |z| <= 5.8
// source    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; Box & Muller 1958
#pragma once

#include "math/hd.h"
#include "math/log.h"

// The words of one stream of random numbers; the same layout as PhiloxKey in Java.
struct rt_philox_key {
  std::uint32_t seed_low, seed_high, tag, step_low, step_high;
};

struct rt_philox_words {
  std::uint32_t w0, w1, w2, w3;
};

RT_HD std::uint32_t rt_multiply_high(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(a) * b >> 32);
}

RT_HD rt_philox_words rt_philox(rt_philox_key key, std::uint32_t block) {
  rt_philox_words c{block, key.tag, key.step_low, key.step_high};
  std::uint32_t k0 = key.seed_low;
  std::uint32_t k1 = key.seed_high;
#pragma GCC unroll 10
  for (int round = 0; round < 10; round++) {
    const std::uint32_t high0 = rt_multiply_high(0xD2511F53u, c.w0);
    const std::uint32_t high1 = rt_multiply_high(0xCD9E8D57u, c.w2);
    c = {high1 ^ c.w1 ^ k0, 0xCD9E8D57u * c.w2, high0 ^ c.w3 ^ k1, 0xD2511F53u * c.w0};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// In [0, 1).
RT_HD float rt_uniform(std::uint32_t word) { return static_cast<float>(static_cast<std::int32_t>(word >> 8)) * 0x1p-24f; }

struct rt_pair {
  float first, second;
};

// (cos, sin) of 2 pi u for u in [0, 1): the quarter turn is taken off exactly, the rest is at most 1/8 turn.
RT_HD rt_pair rt_turn(float u) {
  const std::int32_t quarter = static_cast<std::int32_t>(4.0f * u + 0.5f);
  const float r = (u - 0.25f * static_cast<float>(quarter)) * 6.28318531f;
  const float z = r * r;
  float s = -1.9515295891e-4f;
  s = s * z + 8.3321608736e-3f;
  s = s * z - 1.6666654611e-1f;
  s = s * z * r + r;
  float c = 2.443315711809948e-5f;
  c = c * z - 1.388731625493765e-3f;
  c = c * z + 4.166664568298827e-2f;
  c = c * z * z - 0.5f * z + 1.0f;
  const float across = (quarter & 1) != 0 ? s : c;
  const float along = (quarter & 1) != 0 ? c : s;
  return {((quarter + 1) & 2) != 0 ? -across : across, (quarter & 2) != 0 ? -along : along};
}

// Two standard normals from two words.
RT_HD rt_pair rt_normal_pair(std::uint32_t w0, std::uint32_t w1) {
  const float u1 = static_cast<float>(static_cast<std::int32_t>(w0 >> 8) + 1) * 0x1p-24f;
  const float radius = __builtin_sqrtf(-2.0f * rt_log_normal(u1));
  const rt_pair direction = rt_turn(rt_uniform(w1));
  return {radius * direction.first, radius * direction.second};
}
