// conv2d_winograd.cpp   Y = A^T [(G g G^T) . (B^T d B)] A on tiles of 4x4 outputs, 3x3 kernels: F(4x4, 3x3)
// shapes    x (N, H, W, Cin), y (N, H, W, Cout) f32 or bf16; weight (Cout, Cin, 3, 3), bias (Cout) f32
// how       a block of tiles at a time: 36 numbers of every 6x6 patch and channel (V), 36 products of (tiles, Cin) with
//           (Cin, Cout), back to 4x4 outputs. V and the products stay in the L2 of the thread that made them. The data
//           gradient is the same with turned weights; the weight gradient is the adjoint, G^T [sum V^T (A dY A^T)] G
// tail      scale * (y + shift + residual) as a tile is written, the residual read where its pixels lie
// threads   forward and data gradient: blocks in turn, and where tiles are few, parts of the output channels, whose
//           threads gather the same patches, so results do not depend on the number of threads; weight
//           gradient: one part a thread, added in order, bit-identical from run to run for one number of threads
// numerics  float32 throughout, weights of bf16 images unrounded. The transforms cost digits: the largest error against
//           float64, relative to the largest value, is 2e-6 to 9e-6 forward and data (32 to 256 channels; direct: 4e-7
//           to 1.5e-6) and up to 2.5e-5 for the sums of the weight gradient (direct: 2e-7)
// traffic   N H W / 16 * 36 * 2 Cin Cout FLOP: a quarter of the direct product's, and V once written and once read
// measured  2 cores of a Zen 4 (212 GFLOP/s f32, 430 bf16), beside other work, n32, ms forward / data / weights, in brackets
//           direct. A core spends 64 % of a forward 32x32 64->64 in the products (at 84 % of its peak), 17 % before, 11 % after
//           f32   28x28 32->32  .96/.97/1.0 (2.4/2.5/2.5)     16x16 128->128  4.5/4.6/5.2 (10.7/10.8/12.7)
//                 32x32 64->64  4.7/4.7/5.1 (11.5/12.3/15.1)  16x16 256->128  8.0/9.7/11.2 (20.5/22.2/23.2)
//           bf16  28x28 32->32  1.0/1.0/1.1 (1.1/1.2/1.6)     16x16 128->128  3.9/3.7/4.9 (5.3/5.1/5.9)
//                 32x32 64->64  4.3/4.4/4.9 (5.8/5.9/7.1)     16x16 256->128  7.6/7.4/9.2 (10.4/10.3/11.6)
//                 8x8 128->128  1.1/1.1/1.6 (1.3/1.3/1.5)     14x14 64->64    1.0/1.0/1.3 (1.0/1.0/1.3)
//           tail, one thread of it, of the time with a pass of its own behind: shift .92 to .98, residual .94 to 1.0 (out of the
//           caches what is left of it is reading the residual; asking for that during the products gained nothing)
//           one image, two threads, caches flushed, of the time of blocks of 24 tiles: 32x32 256->256 .81, 512->256 .75,
//           16x16 256->256 .63. With the points of the weights known (up to 256 tiles, 36 numbers for 9), of the time without:
//           f32 16x16 256->256 one image .81, four .89, sixteen .95
// limits    stride 1, padding 1, one group, channels in multiples of 16, any H and W
// source    Lavin & Gray 2016, section 4.3 (matrices), points 0, 1, -1, 2, -2 and infinity
#include "cpu/conv2d_winograd.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "cpu/dtype.h"
#include "cpu/onednn.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"
#include "cpu/tile.h"
#include "cpu/vec_bf16.h"

