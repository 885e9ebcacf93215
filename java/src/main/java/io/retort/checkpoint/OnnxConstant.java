package io.retort.checkpoint;

import java.io.IOException;
import java.nio.channels.WritableByteChannel;
import java.util.List;
import java.util.function.Supplier;

/// A tensor stored in an ONNX file (an initializer); its values are asked for once, while writing.
record OnnxConstant(String name, Type type, List<Long> dims, SafetensorsWriter.Data data) {

  OnnxConstant {
    dims = List.copyOf(dims);
  }

  /// Element types; codes are those of `TensorProto.DataType`.
  enum Type {
    FLOAT(1, Float.BYTES),
    INT64(7, Long.BYTES),
    DOUBLE(11, Double.BYTES);

    private final int code;
    private final int bytes;

    Type(int code, int bytes) {
      this.code = code;
      this.bytes = bytes;
    }

    int code() {
      return code;
    }
  }

  static OnnxConstant floats(String name, List<Long> dims, Supplier<float[]> values) {
    return new OnnxConstant(
        name, Type.FLOAT, dims, out -> SafetensorsWriter.writeFloats(out, values.get()));
  }

  static OnnxConstant doubles(String name, List<Long> dims, double[] values) {
    return new OnnxConstant(
        name, Type.DOUBLE, dims, out -> SafetensorsWriter.writeDoubles(out, values));
  }

  static OnnxConstant longs(String name, List<Long> dims, long[] values) {
    return new OnnxConstant(
        name, Type.INT64, dims, out -> SafetensorsWriter.writeLongs(out, values));
  }

  /// Bytes of the values.
  long bytes() {
    long bytes = type.bytes;
    for (long dim : dims) {
      bytes = Math.multiplyExact(bytes, dim);
    }
    return bytes;
  }

  void writeTo(WritableByteChannel out) throws IOException {
    data.writeTo(out);
  }
}
