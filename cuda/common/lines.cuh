// lines.cuh   spreads images (N,H,W,C) over a grid so that a thread finds its pixel with one short division
//
// Launch: one block for each of the N * height lines in x; in y as many as share a long line, any number works. A pack is N
// neighbouring channels. Limits: fewer than 2^31 lines, fewer than 2^31 elements in a line.
#pragma once

#include "common/simt.cuh"

// Extents of images in memory.
struct rt_extents {
  int height, width, channels;

  // Elements between a pixel and the one `rows` below and `columns` to the right.
  __device__ __forceinline__ std::int64_t offset(int rows, int columns) const {
    return static_cast<std::int64_t>(rows) * (width * channels) + columns * channels;
  }
};

// The same from a kernel's parameters.
__device__ __forceinline__ rt_extents rt_extents_of(std::int64_t height, std::int64_t width, std::int64_t channels) {
  return {static_cast<int>(height), static_cast<int>(width), static_cast<int>(channels)};
}

// Where a pack is; `channel` is the first of the pack.
struct rt_pixel {
  int image, row, column, channel;

  // Index of its first element.
  __device__ __forceinline__ std::int64_t in(const rt_extents& s) const {
    return s.offset(image * s.height + row, column) + channel;
  }
};

// Calls body(pixel) once for every pack of N channels; where N does not divide the channels, the last one has fewer.
template <int N, class Body>
__device__ __forceinline__ void rt_for_pixels(const rt_extents& s, Body body) {
  const unsigned image = blockIdx.x / static_cast<unsigned>(s.height);
  const unsigned row = blockIdx.x - image * static_cast<unsigned>(s.height);
  const unsigned packs = (static_cast<unsigned>(s.channels) + N - 1) / N;
  const unsigned length = static_cast<unsigned>(s.width) * packs;
  for (unsigned i = blockIdx.y * blockDim.x + threadIdx.x; i < length; i += gridDim.y * blockDim.x) {
    const unsigned column = i / packs;
    body(rt_pixel{static_cast<int>(image), static_cast<int>(row), static_cast<int>(column),
                  static_cast<int>((i - column * packs) * N)});
  }
}