namespace rt {
namespace {

constexpr std::int64_t kSide = 4;              // of a tile of outputs
constexpr std::int64_t kPatch = 6;             // of the inputs it needs
constexpr std::int64_t kPoints = kPatch * kPatch;
constexpr std::int64_t kTaps = 9;
constexpr std::int64_t kBlockBytes = 640 << 10;  // of V and products: an L2 of 1 MB holds them
constexpr std::int64_t kFewestTiles = 24;        // of a block: fewer would read the weights too often
constexpr std::int64_t kMostTiles = 96;
constexpr std::int64_t kFewTiles = 32;           // a thread: fewer, and threads share out the channels, too
constexpr std::int64_t kFewestChannels = 32;
constexpr std::int64_t kWideChannels = 128;
constexpr std::int64_t kMostSums = 512 * 512;  // kernels of a weight gradient: 38 MB of sums a thread
constexpr std::int64_t kUnit = 16;               // channels: whole vectors on every instruction set

// B^T d
inline void to_points(const vec (&d)[kPatch], vec (&v)[kPatch]) {
  const vec even = d[4] - 4.0f * d[2];
  const vec odd = d[3] - 4.0f * d[1];
  const vec near = d[4] - d[2];
  const vec twice = 2.0f * (d[3] - d[1]);
  v[0] = 4.0f * d[0] - 5.0f * d[2] + d[4];
  v[1] = even + odd;
  v[2] = even - odd;
  v[3] = near + twice;
  v[4] = near - twice;
  v[5] = 4.0f * d[1] - 5.0f * d[3] + d[5];
}

// A^T m
inline void from_points(const vec (&m)[kPatch], vec (&y)[kSide]) {
  const vec one = m[1] + m[2];
  const vec two = m[3] + m[4];
  const vec one_odd = m[1] - m[2];
  const vec two_odd = m[3] - m[4];
  y[0] = m[0] + one + two;
  y[1] = one_odd + 2.0f * two_odd;
  y[2] = one + 4.0f * two;
  y[3] = one_odd + 8.0f * two_odd + m[5];
}

// A y
inline void gradient_to_points(const vec (&y)[kSide], vec (&z)[kPatch]) {
  const vec one = y[0] + y[2];
  const vec one_odd = y[1] + y[3];
  const vec two = y[0] + 4.0f * y[2];
  const vec two_odd = 2.0f * y[1] + 8.0f * y[3];
  z[0] = y[0];
  z[1] = one + one_odd;
  z[2] = one - one_odd;
  z[3] = two + two_odd;
  z[4] = two - two_odd;
  z[5] = y[3];
}

// G g
inline void kernel_to_points(const vec (&g)[3], vec (&u)[kPatch]) {
  const vec ends = g[0] + g[2];
  const vec far = g[0] + 4.0f * g[2];
  u[0] = 0.25f * g[0];
  u[1] = (-1.0f / 6) * (ends + g[1]);
  u[2] = (-1.0f / 6) * (ends - g[1]);
  u[3] = (1.0f / 24) * (far + 2.0f * g[1]);
  u[4] = (1.0f / 24) * (far - 2.0f * g[1]);
  u[5] = g[2];
}

// G^T u
inline void kernel_from_points(const vec (&u)[kPatch], vec (&g)[3]) {
  const vec one = (1.0f / 6) * (u[1] + u[2]);
  const vec two = (1.0f / 24) * (u[3] + u[4]);
  g[0] = 0.25f * u[0] - one + two;
  g[1] = (1.0f / 6) * (u[2] - u[1]) + (1.0f / 12) * (u[3] - u[4]);
  g[2] = 4.0f * two - one + u[5];
}

// `transform` along both axes of a square: from `From` x `From` to `To` x `To`, row by row.
template <int From, int To, class Transform>
inline void both_axes(const vec (&square)[From][From], vec (&result)[To][To], Transform&& transform) {
  vec half[From][To];
#pragma GCC unroll 6
  for (int i = 0; i < From; ++i) {
    transform(square[i], half[i]);
  }
#pragma GCC unroll 6
  for (int j = 0; j < To; ++j) {
    vec column[From];
    vec out[To];
#pragma GCC unroll 6
    for (int i = 0; i < From; ++i) {
      column[i] = half[i][j];
    }
    transform(column, out);
#pragma GCC unroll 6
    for (int i = 0; i < To; ++i) {
      result[i][j] = out[i];
    }
  }
}

// Where the tiles of a batch lie, and how many a block has.
struct Tiles {
  std::int64_t n, h, w, down, across, block;

  explicit Tiles(const WinogradConv& conv)
      : n(conv.n),
        h(conv.h),
        w(conv.w),
        down((conv.h + kSide - 1) / kSide),
        across((conv.w + kSide - 1) / kSide),
        block(std::clamp(kBlockBytes / (kPoints * 4 * (conv.in + conv.out)) / TILE_ROWS * TILE_ROWS, kFewestTiles,
                         kMostTiles)) {}

  // Makes blocks of equal size where `threads` have one or two each.
  void share_out(std::int64_t threads) {
    const std::int64_t most = std::max(block, kFewTiles);
    const std::int64_t rounds = (count() + threads * most - 1) / (threads * most);
    if (rounds <= 2) {
      block = (count() + threads * rounds - 1) / (threads * rounds);
    }
  }

