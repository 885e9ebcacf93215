// packed_weights.h   weights that a kernel has laid out once for many calls, in a block that the caller keeps.
//
// A block begins with a cache line that holds the number of its layout, 0 while it holds nothing; the weights follow. So a
// call with another number of threads, or extents that want another layout, sees that the block is not for it.
#pragma once

#include <cstdint>

namespace rt {

// A number that tells the layout from others, 0 for weights as they are, and the floats that it takes.
struct PackedLayout {
  std::int64_t number = 0;
  std::int64_t floats = 0;
};

constexpr std::int64_t kPackedLine = 16;

// What the functions rt_*_layout write: the number and the bytes of a block.
inline void describe(const PackedLayout& layout, std::int64_t* numbers) {
  numbers[0] = layout.number;
  numbers[1] = (kPackedLine + layout.floats) * static_cast<std::int64_t>(sizeof(float));
}

// Has `write(weights)` fill a block that was made for layout `wanted`, unless the call's layout is another by now.
template <class Write>
void pack_weights(void* block, std::int64_t wanted, const PackedLayout& layout, Write&& write) {
  auto* const number = static_cast<std::int64_t*>(block);
  *number = 0;
  if (wanted == layout.number && wanted != 0) {
    write(static_cast<float*>(block) + kPackedLine);
    *number = wanted;
  }
}

// The weights in a block, or null where they are not laid out like this.
inline const float* packed_weights(const void* block, const PackedLayout& layout) {
  return *static_cast<const std::int64_t*>(block) == layout.number && layout.number != 0
             ? static_cast<const float*>(block) + kPackedLine
             : nullptr;
}

}  // namespace rt
