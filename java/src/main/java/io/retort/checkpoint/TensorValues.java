package io.retort.checkpoint;

import io.retort.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.function.Supplier;

/// The bytes of one tensor of a file as numbers.
///
/// @param bytes little-endian in C order, as many as the entry says
record TensorValues(Path file, TensorEntry entry, MemorySegment bytes) {
  private static final int LONGEST_ARRAY = Integer.MAX_VALUE - 8;

  /// Elements converted or checked at a time: few enough for the second-level cache.
  private static final int CHUNK = 1 << 16;

  private static final int EXPONENT = 0x7f80_0000;
  private static final int EXPONENT_STEP = 0x0080_0000;

  private static final ValueLayout.OfShort SHORT = little(ValueLayout.JAVA_SHORT_UNALIGNED);
  private static final ValueLayout.OfInt INT = little(ValueLayout.JAVA_INT_UNALIGNED);
  private static final ValueLayout.OfLong LONG = little(ValueLayout.JAVA_LONG_UNALIGNED);
  private static final ValueLayout.OfFloat FLOAT = little(ValueLayout.JAVA_FLOAT_UNALIGNED);
  private static final ValueLayout.OfDouble DOUBLE = little(ValueLayout.JAVA_DOUBLE_UNALIGNED);

  @SuppressWarnings("unchecked") // a layout of another order is of the same kind
  private static <L extends ValueLayout> L little(L layout) {
    return (L) layout.withOrder(ByteOrder.LITTLE_ENDIAN);
  }

  static TensorValues of(TensorFile file, TensorEntry entry) {
    return new TensorValues(
        file.file(), entry, whole(file.file(), entry, () -> file.data(entry.name())));
  }

  float[] floats() {
    var values = new float[arrayLength(entry.elements())];
    return whole(() -> {
      convert(0, values, values.length);
      return values;
    });
  }

  double[] doubles() {
    var values = new double[arrayLength(entry.elements())];
    return whole(() -> {
      if (entry.type() == StorageType.F64) {
        MemorySegment.copy(bytes, DOUBLE, 0, values, 0, values.length);
      } else {
        var narrow = new float[Math.min(CHUNK, values.length)];
        for (int done = 0; done < values.length; done += narrow.length) {
          int count = Math.min(narrow.length, values.length - done);
          convert(done, narrow, count);
          for (int i = 0; i < count; i++) {
            values[done + i] = narrow[i];
          }
        }
      }
      return values;
    });
  }

  long[] longs() {
    var values = new long[arrayLength(entry.elements())];
    return whole(() -> {
      for (int i = 0; i < values.length; i++) {
        values[i] = integerAt(i);
      }
      return values;
    });
  }

  byte[] raw() {
    var values = new byte[arrayLength(entry.bytes())];
    return whole(() -> {
      MemorySegment.copy(bytes, ValueLayout.JAVA_BYTE, 0, values, 0, values.length);
      return values;
    });
  }

  /// Copies the values over a float32 tensor of as many elements; F32 goes straight from the file
  /// to the device.
  ///
  /// @throws CheckpointException if one is not finite, or the type holds no floats
  void copyTo(Tensor target) {
    whole(() -> {
      if (entry.type() == StorageType.F32) {
        copyDirectly(target);
      } else {
        copyConverted(target);
      }
      return target;
    });
  }

  private void copyDirectly(Tensor target) {
    long elements = entry.elements();
    var bits = new int[(int) Math.min(CHUNK, elements)];
    for (long done = 0; done < elements; done += bits.length) {
      int count = (int) Math.min(bits.length, elements - done);
      MemorySegment.copy(bytes, INT, done * Integer.BYTES, bits, 0, count);
      int seen = 0;
      for (int i = 0; i < count; i++) {
        // An exponent of ones, NaN or infinity, carries into the sign.
        seen |= (bits[i] & EXPONENT) + EXPONENT_STEP;
      }
      requireFinite(seen >= 0);
    }
    target.set(bytes);
  }

  private void copyConverted(Tensor target) {
    long elements = entry.elements();
    var values = new float[(int) Math.min(CHUNK, elements)];
    for (long done = 0; done < elements; done += values.length) {
      int count = (int) Math.min(values.length, elements - done);
      convert(done, values, count);
      boolean finite = true;
      for (int i = 0; i < count; i++) {
        finite &= Float.isFinite(values[i]);
      }
      requireFinite(finite);
      target.set(done, values, count);
    }
  }

  private void requireFinite(boolean fact) {
    if (!fact) {
      throw new CheckpointException(file, entry.name(), "holds a value that is not finite");
    }
  }

  /// Elements `[first, first + count)` as floats.
  private void convert(long first, float[] values, int count) {
    switch (entry.type()) {
      case F32 -> MemorySegment.copy(bytes, FLOAT, first * Float.BYTES, values, 0, count);
      case F64 -> {
        for (int i = 0; i < count; i++) {
          values[i] = (float) bytes.get(DOUBLE, (first + i) * Double.BYTES);
        }
      }
      case F16 -> {
        for (int i = 0; i < count; i++) {
          values[i] = Float.float16ToFloat(bytes.get(SHORT, (first + i) * Short.BYTES));
        }
      }
      case BF16 -> {
        for (int i = 0; i < count; i++) {
          values[i] = Float.intBitsToFloat(bytes.get(SHORT, (first + i) * Short.BYTES) << 16);
        }
      }
      default -> throw wrongType("F32, F16, BF16 or F64");
    }
  }

  private long integerAt(long i) {
    return switch (entry.type()) {
      case BOOL -> bytes.get(ValueLayout.JAVA_BYTE, i) == 0 ? 0 : 1;
      case I8 -> bytes.get(ValueLayout.JAVA_BYTE, i);
      case U8 -> bytes.get(ValueLayout.JAVA_BYTE, i) & 0xff;
      case I16 -> bytes.get(SHORT, i * Short.BYTES);
      case U16 -> bytes.get(SHORT, i * Short.BYTES) & 0xffff;
      case I32 -> bytes.get(INT, i * Integer.BYTES);
      case U32 -> bytes.get(INT, i * Integer.BYTES) & 0xffff_ffffL;
      case I64 -> bytes.get(LONG, i * Long.BYTES);
      case U64 -> {
        long value = bytes.get(LONG, i * Long.BYTES);
        if (value < 0) {
          throw new CheckpointException(
              file, entry.name(), "the value " + Long.toUnsignedString(value) + " exceeds a long");
        }
        yield value;
      }
      case F4, F6_E2M3, F6_E3M2, F8_E5M2, F8_E4M3, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ ->
          throw wrongType("an integer type or BOOL");
      case F16, BF16, F32, C64, F64 -> throw wrongType("an integer type or BOOL");
    };
  }

  private int arrayLength(long length) {
    if (length > LONGEST_ARRAY) {
      throw new CheckpointException(
          file, entry.name(), "%d values do not fit one array".formatted(length));
    }
    return (int) length;
  }

  private CheckpointException wrongType(String expected) {
    return new CheckpointException(
        file, entry.name(), "dtype must be " + expected + ", got " + entry.type());
  }

  private <T> T whole(Supplier<T> body) {
    return whole(file, entry, body);
  }

  /// A mapped file that shrinks answers a read with an InternalError.
  static <T> T whole(Path file, TensorEntry entry, Supplier<T> body) {
    try {
      return body.get();
    } catch (InternalError _) {
      throw new CheckpointException(
          file, entry.name(), "the file became shorter while it was read");
    }
  }
}
