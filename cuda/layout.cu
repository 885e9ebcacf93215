// layout.cu   copies between layouts: rows, borders, permuted axes
// shapes    copy: rows of `row` units, in images of `lines` where that makes a difference; pad: x (n,h,row) into
//           out (n,height,width) with zeros around; permute: out (e0,...,e4) dense from x with strides s. A unit is 2, 4, 8
//           or 16 bytes: what divides every size, stride and address
// launch    copy, pad, gather: any one-dimensional grid of 256 threads, a thread a unit. transpose: blocks of 256, a block a
//           square of 32 x 32 elements, grid planes * squares
// numerics  bits are moved unchanged
// traffic   one read and one write of each byte: memory-bound, floor = bytes / bandwidth. (64,32,32,256) bf16 with one of the
//           same, concatenated: 134 MB of traffic, floor 45 us on an H100; expected 85% of it with units of 16 bytes. With units
//           of 2 bytes (odd channels of bf16) the divisions of 8 times as many threads bind: about a third of bandwidth.
//           transpose goes through shared memory, 32 elements a row: full sectors, expected 75%
// measured  not measured yet
// spills    none
// limits    source and target do not overlap; any extents. transpose: the source runs along one axis, the target along another
// source    retort/layout.h

#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kTile = 32;  // side of the square that is transposed in shared memory
constexpr int kThreads = 256;

template <int Bytes>
struct unit_of {
  using type = typename rt_words<Bytes>::type;
};
template <>
struct unit_of<2> {
  using type = std::uint16_t;
};

template <int Bytes>
using unit = typename unit_of<Bytes>::type;

// Row r, of image r / lines, begins at r from_line + r / lines from_skip of the source and r to_line of the target.
template <class T>
__device__ __forceinline__ void copy(const T* __restrict__ from, T* __restrict__ to, std::int64_t rows, std::int64_t lines,
                                     std::int64_t row, std::int64_t from_line, std::int64_t from_skip,
                                     std::int64_t to_line) {
  for (std::int64_t i = rt_global_thread(); i < rows * row; i += rt_global_threads()) {
    const std::int64_t r = i / row;
    const std::int64_t place = i - r * row;
    const std::int64_t skipped = from_skip == 0 ? 0 : r / lines * from_skip;
    to[r * to_line + place] = from[r * from_line + skipped + place];
  }
}

// out (images, height, width) from x (images, lines, row) that lies at (top, left) of it.
template <class T>
__device__ __forceinline__ void pad(const T* __restrict__ x, T* __restrict__ out, std::int64_t images, std::int64_t lines,
                                    std::int64_t row, std::int64_t height, std::int64_t width, std::int64_t top,
                                    std::int64_t left) {
  for (std::int64_t i = rt_global_thread(); i < images * height * width; i += rt_global_threads()) {
    const std::int64_t r = i / width;
    const std::int64_t image = height == 1 ? r : r / height;
    const std::int64_t line = r - image * height - top;
    const std::int64_t place = i - r * width - left;
    const bool inside = line >= 0 && line < lines && place >= 0 && place < row;
    out[i] = inside ? x[(image * lines + line) * row + place] : T{};
  }
}

struct Axes {
  std::int64_t e1, e2, e3, e4;
  std::int64_t s0, s1, s2, s3, s4;

  // Source of element i of the dense target.
  __device__ __forceinline__ std::int64_t source(std::int64_t i) const {
    std::int64_t from = 0;
    const auto take = [&](std::int64_t extent, std::int64_t stride) {
      if (extent != 1) {
        const std::int64_t rest = i / extent;
        from += (i - rest * extent) * stride;
        i = rest;
      }
    };
    take(e4, s4);
    take(e3, s3);
    take(e2, s2);
    take(e1, s1);
    return from + i * s0;
  }
};

template <class T>
__device__ __forceinline__ void gather(const T* __restrict__ x, T* __restrict__ out, std::int64_t n, const Axes& axes) {
  for (std::int64_t i = rt_global_thread(); i < n; i += rt_global_threads()) {
    out[i] = x[axes.source(i)];
  }
}

