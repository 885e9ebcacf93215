// layout.cpp   copies between layouts: rows, borders, permuted axes
// shapes    as in layout.h; bytes, or elements of 2, 4 or 8 bytes
// numerics  bits are moved unchanged
// traffic   one read and one write of each byte: memory-bound, floor = bytes / bandwidth
// measured  59 MB, 2 cores Zen 5, against 50-60 GB/s of DRAM: half of a concatenation 53 GB/s, border of 1 on 32x32 45 GB/s,
//           NHWC to NCHW 13 GB/s (44 GB/s in the caches)
// limits    source and target do not overlap

#include "retort/layout.h"

#include <algorithm>
#include <cstring>

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/registry.h"

namespace {

constexpr std::int64_t kPiece = std::int64_t{64} << 10;  // bytes of a long row that a thread takes at once
constexpr std::int64_t kParallel = 8 * RT_PARALLEL_MIN;  // elements from which waking other threads pays
constexpr std::int64_t kParallelBytes = 4 * kParallel;
constexpr std::int64_t kLine = 64;       // bytes
constexpr std::int64_t kShort = 512;     // bytes of a row that is copied line by line
constexpr std::int64_t kTile = 32;  // side of the square that is transposed inside the first-level cache

// Calls body(row, begin, end) for pieces of rows of `row` bytes, in parallel where that pays.
template <class Body>
void for_pieces(std::int64_t rows, std::int64_t row, Body&& body) {
  const std::int64_t parts = std::max<std::int64_t>(1, (row + kPiece - 1) / kPiece);
#pragma omp parallel for schedule(static) if (rows * row > kParallelBytes)
  for (std::int64_t task = 0; task < rows * parts; task++) {
    const std::int64_t begin = task % parts * kPiece;
    body(task / parts, begin, std::min(row, begin + kPiece));
  }
}

// Short rows of whole cache lines: without a call for each.
void copy_lines(const char* from, char* to, std::int64_t rows, std::int64_t row, std::int64_t from_stride,
                std::int64_t to_stride) {
  struct Line {
    char bytes[kLine];
  };
#pragma omp parallel for schedule(static) if (rows * row > kParallelBytes)
  for (std::int64_t r = 0; r < rows; r++) {
    for (std::int64_t at = 0; at < row; at += kLine) {
      Line line;
      std::memcpy(&line, from + r * from_stride + at, kLine);
      std::memcpy(to + r * to_stride + at, &line, kLine);
    }
  }
}

struct Axes {
  std::int64_t extent[5];
  std::int64_t stride[5];
};

// The outer axis along which the source is contiguous, or -1 if the innermost is that axis or there is none.
int contiguous_outer(const Axes& a) {
  for (int axis = 0; a.stride[4] != 1 && axis < 4; axis++) {
    if (a.stride[axis] == 1 && a.extent[axis] > 1) {
      return axis;
    }
  }
  return -1;
}

// Rows of the innermost axis, gathered one by one or copied whole.
template <class T>
void permute_rows(const T* x, T* out, const Axes& a) {
  const std::int64_t width = a.extent[4];
  const std::int64_t rows = a.extent[0] * a.extent[1] * a.extent[2] * a.extent[3];
#pragma omp parallel for schedule(static) if (rows * width > kParallel)
  for (std::int64_t row = 0; row < rows; row++) {
    std::int64_t rest = row;
    std::int64_t source = 0;
    for (int axis = 3; axis >= 0; axis--) {
      source += rest % a.extent[axis] * a.stride[axis];
      rest /= a.extent[axis];
    }
    T* target = out + row * width;
    if (a.stride[4] == 1) {
      std::copy_n(x + source, width, target);
    } else {
      for (std::int64_t i = 0; i < width; i++) {
        target[i] = x[source + i * a.stride[4]];
      }
    }
  }
}

// The source runs along `axis`, the target along the innermost: squares of the two are transposed in cache.
template <class T>
void permute_tiles(const T* x, T* out, const Axes& a, int axis) {
  std::int64_t target_stride[5];
  target_stride[4] = 1;
  for (int i = 3; i >= 0; i--) {
    target_stride[i] = target_stride[i + 1] * a.extent[i + 1];
  }
  std::int64_t planes = 1;
  for (int i = 0; i < 4; i++) {
    planes *= i == axis ? 1 : a.extent[i];
  }
  const std::int64_t tall = a.extent[axis];
  const std::int64_t wide = a.extent[4];
  const std::int64_t down = (tall + kTile - 1) / kTile;
  const std::int64_t across = (wide + kTile - 1) / kTile;
#pragma omp parallel for schedule(static) if (planes * tall * wide > kParallel)
  for (std::int64_t task = 0; task < planes * down * across; task++) {
    std::int64_t rest = task / (down * across);
    std::int64_t source = 0;
    std::int64_t target = 0;
    for (int i = 3; i >= 0; i--) {
      if (i != axis) {
        source += rest % a.extent[i] * a.stride[i];
        target += rest % a.extent[i] * target_stride[i];
        rest /= a.extent[i];
      }
    }
    const std::int64_t top = task / across % down * kTile;
    const std::int64_t left = task % across * kTile;
    const std::int64_t bottom = std::min(tall, top + kTile);
    const std::int64_t right = std::min(wide, left + kTile);
    for (std::int64_t r = top; r < bottom; r++) {
      for (std::int64_t c = left; c < right; c++) {
        out[target + r * target_stride[axis] + c] = x[source + r + c * a.stride[4]];
      }
    }
  }
}

template <class T>
void permute(const void* x, void* out, const Axes& a) {
  const int axis = contiguous_outer(a);
  if (axis < 0) {
    permute_rows(static_cast<const T*>(x), static_cast<T*>(out), a);
  } else {
    permute_tiles(static_cast<const T*>(x), static_cast<T*>(out), a, axis);
  }
}

}  // namespace