  std::int64_t count() const { return n * down * across; }
  std::int64_t blocks() const { return (count() + block - 1) / block; }
  std::int64_t first(std::int64_t index) const { return index * block; }
  std::int64_t size(std::int64_t index) const { return std::min(block, count() - first(index)); }

  // Floats between the numbers of two points: a line more than the block, or all points would fall into a few sets of
  // the first-level cache.
  std::int64_t plane(std::int64_t channels) const { return block * channels + 16; }
};

// The pixels under a square of `Extent` x `Extent` that begins `margin` before tile `tile`; outside the image it is
// `outside`.
template <int Extent, class T>
struct Window {
  T* pixel[Extent][Extent];

  Window(const Tiles& tiles, std::int64_t tile, std::int64_t margin, std::int64_t channels, T* images, T* outside) {
    const std::int64_t image = tile / (tiles.down * tiles.across);
    const std::int64_t top = tile / tiles.across % tiles.down * kSide - margin;
    const std::int64_t left = tile % tiles.across * kSide - margin;
    T* base = images + image * tiles.h * tiles.w * channels;
    for (std::int64_t i = 0; i < Extent; ++i) {
      for (std::int64_t j = 0; j < Extent; ++j) {
        const std::int64_t row = top + i;
        const std::int64_t column = left + j;
        const bool inside = row >= 0 && row < tiles.h && column >= 0 && column < tiles.w;
        pixel[i][j] = inside ? base + (row * tiles.w + column) * channels : outside;
      }
    }
  }

  // Asks for channel `c` of the columns that the tile before does not have. float32 gains nothing: twice the requests.
  void fetch(std::int64_t c) const {
    if constexpr (sizeof(T) == sizeof(bf16)) {
#pragma GCC unroll 6
      for (int i = 0; i < Extent; ++i) {
#pragma GCC unroll 6
        for (int j = Extent - kSide; j < Extent; ++j) {
          __builtin_prefetch(pixel[i][j] + c);
        }
      }
    }
  }
};

// Points of the tiles of a block: of their 6x6 input patches, or of their 4x4 output gradients. `zeros` is a black pixel.
template <int Extent, class T, class Transform>
void gather(const Tiles& tiles, std::int64_t block, std::int64_t channels, const T* images, const T* zeros,
            float* points, Transform&& transform) {
  const std::int64_t plane = tiles.plane(channels);
  const std::int64_t last = tiles.first(block) + tiles.size(block) - 1;
  constexpr std::int64_t margin = (Extent - kSide) / 2;
  Window<Extent, const T> window(tiles, tiles.first(block), margin, channels, images, zeros);
  for (std::int64_t t = 0; t < tiles.size(block); ++t) {
    const Window<Extent, const T> next(tiles, std::min(tiles.first(block) + t + 1, last), margin, channels, images,
                                       zeros);
    for (std::int64_t c = 0; c < channels; c += LANES) {
      next.fetch(c);
      vec square[Extent][Extent];
#pragma GCC unroll 6
      for (int i = 0; i < Extent; ++i) {
#pragma GCC unroll 6
        for (int j = 0; j < Extent; ++j) {
          square[i][j] = load_vec(window.pixel[i][j] + c);
        }
      }
      vec result[kPatch][kPatch];
      both_axes<Extent, kPatch>(square, result, transform);
      float* to = points + t * channels + c;
#pragma GCC unroll 36
      for (int p = 0; p < kPoints; ++p) {
        store_vec(to + p * plane, result[p / kPatch][p % kPatch]);
      }
    }
    window = next;
  }
}

// Some of the output channels of a convolution.
struct Share {
  std::int64_t first, count;
};

// The outputs of a block's tiles in a share of the channels, from their points, with bias and tail in float32.
template <bool Joined, class T>
void scatter(const Tiles& tiles, std::int64_t block, std::int64_t channels, Share share, const float* points,
             const float* bias, const ConvTail& tail, T* images) {
  const std::int64_t plane = tiles.plane(share.count);
  for (std::int64_t t = 0; t < tiles.size(block); ++t) {
    const std::int64_t tile = tiles.first(block) + t;
    const Window<kSide, T> window(tiles, tile, 0, channels, images, static_cast<T*>(nullptr));
    const float* const shift = tail.shift_of(tile / (tiles.down * tiles.across), channels);
    for (std::int64_t c = share.first; c < share.first + share.count; c += LANES) {
      vec square[kPatch][kPatch];
      const float* from = points + t * share.count + c - share.first;
#pragma GCC unroll 36
      for (int p = 0; p < kPoints; ++p) {
        square[p / kPatch][p % kPatch] = load_vec(from + p * plane);
      }
      vec result[kSide][kSide];
      both_axes<kPatch, kSide>(square, result, from_points);
      vec offset = bias == nullptr ? vec{} : load_vec(bias + c);
      if (shift != nullptr) {
        offset += load_vec(shift + c);
      }
      for (int i = 0; i < kSide; ++i) {
        for (int j = 0; j < kSide; ++j) {
          T* const pixel = window.pixel[i][j];
          if (pixel != nullptr) {
            vec sum = result[i][j] + offset;
            if constexpr (Joined) {
              sum += load_vec(static_cast<const T*>(tail.residual) + (pixel - images) + c);
            }
            store_vec(pixel + c, tail.scale * sum);
          }
        }
      }
    }
  }
}

// Taps of LANES kernels that lie `step` apart: a vector of kernels for each tap.
inline void load_taps(const float* from, std::int64_t step, vec (&taps)[kTaps]) {
#if defined(__AVX512F__)
  vec block[LANES];
#pragma GCC unroll 16
  for (int lane = 0; lane < LANES; ++lane) {
    block[lane] = vec(_mm512_maskz_loadu_ps((1u << kTaps) - 1, from + lane * step));
  }
  transpose_block(block);
  std::copy_n(block, kTaps, taps);
#else
  for (int tap = 0; tap < kTaps; ++tap) {
    float lanes[LANES];
    for (int lane = 0; lane < LANES; ++lane) {
      lanes[lane] = from[lane * step + tap];
    }
    taps[tap] = load_vec(lanes);
  }
#endif
}

inline void store_taps(float* to, std::int64_t step, const vec (&taps)[kTaps]) {
#if defined(__AVX512F__)
  vec block[LANES] = {};
  std::copy_n(taps, kTaps, block);
  transpose_block(block);
#pragma GCC unroll 16
  for (int lane = 0; lane < LANES; ++lane) {
    _mm512_mask_storeu_ps(to + lane * step, (1u << kTaps) - 1, block[lane]);
  }
#else
  for (int tap = 0; tap < kTaps; ++tap) {
    float lanes[LANES];
    store_vec(lanes, taps[tap]);
    for (int lane = 0; lane < LANES; ++lane) {
      to[lane * step + tap] = lanes[lane];
    }
  }
#endif
}

// How a weight (out, in, 3, 3) is read: distances between its outputs and inputs, and whether its taps are turned by
// half a circle.
struct Kernels {
  const float* weight;
  std::int64_t out_step, in_step;
  bool turned;