// In each plane out[r * out_stride + c] = x[r + c * x_stride], r below `tall`, c below `wide`; the planes are spread over three
// more axes (p0, p1, p2) of both.
template <class T>
__device__ __forceinline__ void transpose(const T* __restrict__ x, T* __restrict__ out, std::int64_t tall,
                                          std::int64_t wide, std::int64_t x_stride, std::int64_t out_stride,
                                          std::int64_t p1, std::int64_t p2, std::int64_t x0, std::int64_t x1,
                                          std::int64_t x2, std::int64_t out0, std::int64_t out1, std::int64_t out2) {
  RT_SHARED(T[kTile][kTile + 1], tile);  // the odd row length keeps the columns in different banks
  const std::int64_t across = (wide + kTile - 1) / kTile;
  const std::int64_t down = (tall + kTile - 1) / kTile;
  const std::int64_t square = blockIdx.x % (across * down);
  const std::int64_t plane = blockIdx.x / (across * down);
  const std::int64_t outer = plane / p2;
  x += outer / p1 * x0 + outer % p1 * x1 + plane % p2 * x2;
  out += outer / p1 * out0 + outer % p1 * out1 + plane % p2 * out2;
  const std::int64_t top = square / across * kTile;
  const std::int64_t left = square % across * kTile;
  const int lane = rt_lane();
#pragma unroll
  for (int step = 0; step < kTile; step += kThreads / 32) {
    const int i = step + rt_warp();
    if (top + lane < tall && left + i < wide) {
      tile[i][lane] = x[top + lane + (left + i) * x_stride];
    }
  }
  __syncthreads();
#pragma unroll
  for (int step = 0; step < kTile; step += kThreads / 32) {
    const int i = step + rt_warp();
    if (left + lane < wide && top + i < tall) {
      out[(top + i) * out_stride + left + lane] = tile[lane][i];
    }
  }
}

}  // namespace

#define RT_COPIES(bytes)                                                                                             \
  RT_KERNEL(rt_copy_##bytes, (const unit<bytes>* __restrict__ from, unit<bytes>* __restrict__ to, std::int64_t rows, \
                              std::int64_t lines, std::int64_t row, std::int64_t from_line, std::int64_t from_skip,  \
                              std::int64_t to_line)) {                                                               \
    copy(from, to, rows, lines, row, from_line, from_skip, to_line);                                                 \
  }                                                                                                                  \
  RT_KERNEL(rt_pad_##bytes, (const unit<bytes>* __restrict__ x, unit<bytes>* __restrict__ out, std::int64_t images,  \
                             std::int64_t lines, std::int64_t row, std::int64_t height, std::int64_t width,          \
                             std::int64_t top, std::int64_t left)) {                                                 \
    pad(x, out, images, lines, row, height, width, top, left);                                                       \
  }                                                                                                                  \
  RT_KERNEL(rt_gather_##bytes,                                                                                       \
            (const unit<bytes>* __restrict__ x, unit<bytes>* __restrict__ out, std::int64_t n, std::int64_t e1,      \
             std::int64_t e2, std::int64_t e3, std::int64_t e4, std::int64_t s0, std::int64_t s1, std::int64_t s2,   \
             std::int64_t s3, std::int64_t s4)) {                                                                    \
    gather(x, out, n, Axes{e1, e2, e3, e4, s0, s1, s2, s3, s4});                                                     \
  }

RT_COPIES(2)
RT_COPIES(4)
RT_COPIES(8)
RT_COPIES(16)

#define RT_TRANSPOSE(bytes)                                                                                          \
  RT_KERNEL(rt_transpose_##bytes,                                                                                    \
            (const unit<bytes>* __restrict__ x, unit<bytes>* __restrict__ out, std::int64_t tall, std::int64_t wide, \
             std::int64_t x_stride, std::int64_t out_stride, std::int64_t p1, std::int64_t p2, std::int64_t x0,      \
             std::int64_t x1, std::int64_t x2, std::int64_t out0, std::int64_t out1, std::int64_t out2)) {           \
    transpose(x, out, tall, wide, x_stride, out_stride, p1, p2, x0, x1, x2, out0, out1, out2);                       \
  }

RT_TRANSPOSE(2)
RT_TRANSPOSE(4)
RT_TRANSPOSE(8)
