// conv2d.cu   y[n,i,j,o] = b_o + sum_{a,b,c} x[n, i s + a - p, j s + b - p, c] w[o,c,a,b], and its gradients
// shapes    x (N, H, W, Cin), y (N, Ho, Wo, Cout) channels-last; w (Cout, Cin/groups, kh, kw) and b (Cout) float32. The
//           products read w packed, (Cout, kh kw, Cin) for y and (Cin, kh kw, Cout) for dx, and channels padded with zeros to
//           whole accesses of 16 bytes, from aligned addresses
// launch    rt_conv2d_MxN: grid (tiles, parts of the sum), all stride x stride kinds of pixels of dx in one launch;
//           rt_conv2d_weights_MxN: grid (tiles of dw, parts of the pixels); 128 or 256 threads and (M + N) x 64 bytes x 4 slots
//           of dynamic shared memory as CudaTile.java says, 32 to 96 KB. Weights: a block for a 32 x 32 piece. Others: 256
//           threads, a thread for each result or 16 bytes of it
// numerics  as common/gemm.cuh: bf16 weights rounded for the product, float32 sums, float32 by 3xTF32; parts are added in
//           ascending order by a second kernel; an infinity among float32 operands gives NaN
// traffic   256 -> 256 3x3 at 32x32, batch 64, bf16: 77 GFLOP for each of y, dx and dw, 97 us at an H100's 798 TFLOP/s, beside
//           67 MB of x and y, 22 us at 3.0 TB/s: compute-bound. As for matmul.cu, but that the pixels that taps read again
//           should come from L1, which leaves 4.9 of 7.0 TB/s to L2: 400 to 480 TFLOP/s expected. dw adds 11 parts of 2.4 MB, written and read, 17 us. 8x8 layers
//           have 128 tiles of 128 x 64: one a multiprocessor, 0.3 expected. Packing the weights: 3.5 MB, 3 us with its launch.
//           A thin side (3 channels, 128 or 256 on the other) is one pass over the wide side, 17 or 34 MB, 6 or 11 us, plus
//           patches of 4 MB or products of 7 MB that stay in L2: 0.6 of 3.0 TB/s expected. A tail, scale * (y + shift +
//           residual), is one more pass over y in place, not part of the products: their accumulators leave no registers
//           for it. In bf16 y is rounded before it
// measured  not measured yet
// spills    none
// limits    any shape; more than 15 taps on an axis, groups, and images or kernels whose elements a tile does not reach in 32
//           bits go other ways (CudaConvolution.java)
// source    implicit GEMM as in CUTLASS, media/docs/implicit_gemm_convolution.md. dx: pixels that are equal modulo the stride
//           meet the same taps, so each kind is a convolution of stride 1 with those, and no zeros of a dilated dy are
//           multiplied. Thin sides: as bindings/cpu/conv2d_thin.cpp

#include "common/gemm.cuh"

namespace {

constexpr int kSlots = 4;      // tiles in shared memory, see matmul.cu
constexpr int kMostTaps = 15;  // of an axis, for the products: a bit each, and one more, twice in 32 bits

// Quotient and remainder; most often of numbers for which 32 bits do.
struct Division {
  std::int64_t quotient, remainder;
};

__device__ __forceinline__ Division divide(std::int64_t x, std::int64_t by) {
  if ((x | by) >> 32 == 0) {
    const auto q = static_cast<std::uint32_t>(x) / static_cast<std::uint32_t>(by);
    return {q, static_cast<std::uint32_t>(x) - q * static_cast<std::uint32_t>(by)};
  }
  const std::int64_t q = x / by;
  return {q, x - q * by};
}

// The pixel of the other side that tap `tap` of a pixel meets, or -1: of x from a pixel of y or, for the gradient, of y
// from a pixel of x.
__device__ __forceinline__ std::int64_t met(std::int64_t pixel, int tap, int stride, int padding, bool gradient,
                                            std::int64_t extent) {
  std::int64_t at = gradient ? pixel + padding - tap : pixel * stride + tap - padding;
  if (gradient && stride > 1) {
    if (at < 0 || at % stride != 0) {
      return -1;
    }
    at /= stride;
  }
  return at >= 0 && at < extent ? at : -1;
}

// --- y and dx ----------------------------------------------------------------------------------------

// One axis of the pixels that a block writes, and of those it reads for them.
struct Axis {
  std::int64_t first, step, count;  // writes first, first + step, ... so many
  int tap, tap_step, taps;          // by taps tap, tap + tap_step, ... so many
  std::int64_t origin;              // the first pixel reads this by the first tap,
  int scale, sign;                  // the next pixel `scale` further, the next tap `sign` further
};

__device__ __forceinline__ Axis forward_axis(std::int64_t extent, int kernel, int stride, int padding) {
  return {0, 1, extent, 0, 1, kernel, -padding, stride, 1};
}

// Of dx: the pixels `residue` modulo the stride.
__device__ __forceinline__ Axis gradient_axis(std::int64_t extent, int kernel, int stride, int padding,
                                              std::int64_t residue) {
  const int tap = static_cast<int>((residue + padding) % stride);
  const int taps = tap < kernel ? (kernel - tap - 1) / stride + 1 : 0;
  return {residue, stride, (extent - residue - 1) / stride + 1, tap, stride, taps, (residue + padding - tap) / stride, 1, -1};
}

// Which taps of an axis stay inside [0, extent), a bit each, where the first tap reads pixel `at`.
__device__ __forceinline__ unsigned taps_inside(std::int64_t at, const Axis& axis, std::int64_t extent) {
  unsigned bits = 0;
  for (int tap = 0; tap < axis.taps; tap++) {
    bits |= at >= 0 && at < extent ? 1u << tap : 0u;
    at += axis.sign;
  }
  return bits;
}

// Copies the tiles of both operands: pixels by the channels of one tap, and the weights of that tap. Taps come before
// channels, so that what neighbouring taps read again is still in L1.
template <class Gemm>
class PatchTiles {
  using T = typename Gemm::type;
  using A = typename Gemm::operand_a;
  using B = typename Gemm::operand_b;
  static constexpr int kBetween = Gemm::threads / A::chunks;  // rows between a thread's chunks, of either operand
  static constexpr int kRowsA = A::rows / kBetween;
  static constexpr int kRowsB = B::rows / kBetween;