  void load(std::int64_t in, std::int64_t out, vec (&g)[3][3]) const {
    vec taps[kTaps];
    load_taps(weight + out * out_step + in * in_step, out_step, taps);
    for (int tap = 0; tap < kTaps; ++tap) {
      g[tap / 3][tap % 3] = taps[turned ? kTaps - 1 - tap : tap];
    }
  }
};

// As the forward pass and the data gradient read a weight.
Kernels forward_kernels(const WinogradConv& conv, const float* weight) {
  return {weight, conv.in * kTaps, kTaps, false};
}
Kernels turned_kernels(const WinogradConv& conv, const float* weight) {
  return {weight, kTaps, conv.in * kTaps, true};
}

// U[point][in][out] of all kernels.
void transform_kernels(const Kernels& kernels, std::int64_t in, std::int64_t out, int threads, float* points) {
  parallel(in * out < RT_PARALLEL_MIN / kPoints ? 1 : threads, in, [&](std::int64_t c) {
    for (std::int64_t o = 0; o < out; o += LANES) {
      vec g[3][3];
      kernels.load(c, o, g);
      vec u[kPatch][kPatch];
      both_axes<3, kPatch>(g, u, kernel_to_points);
#pragma GCC unroll 36
      for (int p = 0; p < kPoints; ++p) {
        store_vec(points + (p * in + c) * out + o, u[p / kPatch][p % kPatch]);
      }
    }
  });
}

// How a convolution is shared out among threads: by blocks of tiles, and where these are too few, by channels too.
struct Division {
  Tiles tiles;
  std::int64_t parts = 1;