rt_status rt_copy_rows(const void* from, void* to, int64_t rows, int64_t row, int64_t from_stride, int64_t to_stride) {
  return rt::guarded([&] {
    const auto* source = static_cast<const char*>(from);
    auto* target = static_cast<char*>(to);
    if (row % kLine == 0 && row <= kShort) {
      copy_lines(source, target, rows, row, from_stride, to_stride);
      return;
    }
    for_pieces(rows, row, [=](std::int64_t r, std::int64_t begin, std::int64_t end) {
      std::memcpy(target + r * to_stride + begin, source + r * from_stride + begin, end - begin);
    });
  });
}
RT_EXPORT(rt_copy_rows);

rt_status rt_pad(const void* x, void* out, int64_t n, int64_t h, int64_t row, int64_t top, int64_t bottom, int64_t left,
                 int64_t right) {
  return rt::guarded([&] {
    const auto* source = static_cast<const char*>(x);
    auto* target = static_cast<char*>(out);
    const std::int64_t height = top + h + bottom;
    const std::int64_t width = left + row + right;
#pragma omp parallel for schedule(static) if (n * height * width > kParallelBytes)
    for (std::int64_t r = 0; r < n * height; r++) {
      const std::int64_t y = r % height - top;
      char* line = target + r * width;
      if (y < 0 || y >= h) {
        std::memset(line, 0, width);
      } else {
        std::memset(line, 0, left);
        std::memcpy(line + left, source + (r / height * h + y) * row, row);
        std::memset(line + left + row, 0, right);
      }
    }
  });
}
RT_EXPORT(rt_pad);

rt_status rt_crop(const void* x, void* out, int64_t n, int64_t h, int64_t row, int64_t top, int64_t bottom, int64_t left,
                  int64_t right) {
  return rt::guarded([&] {
    const auto* source = static_cast<const char*>(x);
    auto* target = static_cast<char*>(out);
    const std::int64_t height = top + h + bottom;
    const std::int64_t width = left + row + right;
    for_pieces(n * h, row, [=](std::int64_t r, std::int64_t begin, std::int64_t end) {
      const char* line = source + (r / h * height + top + r % h) * width + left;
      std::memcpy(target + r * row + begin, line + begin, end - begin);
    });
  });
}
RT_EXPORT(rt_crop);

rt_status rt_permute(const void* x, void* out, int32_t element_bytes, int64_t e0, int64_t e1, int64_t e2, int64_t e3,
                     int64_t e4, int64_t s0, int64_t s1, int64_t s2, int64_t s3, int64_t s4) {
  return rt::guarded([&] {
    const Axes axes{{e0, e1, e2, e3, e4}, {s0, s1, s2, s3, s4}};
    switch (element_bytes) {
      case 2: return permute<std::uint16_t>(x, out, axes);
      case 4: return permute<std::uint32_t>(x, out, axes);
      case 8: return permute<std::uint64_t>(x, out, axes);
      default: rt::fail("permute: elements must have 2, 4 or 8 bytes, got %d", element_bytes);
    }
  });
}
RT_EXPORT(rt_permute);