 public:
  // For the `rows` of the product from corner.m on and the n output channels from corner.n on, from step `step` of
  // slabs x taps on.
  __device__ __forceinline__ PatchTiles(const T* in, const T* weight, rt_tile_corner corner, const Axis& down,
                                        const Axis& right, std::int64_t rows, std::int64_t in_h, std::int64_t in_w,
                                        std::int64_t channels, std::int64_t n, int kh, int kw, std::int64_t step) {
    const int row = static_cast<int>(threadIdx.x) / A::chunks;
    const int chunk = static_cast<int>(threadIdx.x) % A::chunks;
    to_a_ = A::offset(row, chunk);
    to_b_ = B::offset(row, chunk);
    const std::int64_t first_image = corner.m / (down.count * right.count);
    in_ = in + first_image * in_h * in_w * channels;
#pragma unroll
    for (int i = 0; i < kRowsA; i++) {
      const std::int64_t m = corner.m + row + i * kBetween;
      const Division line = divide(m, right.count);
      const Division image = divide(line.quotient, down.count);
      const std::int64_t y = image.remainder * down.scale + down.origin;
      const std::int64_t x = line.remainder * right.scale + right.origin;
      const std::int64_t pixel = ((image.quotient - first_image) * in_h + y) * in_w + x;
      pixel_[i] = static_cast<int>(pixel * channels) + chunk * A::width;
      inside_[i] = m < rows ? taps_inside(y, down, in_h) | taps_inside(x, right, in_w) << kMostTaps : 0u;
    }
    const int c = static_cast<int>(channels);
    const int row_of_weights = kh * kw * c;
    weights_ = weight + (corner.n + row) * row_of_weights + chunk * B::width;
    between_ = kBetween * row_of_weights;
    rows_b_ = static_cast<int>(min(n - corner.n - row, std::int64_t{B::rows}));

    const int line_a = down.sign * static_cast<int>(in_w) * c;
    const int line_b = down.tap_step * kw * c;
    tap_a_ = right.sign * c;
    tap_b_ = right.tap_step * c;
    line_a_ = line_a - right.taps * tap_a_;
    line_b_ = line_b - right.taps * tap_b_;
    slab_a_ = A::depth - down.taps * line_a;
    slab_b_ = B::depth - down.taps * line_b;
    const int slab = static_cast<int>(step / (down.taps * right.taps));
    const int tap = static_cast<int>(step % (down.taps * right.taps));
    const int at_down = tap / right.taps;
    const int at_right = tap % right.taps;
    down_ = 1u << at_down;
    right_ = 1u << kMostTaps << at_right;
    end_down_ = 1u << down.taps;
    end_right_ = 1u << kMostTaps << right.taps;
    a_ = at_down * line_a + at_right * tap_a_ + slab * A::depth;
    b_ = (down.tap * kw + right.tap) * c + at_down * line_b + at_right * tap_b_ + slab * B::depth;
    channels_ = c - chunk * A::width - slab * A::depth;
  }