  Division(const WinogradConv& conv, std::int64_t threads) : tiles(conv) {
    if (tiles.count() >= threads * kFewTiles / 2) {
      tiles.share_out(threads);
      return;
    }
    tiles.block = std::min(tiles.count(), kFewTiles);
    while (parts * tiles.blocks() < threads && conv.out % (2 * parts * kUnit) == 0) {
      parts *= 2;
    }
  }

  std::int64_t tasks() const { return tiles.blocks() * parts; }
  std::int64_t block(std::int64_t task) const { return task / parts; }
  Share share(std::int64_t task, std::int64_t channels) const {
    return {task % parts * (channels / parts), channels / parts};
  }
};

// Output images from input images and kernels, whose points may be null.
void convolve(const WinogradConv& conv, const void* x, const Kernels& kernels, const float* known, const float* bias,
              const ConvTail& tail, void* y) {
  const int threads = team_size();
  const Division division(conv, threads);
  const Tiles& tiles = division.tiles;
  // This thread's memory is its own V and products, too: one claim for everything.
  const std::int64_t weights = known == nullptr ? winograd_points(conv) : 0;
  const std::int64_t own = kPoints * (tiles.plane(conv.in) + tiles.plane(conv.out / division.parts));
  float* const memory = scratch(weights + threads * own + conv.in);
  float* const black = std::fill_n(memory + weights + threads * own, conv.in, 0.0f) - conv.in;
  if (known == nullptr) {
    transform_kernels(kernels, conv.in, conv.out, threads, memory);
  }
  const float* const points = known == nullptr ? memory : known;
  dispatch(conv.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    parallel(threads, division.tasks(), [&](std::int64_t task) {
      const std::int64_t block = division.block(task);
      const Share share = division.share(task, conv.out);
      float* const patches = memory + weights + omp_get_thread_num() * own;
      float* const products = patches + kPoints * tiles.plane(conv.in);
      gather<kPatch>(tiles, block, conv.in, static_cast<const T*>(x), reinterpret_cast<const T*>(black), patches,
                     to_points);
      for (std::int64_t p = 0; p < kPoints; ++p) {
        tile_product<Left::rows>(tiles.size(block), share.count, conv.in, patches + p * tiles.plane(conv.in), conv.in,
                                 points + p * conv.in * conv.out + share.first, conv.out,
                                 products + p * tiles.plane(share.count), share.count, false);
      }
      if (tail.residual != nullptr) {
        scatter<true>(tiles, block, conv.out, share, products, bias, tail, static_cast<T*>(y));
      } else {
        scatter<false>(tiles, block, conv.out, share, products, bias, tail, static_cast<T*>(y));
      }
    });
  });
}

// dweight = G^T U G with the sums U[point][in][out] of `parts` threads, `part_step` apart, added in order.
void kernels_from_sums(const WinogradConv& conv, const float* sums, std::int64_t parts, std::int64_t part_step,
                       int threads, float* dweight) {
  // By whole units of channels: neighbours share the lines of dweight.
  parallel(threads, conv.in / kUnit, [&](std::int64_t unit) {
    for (std::int64_t o = 0; o < conv.out; o += LANES) {
      for (std::int64_t c = unit * kUnit; c < (unit + 1) * kUnit; ++c) {
        vec u[kPatch][kPatch];
#pragma GCC unroll 36
        for (int p = 0; p < kPoints; ++p) {
          const float* from = sums + (p * conv.in + c) * conv.out + o;
          vec sum = load_vec(from);
          for (std::int64_t part = 1; part < parts; ++part) {
            sum += load_vec(from + part * part_step);
          }
          u[p / kPatch][p % kPatch] = sum;
        }
        vec g[3][3];
        both_axes<kPatch, 3>(u, g, kernel_from_points);
        vec taps[kTaps];
        for (int tap = 0; tap < kTaps; ++tap) {
          taps[tap] = g[tap / 3][tap % 3];
        }
        store_taps(dweight + (o * conv.in + c) * kTaps, conv.in * kTaps, taps);
      }
    }
  });
}

bool multiplies_tiles() { return dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_amx; }

bool switched_on() {
  static const bool on = [] {
    const char* wanted = std::getenv("RETORT_CONVOLUTION");
    return wanted == nullptr || std::string_view(wanted) != "direct";
  }();
  return on;
}

}  // namespace

