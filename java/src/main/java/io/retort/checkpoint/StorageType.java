package io.retort.checkpoint;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/// The element types of the safetensors format, in its own order from low to high rank; a writer
/// sorts tensors from high to low, which keeps every tensor aligned to its element.
///
/// The constant's name is the `dtype` text of the header. Types that Java has no value for can be
/// listed, copied and checked; only the ones accepted by [SafetensorsReader#doubles] and
/// [SafetensorsReader#longs] can be converted.
public enum StorageType {
  BOOL(8),
  F4(4),
  F6_E2M3(6),
  F6_E3M2(6),
  U8(8),
  I8(8),
  F8_E5M2(8),
  F8_E4M3(8),
  F8_E8M0(8),
  F8_E4M3FNUZ(8),
  F8_E5M2FNUZ(8),
  I16(16),
  U16(16),
  F16(16),
  BF16(16),
  I32(32),
  U32(32),
  F32(32),
  C64(64),
  F64(64),
  I64(64),
  U64(64);

  /// Every type, low to high.
  static final List<StorageType> ALL = List.of(values());

  private static final Map<String, StorageType> BY_NAME =
      Arrays.stream(values()).collect(Collectors.toMap(StorageType::name, Function.identity()));

  private final int bits;

  StorageType(int bits) {
    this.bits = bits;
  }

  /// Bits of one element; less than eight for the packed types.
  public int bits() {
    return bits;
  }

  /// The type written as `name` in a header, case-sensitive.
  public static Optional<StorageType> named(String name) {
    return Optional.ofNullable(BY_NAME.get(name));
  }

  /// Bytes of a tensor of this type, or -1 if the shape overflows 64 bits, also where a zero
  /// dimension hides it, or does not fill whole bytes.
  long byteSize(long[] shape) {
    return byteSize(shape, shape.length);
  }

  /// As [#byteSize(long[])], of the first `rank` numbers.
  long byteSize(long[] shape, int rank) {
    try {
      long bitCount = bits;
      boolean empty = false;
      for (int axis = 0; axis < rank; axis++) {
        long dimension = shape[axis];
        empty |= dimension == 0;
        bitCount = Math.multiplyExact(bitCount, Math.max(dimension, 1));
      }
      if (empty) {
        return 0;
      }
      return bitCount % 8 == 0 ? bitCount / 8 : -1;
    } catch (ArithmeticException _) {
      return -1;
    }
  }
}