  __device__ __forceinline__ void copy(std::byte* tile_a, std::byte* tile_b) {
    const unsigned taps = down_ | right_;
#pragma unroll
    for (int i = 0; i < kRowsA; i++) {
      rt_cp_async_16_cached(tile_a + to_a_ + i * kBetween * A::pitch, in_ + (pixel_[i] + a_),
                            (taps & ~inside_[i]) == 0 && channels_ > 0);
    }
#pragma unroll
    for (int i = 0; i < kRowsB; i++) {
      rt_cp_async_16(tile_b + to_b_ + i * kBetween * B::pitch, weights_ + (i * between_ + b_),
                     i * kBetween < rows_b_ && channels_ > 0);
    }
    next_tap();
  }

 private:
  __device__ __forceinline__ void next_tap() {
    a_ += tap_a_;
    b_ += tap_b_;
    right_ *= 2;
    if (right_ == end_right_) {
      right_ = 1u << kMostTaps;
      a_ += line_a_;
      b_ += line_b_;
      down_ *= 2;
      if (down_ == end_down_) {
        down_ = 1;
        a_ += slab_a_;
        b_ += slab_b_;
        channels_ -= A::depth;
      }
    }
  }

  const T* in_;             // the image of the tile's first pixel
  int pixel_[kRowsA];       // from there, what the first tap of the first slab reads
  unsigned inside_[kRowsA];  // taps that meet a pixel: down in the lower half, right in the upper
  const T* weights_;
  int between_, to_a_, to_b_, rows_b_;
  int tap_a_, tap_b_, line_a_, line_b_, slab_a_, slab_b_;  // elements to the next tap, and what an end adds to that
  unsigned down_, right_, end_down_, end_right_;           // where the walk is, as bits of inside_
  int a_, b_, channels_;                                   // and in elements; channels left
};

// out = y from x or, with `gradient`, dx from dy; `in` has in_h x in_w pixels of pitch `channels`, `out` out_h x out_w of n.
template <class T, int M, int N, int WarpM, int WarpN>
__device__ __forceinline__ void convolve(const T* in, const T* weight, const float* bias, T* out, float* parts,
                                         std::int64_t images, std::int64_t in_h, std::int64_t in_w,
                                         std::int64_t channels, std::int64_t out_h, std::int64_t out_w, std::int64_t n,
                                         int kh, int kw, int stride, int padding, bool gradient,
                                         std::int64_t steps_of_part) {
  using Gemm = rt_gemm<T, rt_major::k, rt_major::k, M, N, WarpM, WarpN, kSlots>;
  RT_DYNAMIC_SHARED(std::byte, shared);
  unsigned tile = blockIdx.x;
  Axis down = forward_axis(out_h, kh, stride, padding);
  Axis right = forward_axis(out_w, kw, stride, padding);
  if (gradient) {
    // Every residue gets as many tiles as the first, which has the most pixels.
    const std::int64_t most = images * ((out_h - 1) / stride + 1) * ((out_w - 1) / stride + 1);
    const auto tiles = static_cast<unsigned>((most + M - 1) / M * ((n + N - 1) / N));
    const unsigned residues = static_cast<unsigned>(min(out_w, std::int64_t{stride}));
    const unsigned residue = tile / tiles;
    tile %= tiles;
    down = gradient_axis(out_h, kh, stride, padding, residue / residues);
    right = gradient_axis(out_w, kw, stride, padding, residue % residues);
  }
  const std::int64_t rows = images * down.count * right.count;
  const rt_tile_corner corner = rt_tile<Gemm>(tile, rows, n);
  if (corner.m >= rows || corner.n >= n) {
    return;
  }
  const int taps = down.taps * right.taps;
  const std::int64_t steps = (channels + Gemm::depth - 1) / Gemm::depth * taps;
  const std::int64_t first = min(blockIdx.y * steps_of_part, steps);
  const int count = static_cast<int>(min(steps - first, steps_of_part));
  Gemm gemm;
  if (count > 0) {
    PatchTiles<Gemm> tiles(in, weight, corner, down, right, rows, in_h, in_w, channels, n, kh, kw, first);
    gemm.run(shared, count, [&](std::byte* to_a, std::byte* to_b) { tiles.copy(to_a, to_b); });
  }
  const bool dense = down.step == 1 && right.step == 1;
  const auto row_of = [=](std::int64_t row) {
    if (dense) {
      return row;
    }
    const Division line = divide(row, right.count);
    const Division image = divide(line.quotient, down.count);
    return (image.quotient * out_h + down.first + image.remainder * down.step) * out_w + right.first +
           line.remainder * right.step;
  };
  if (parts != nullptr) {
    float* const part = parts + blockIdx.y * images * out_h * out_w * n;
    gemm.store(shared, rt_matrix_out<float>{part, nullptr, rows, n}, corner, row_of);
  } else {
    gemm.store(shared, rt_matrix_out<T>{out, bias, rows, n}, corner, row_of);
  }
}

// --- dw ----------------------------------------------------------------------------------------------

// Copies tiles of x for the weight gradient: along k the pixels of y, along n (tap, channel) of the pixels of x they meet.
template <class Gemm>
class ShiftedTiles {
  using T = typename Gemm::type;
  using B = typename Gemm::operand_b;
  static constexpr int kBetween = Gemm::threads / B::chunks;  // pixels between a thread's chunks, also from tile to tile