bool winograd_pays(WinogradPass pass, const WinogradConv& conv, std::int64_t kernel_h, std::int64_t kernel_w,
                   std::int64_t stride, std::int64_t padding, std::int64_t groups) {
  const std::int64_t thinnest = std::min(conv.in, conv.out);
  const bool possible = kernel_h == 3 && kernel_w == 3 && stride == 1 && padding == 1 && groups == 1 &&
                        conv.h >= kSide && conv.w >= kSide && conv.in % kUnit == 0 && conv.out % kUnit == 0 &&
                        thinnest >= kFewestChannels && switched_on();
  if (!possible) {
    return false;
  }
  // The kernels are transformed in every call: 36 numbers for 9, which few tiles of many channels do not pay for.
  const bool images = pass == WinogradPass::images;
  const std::int64_t tiles = conv.n * ((conv.h + kSide - 1) / kSide) * ((conv.w + kSide - 1) / kSide);
  const std::int64_t widest = std::max(conv.in, conv.out);
  const bool wide = widest > kWideChannels;
  if (tiles * 16 < widest || (!images && wide && (tiles * 2 < widest || conv.in * conv.out > kMostSums))) {
    return false;
  }
  if (conv.dtype == RT_F32) {
    return true;
  }
  // The direct product has twice the speed in bfloat16, sixteen times with matrix tiles, and this one stays in float32:
  // tiles that hang over the edge leave it little.
  const bool whole = 10 * conv.n * conv.h * conv.w >= 9 * kSide * kSide * tiles;
  const bool few = whole ? thinnest < 32 || tiles < widest : thinnest < 64 || tiles < 4 * widest;
  return !(images ? few : wide && tiles < 2 * widest) && !multiplies_tiles();
}

std::int64_t winograd_tiles(const WinogradConv& conv) { return Tiles(conv).count(); }

std::int64_t winograd_points(const WinogradConv& conv) { return kPoints * conv.in * conv.out; }

void winograd_pack_forward(const WinogradConv& conv, const float* weight, float* points) {
  transform_kernels(forward_kernels(conv, weight), conv.in, conv.out, team_size(), points);
}

void winograd_pack_data(const WinogradConv& conv, const float* weight, float* points) {
  transform_kernels(turned_kernels(conv, weight), conv.out, conv.in, team_size(), points);
}

void winograd_forward(const WinogradConv& conv, const void* x, const float* weight, const float* points,
                      const float* bias, const ConvTail& tail, void* y) {
  convolve(conv, x, forward_kernels(conv, weight), points, bias, tail, y);
}

void winograd_data_gradient(const WinogradConv& conv, const void* dy, const float* weight, const float* points,
                            void* dx) {
  const WinogradConv back{conv.n, conv.h, conv.w, conv.out, conv.in, conv.dtype};
  convolve(back, dy, turned_kernels(conv, weight), points, nullptr, {}, dx);
}

void winograd_weight_gradient(const WinogradConv& conv, const void* x, const void* dy, float* dweight) {
  const Tiles tiles(conv);
  const std::int64_t parts = std::min<std::int64_t>(team_size(), tiles.blocks());
  const std::int64_t weights = kPoints * conv.in * conv.out;
  const std::int64_t own = kPoints * (tiles.plane(conv.in) + tiles.plane(conv.out)) + weights;
  const std::int64_t widest = std::max(conv.in, conv.out);
  float* const memory = scratch(parts * own + widest);
  float* const black = std::fill_n(memory + parts * own, widest, 0.0f) - widest;
  dispatch(conv.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    parallel(static_cast<int>(parts), parts, [&](std::int64_t part) {
      float* const sums = memory + part * own;
      float* const patches = sums + weights;
      float* const gradients = patches + kPoints * tiles.plane(conv.in);
      const std::int64_t first = tiles.blocks() * part / parts;
      for (std::int64_t block = first; block < tiles.blocks() * (part + 1) / parts; ++block) {
        gather<kPatch>(tiles, block, conv.in, static_cast<const T*>(x), reinterpret_cast<const T*>(black), patches,
                     to_points);
        gather<kSide>(tiles, block, conv.out, static_cast<const T*>(dy), reinterpret_cast<const T*>(black), gradients,
                      gradient_to_points);
        for (std::int64_t p = 0; p < kPoints; ++p) {
          tile_product<Left::columns>(conv.in, conv.out, tiles.size(block), patches + p * tiles.plane(conv.in), conv.in,
                                      gradients + p * tiles.plane(conv.out), conv.out,
                                      sums + p * conv.in * conv.out, conv.out, block != first);
        }
      }
    });
  });
  kernels_from_sums(conv, memory, parts, own, weights < RT_PARALLEL_MIN ? 1 : static_cast<int>(parts), dweight);
}

}  // namespace rt