 public:
  // For columns from n0 on and the `pixels` of y from `pixel` on.
  __device__ __forceinline__ ShiftedTiles(const T* x, std::int64_t n0, std::int64_t pixel, std::int64_t pixels,
                                          std::int64_t in_h, std::int64_t in_w, std::int64_t channels,
                                          std::int64_t out_h, std::int64_t out_w, int kh, int kw, int stride,
                                          int padding)
      : in_h_(static_cast<unsigned>(in_h)), in_w_(static_cast<unsigned>(in_w)), stride_(stride) {
    const int row = static_cast<int>(threadIdx.x) / B::chunks;
    const int chunk = static_cast<int>(threadIdx.x) % B::chunks;
    to_ = B::offset(row, chunk);
    const Division column = divide(n0 + chunk * B::width, channels);
    const int tap = static_cast<int>(min(column.quotient, std::int64_t{kh} * kw));
    const Division line = divide(pixel + row, out_w);
    const Division image = divide(line.quotient, out_h);
    const std::int64_t y = image.remainder * stride + tap / kw - padding;
    const std::int64_t x0 = line.remainder * stride + tap % kw - padding;
    at_ = x + ((image.quotient * in_h + y) * in_w + x0) * channels + column.remainder;
    y_ = static_cast<int>(y);
    x_ = static_cast<int>(x0);
    pixels_ = tap < kh * kw ? static_cast<int>(min(pixels - row, std::int64_t{0x7fffffff})) : 0;

    // kBetween pixels further is so many images, lines and columns further, and at an end of a line or image one more.
    span_y_ = static_cast<int>(out_h) * stride;
    span_x_ = static_cast<int>(out_w) * stride;
    end_y_ = span_y_ + tap / kw - padding;
    end_x_ = span_x_ + tap % kw - padding;
    const Division lines = divide(kBetween, out_w);
    const Division whole = divide(lines.quotient, out_h);
    step_y_ = static_cast<int>(whole.remainder) * stride;
    step_x_ = static_cast<int>(lines.remainder) * stride;
    step_ = static_cast<int>(((whole.quotient * in_h + step_y_) * in_w + step_x_) * channels);
    end_of_line_ = static_cast<int>((stride * in_w - span_x_) * channels);
    end_of_image_ = static_cast<int>((in_h - span_y_) * in_w * channels);
  }

  __device__ __forceinline__ void copy(std::byte* tile) {
#pragma unroll
    for (int i = 0; i < B::rows / kBetween; i++) {
      const bool inside = static_cast<unsigned>(y_) < in_h_ && static_cast<unsigned>(x_) < in_w_ && i * kBetween < pixels_;
      rt_cp_async_16(tile + to_ + i * kBetween * B::pitch, at_, inside);
      int by = step_;
      y_ += step_y_;
      x_ += step_x_;
      if (x_ >= end_x_) {
        x_ -= span_x_;
        y_ += stride_;
        by += end_of_line_;
      }
      if (y_ >= end_y_) {
        y_ -= span_y_;
        by += end_of_image_;
      }
      at_ += by;
    }
    pixels_ -= B::depth;
  }

 private:
  const T* at_;
  int y_, x_, pixels_;  // of x, and pixels of y left
  unsigned in_h_, in_w_;
  int stride_, to_, step_, step_y_, step_x_;
  int span_y_, span_x_, end_y_, end_x_, end_of_line_, end_of_image_;
};

// parts (part, Cout, kh kw, channels) = the sum of dy x over the pixels of each part; `channels` and `pitch` are the pixel
// pitches of x and dy.
template <class T, int M, int N, int WarpM, int WarpN>
__device__ __forceinline__ void weight_gradient(const T* x, const T* dy, float* parts, std::int64_t images,
                                                std::int64_t in_h, std::int64_t in_w, std::int64_t channels,
                                                std::int64_t out_h, std::int64_t out_w, std::int64_t c_out,
                                                std::int64_t pitch, int kh, int kw, int stride, int padding,
                                                std::int64_t pixels_of_part) {
  using Gemm = rt_gemm<T, rt_major::mn, rt_major::mn, M, N, WarpM, WarpN, kSlots>;
  RT_DYNAMIC_SHARED(std::byte, shared);
  const std::int64_t n = channels * kh * kw;
  const rt_tile_corner corner = rt_tile<Gemm>(blockIdx.x, c_out, n);
  const std::int64_t all = images * out_h * out_w;
  const std::int64_t first = min(blockIdx.y * pixels_of_part, all);
  const std::int64_t pixels = min(all - first, pixels_of_part);
  rt_dense_tiles<T, typename Gemm::operand_a, Gemm::threads> tiles_dy(dy + first * pitch + corner.m, pitch,
                                                                     pitch - corner.m, pixels);
  ShiftedTiles<Gemm> tiles_x(x, corner.n, first, pixels, in_h, in_w, channels, out_h, out_w, kh, kw, stride, padding);
  Gemm gemm;
  gemm.run(shared, static_cast<int>((pixels + Gemm::depth - 1) / Gemm::depth), [&](std::byte* to_a, std::byte* to_b) {
    tiles_dy.copy(to_a);
    tiles_x.copy(to_b);
  });
  gemm.store(shared, rt_matrix_out<float>{parts + blockIdx.y * c_out * n, nullptr, c_out, n}, corner,
             [](std::int64_t row) { return row; });
}

// --- weights in the order of the products, and back --------------------------------------------------

constexpr int kSide = 32;  // of the pieces that are transposed in shared memory

// out (batch, columns, pitch) = x (batch, rows, columns) transposed, rounded to T, zero from `rows` on: of w (Cout, Cin, taps)
// the packed weights for y with batch = Cout, for dx with batch = 1 and columns (Cin, taps). A block moves one piece.
template <class T>
__device__ __forceinline__ void pack_weights(const float* __restrict__ x, T* __restrict__ out, std::int64_t rows,
                                             std::int64_t columns, std::int64_t pitch) {
  RT_SHARED(float[kSide][kSide + 1], piece);
  const std::int64_t across = (columns + kSide - 1) / kSide;
  const std::int64_t down = (pitch + kSide - 1) / kSide;
  const std::int64_t batch = blockIdx.x / (across * down);
  const std::int64_t row0 = blockIdx.x / across % down * kSide;
  const std::int64_t column0 = blockIdx.x % across * kSide;
  const int width = static_cast<int>(min(columns - column0, std::int64_t{kSide}));
  for (int i = static_cast<int>(threadIdx.x); i < kSide * width; i += static_cast<int>(blockDim.x)) {
    const int row = i / width;
    const int column = i % width;
    const std::int64_t from = (batch * rows + row0 + row) * columns + column0 + column;
    piece[row][column] = row0 + row < rows ? x[from] : 0.0f;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kSide * width; i += static_cast<int>(blockDim.x)) {
    const int row = i % kSide;
    const int column = i / kSide;
    if (row0 + row < pitch) {
      rt_store(out + (batch * columns + column0 + column) * pitch + row0 + row, piece[row][column]);
    }
  }
}

// dw (batch, c, taps) = the sum of parts (part, batch, taps, pitch) over the parts, transposed. A block moves one piece.
__device__ __forceinline__ void unpack_weights(const float* __restrict__ parts, float* __restrict__ dw,
                                               std::int64_t batches, std::int64_t c, std::int64_t taps,
                                               std::int64_t pitch, std::int64_t count) {
  RT_SHARED(float[kSide][kSide + 1], piece);
  const std::int64_t across = (taps + kSide - 1) / kSide;
  const std::int64_t down = (c + kSide - 1) / kSide;
  const std::int64_t batch = blockIdx.x / (across * down);
  const std::int64_t c0 = blockIdx.x / across % down * kSide;
  const std::int64_t tap0 = blockIdx.x % across * kSide;
  const int width = static_cast<int>(min(taps - tap0, std::int64_t{kSide}));
  for (int i = static_cast<int>(threadIdx.x); i < kSide * width; i += static_cast<int>(blockDim.x)) {
    const int channel = i % kSide;
    const int tap = i / kSide;
    if (c0 + channel < c) {
      const float* const from = parts + (batch * taps + tap0 + tap) * pitch + c0 + channel;
      float sum = *from;
#pragma unroll 8
      for (std::int64_t part = 1; part < count; part++) {
        sum += from[part * batches * taps * pitch];
      }
      piece[channel][tap] = sum;
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kSide * width; i += static_cast<int>(blockDim.x)) {
    const int channel = i / width;
    const int tap = i % width;
    if (c0 + channel < c) {
      dw[(batch * c + c0 + channel) * taps + tap0 + tap] = piece[channel][tap];
    }
  }
}

// --- thin sides: a product over (channel, tap) of the thin tensor, whose patches are written out -----

// patches (images, wide_h, wide_w, pitch): entry (channel, tap) of a wide pixel is what the thin tensor has where that tap
// meets, zero outside and from `channels` x taps on; a thread writes 16 bytes. The thin side is x or, with `gradient`, dy.
template <class T>
__device__ __forceinline__ void thin_patches(const T* __restrict__ thin, T* __restrict__ patches, std::int64_t images,
                                             std::int64_t thin_h, std::int64_t thin_w, int channels,
                                             std::int64_t wide_h, std::int64_t wide_w, int pitch, int kh, int kw,
                                             int stride, int padding, bool gradient) {
  constexpr int N = RT_WIDTH<T>;
  const int packs = pitch / N;
  for (std::int64_t i = rt_global_thread(); i < images * wide_h * wide_w * packs; i += rt_global_threads()) {
    const Division pack = divide(i, packs);
    const Division line = divide(pack.quotient, wide_w);
    const Division image = divide(line.quotient, wide_h);
    const int entry = static_cast<int>(pack.remainder) * N;
    int channel = entry / (kh * kw);
    int a = entry % (kh * kw) / kw;
    int b = entry % kw;
    float v[N];
#pragma unroll
    for (int e = 0; e < N; e++) {
      const std::int64_t y = met(image.remainder, a, stride, padding, gradient, thin_h);
      const std::int64_t x = met(line.remainder, b, stride, padding, gradient, thin_w);
      const bool inside = channel < channels && y >= 0 && x >= 0;
      v[e] = inside ? rt_load(thin + ((image.quotient * thin_h + y) * thin_w + x) * channels + channel) : 0.0f;
      if (++b == kw) {
        b = 0;
        if (++a == kh) {
          a = 0;
          channel++;
        }
      }
    }
    rt_store(patches + i * N, v);
  }
}

// thin = bias + the sum over taps of entry (channel, tap) of the products (images, wide_h, wide_w, pitch) at the wide pixel
// that the tap meets. The thin tensor is y or, with `gradient`, dx.
template <class T>
__device__ __forceinline__ void thin_sums(const float* __restrict__ products, const float* __restrict__ bias,
                                          T* __restrict__ thin, std::int64_t images, std::int64_t wide_h,
                                          std::int64_t wide_w, std::int64_t pitch, std::int64_t thin_h,
                                          std::int64_t thin_w, int channels, int kh, int kw, int stride, int padding,
                                          bool gradient) {
  for (std::int64_t i = rt_global_thread(); i < images * thin_h * thin_w * channels; i += rt_global_threads()) {
    const Division pixel = divide(i, channels);
    const Division line = divide(pixel.quotient, thin_w);
    const Division image = divide(line.quotient, thin_h);
    const float* const of_channel = products + pixel.remainder * kh * kw;
    float sum = bias != nullptr ? bias[pixel.remainder] : 0.0f;
    for (int a = 0; a < kh; a++) {
      const std::int64_t y = met(image.remainder, a, stride, padding, gradient, wide_h);
      for (int b = 0; b < kw && y >= 0; b++) {
        const std::int64_t x = met(line.remainder, b, stride, padding, gradient, wide_w);
        if (x >= 0) {
          sum += of_channel[((image.quotient * wide_h + y) * wide_w + x) * pitch + a * kw + b];
        }
      }
    }
    rt_store(thin + i, sum);
  }
}

// --- groups and shapes beyond the products: a thread for each result ---------------------------------

// y from x or, with `gradient`, dx from dy; w (Cout, Cin/groups, kh, kw) as it is.
template <class T>
__device__ __forceinline__ void direct(const T* __restrict__ in, const float* __restrict__ weight,
                                       const float* __restrict__ bias, T* __restrict__ out, std::int64_t images,
                                       std::int64_t in_h, std::int64_t in_w, std::int64_t channels,
                                       std::int64_t out_h, std::int64_t out_w, std::int64_t n, int kh, int kw,
                                       int stride, int padding, std::int64_t groups, bool gradient) {
  const std::int64_t taps = std::int64_t{kh} * kw;
  const std::int64_t in_group = channels / groups;
  const std::int64_t out_group = n / groups;
  for (std::int64_t i = rt_global_thread(); i < images * out_h * out_w * n; i += rt_global_threads()) {
    const Division pixel = divide(i, n);
    const Division line = divide(pixel.quotient, out_w);
    const Division image = divide(line.quotient, out_h);
    const std::int64_t o = pixel.remainder;
    const std::int64_t first = o / out_group * in_group;
    // The weights of (o, first) and how far those of (o, first + 1) are.
    const float* const w = weight + (gradient ? first * out_group + o % out_group : o * in_group) * taps;
    const std::int64_t next = gradient ? out_group * taps : taps;
    float sum = bias != nullptr ? bias[o] : 0.0f;
    for (int a = 0; a < kh; a++) {
      const std::int64_t y = met(image.remainder, a, stride, padding, gradient, in_h);
      for (int b = 0; b < kw && y >= 0; b++) {
        const std::int64_t x = met(line.remainder, b, stride, padding, gradient, in_w);
        if (x >= 0) {
          const T* const from = in + ((image.quotient * in_h + y) * in_w + x) * channels + first;
          for (std::int64_t c = 0; c < in_group; c++) {
            sum += rt_load(from + c) * rt_rounded<T>(w[c * next + std::int64_t{a} * kw + b]);
          }
        }
      }
    }
    rt_store(out + i, sum);
  }
}

// parts (part, Cout, Cin/groups, kh, kw) = the sum of dy x over the pixels of each part.
template <class T>
__device__ __forceinline__ void direct_weights(const T* __restrict__ x, const T* __restrict__ dy,
                                               float* __restrict__ parts, std::int64_t images, std::int64_t in_h,
                                               std::int64_t in_w, std::int64_t channels, std::int64_t out_h,
                                               std::int64_t out_w, std::int64_t c_out, int kh, int kw, int stride,
                                               int padding, std::int64_t groups, std::int64_t pixels_of_part) {
  const std::int64_t taps = std::int64_t{kh} * kw;
  const std::int64_t in_group = channels / groups;
  const std::int64_t weights = c_out * in_group * taps;
  const std::int64_t first = blockIdx.y * pixels_of_part;
  const std::int64_t end = min(first + pixels_of_part, images * out_h * out_w);
  for (std::int64_t i = rt_global_thread(); i < weights; i += rt_global_threads()) {
    const Division pair = divide(i, taps);
    const Division tap = divide(pair.remainder, kw);
    const std::int64_t o = pair.quotient / in_group;
    const std::int64_t c = o / (c_out / groups) * in_group + pair.quotient % in_group;
    float sum = 0.0f;
    for (std::int64_t p = first; p < end; p++) {
      const Division line = divide(p, out_w);
      const Division image = divide(line.quotient, out_h);
      const std::int64_t row = met(image.remainder, static_cast<int>(tap.quotient), stride, padding, false, in_h);
      const std::int64_t column = met(line.remainder, static_cast<int>(tap.remainder), stride, padding, false, in_w);
      if (row >= 0 && column >= 0) {
        sum += rt_load(dy + p * c_out + o) * rt_load(x + ((image.quotient * in_h + row) * in_w + column) * channels + c);
      }
    }
    parts[blockIdx.y * weights + i] = sum;
  }
}

// --- the tail ----------------------------------------------------------------------------------------

// y = scale * (y + shift + residual); shift (images, channels) and residual, shaped like y, may be null.
template <int N, class T>
__device__ __forceinline__ void add_tail(const float* __restrict__ shift, const T* __restrict__ residual, float scale,
                                         T* __restrict__ y, std::int64_t elements, std::int64_t image,
                                         std::int64_t channels) {
  for (std::int64_t i = rt_global_thread(); i < elements / N; i += rt_global_threads()) {
    float sum[N];
    rt_load(y + i * N, sum);
    if (shift != nullptr) {
      const Division of = divide(i * N, image);
      float v[N];
      rt_load(shift + of.quotient * channels + divide(of.remainder, channels).remainder, v);
#pragma unroll
      for (int e = 0; e < N; e++) {
        sum[e] += v[e];
      }
    }
    if (residual != nullptr) {
      float v[N];
      rt_load(residual + i * N, v);
#pragma unroll
      for (int e = 0; e < N; e++) {
        sum[e] += v[e];
      }
    }
#pragma unroll
    for (int e = 0; e < N; e++) {
      sum[e] *= scale;
    }
    rt_store(y + i * N, sum);
  }
}

}  // namespace

// Every kernel takes sizes in this order: the tensor that is read, the one that is written or, for the weight gradient, dy.
#define RT_SIZES                                                                                                       \
  std::int64_t images, std::int64_t in_h, std::int64_t in_w, std::int64_t channels, std::int64_t out_h,                \
      std::int64_t out_w, std::int64_t n, std::int32_t kh, std::int32_t kw, std::int32_t stride, std::int32_t padding

#define RT_CONV2D(suffix, T, tile_m, tile_n, warp_m, warp_n)                                                           \
  RT_KERNEL_OCCUPANCY(rt_conv2d_##tile_m##x##tile_n##_##suffix, 32 * (tile_m / warp_m) * (tile_n / warp_n), 1,         \
                      (const T* __restrict__ in, const T* __restrict__ weight, const float* __restrict__ bias,         \
                       T* __restrict__ out, float* __restrict__ parts, RT_SIZES, std::int32_t gradient,                \
                       std::int64_t steps_of_part)) {                                                                  \
    convolve<T, tile_m, tile_n, warp_m, warp_n>(in, weight, bias, out, parts, images, in_h, in_w, channels, out_h,     \
                                                out_w, n, kh, kw, stride, padding, gradient != 0, steps_of_part);      \
  }                                                                                                                    \
  RT_KERNEL_OCCUPANCY(rt_conv2d_weights_##tile_m##x##tile_n##_##suffix, 32 * (tile_m / warp_m) * (tile_n / warp_n), 1, \
                      (const T* __restrict__ x, const T* __restrict__ dy, float* __restrict__ parts, RT_SIZES,         \
                       std::int64_t pitch, std::int64_t pixels_of_part)) {                                             \
    weight_gradient<T, tile_m, tile_n, warp_m, warp_n>(x, dy, parts, images, in_h, in_w, channels, out_h, out_w, n,    \
                                                       pitch, kh, kw, stride, padding, pixels_of_part);                \
  }

RT_CONV2D(bf16, rt_bf16, 128, 256, 64, 64)
RT_CONV2D(bf16, rt_bf16, 128, 128, 64, 64)
RT_CONV2D(bf16, rt_bf16, 128, 64, 64, 32)
RT_CONV2D(bf16, rt_bf16, 64, 64, 32, 32)
RT_CONV2D(f32, float, 128, 128, 32, 64)
RT_CONV2D(f32, float, 64, 64, 32, 32)

#define RT_CONV2D_OTHERS(suffix, T)                                                                                    \
  RT_KERNEL(rt_conv2d_pack_weights_##suffix, (const float* __restrict__ x, T* __restrict__ out, std::int64_t rows,     \
                                              std::int64_t columns, std::int64_t pitch)) {                             \
    pack_weights(x, out, rows, columns, pitch);                                                                        \
  }                                                                                                                    \
  RT_KERNEL_OCCUPANCY(rt_conv2d_thin_patches_##suffix, 256, 4,                                                         \
                      (const T* __restrict__ thin, T* __restrict__ patches, RT_SIZES, std::int32_t gradient)) {        \
    thin_patches(thin, patches, images, in_h, in_w, static_cast<int>(channels), out_h, out_w, static_cast<int>(n), kh, \
                 kw, stride, padding, gradient != 0);                                                                  \
  }                                                                                                                    \
  RT_KERNEL_OCCUPANCY(rt_conv2d_thin_sums_##suffix, 256, 4,                                                            \
                      (const float* __restrict__ products, const float* __restrict__ bias, T* __restrict__ thin,       \
                       RT_SIZES, std::int32_t gradient)) {                                                             \
    thin_sums(products, bias, thin, images, in_h, in_w, channels, out_h, out_w, static_cast<int>(n), kh, kw, stride,   \
              padding, gradient != 0);                                                                                 \
  }                                                                                                                    \
  RT_KERNEL_OCCUPANCY(rt_conv2d_direct_##suffix, 256, 2,                                                               \
                      (const T* __restrict__ in, const float* __restrict__ weight, const float* __restrict__ bias,     \
                       T* __restrict__ out, RT_SIZES, std::int32_t gradient, std::int64_t groups)) {                   \
    direct(in, weight, bias, out, images, in_h, in_w, channels, out_h, out_w, n, kh, kw, stride, padding, groups,      \
           gradient != 0);                                                                                             \
  }                                                                                                                    \
  RT_KERNEL_OCCUPANCY(rt_conv2d_direct_weights_##suffix, 256, 4,                                                       \
                      (const T* __restrict__ x, const T* __restrict__ dy, float* __restrict__ parts, RT_SIZES,         \
                       std::int64_t groups, std::int64_t pixels_of_part)) {                                            \
    direct_weights(x, dy, parts, images, in_h, in_w, channels, out_h, out_w, n, kh, kw, stride, padding, groups,       \
                   pixels_of_part);                                                                                    \
  }                                                                                                                    \
  RT_KERNEL_OCCUPANCY(rt_conv2d_tail_##suffix, 256, 4,                                                                 \
                      (const float* __restrict__ shift, const T* __restrict__ residual, float scale,                   \
                       T* __restrict__ y, std::int64_t elements, std::int64_t image, std::int64_t channels)) {         \
    constexpr int kPack = 16 / static_cast<int>(sizeof(T));                                                            \
    if (channels % kPack == 0 && rt_aligned(shift, residual, y)) {                                                     \
      add_tail<kPack>(shift, residual, scale, y, elements, image, channels);                                           \
    } else {                                                                                                           \
      add_tail<1>(shift, residual, scale, y, elements, image, channels);                                               \
    }                                                                                                                  \
  }

RT_CONV2D_OTHERS(f32, float)
RT_CONV2D_OTHERS(bf16, rt_bf16)

RT_KERNEL(rt_conv2d_unpack_weights, (const float* __restrict__ parts, float* __restrict__ dw, std::int64_t batches,
                                     std::int64_t c, std::int64_t taps, std::int64_t pitch, std::int64_t count)) {
  unpack_weights(parts, dw, batches, c, taps, pitch, count);
}
