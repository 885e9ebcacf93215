package io.retort.tensor;

/// Element types a tensor can hold.
public enum DType {
  /// IEEE float32: master weights, statistics, losses, and activations by default.
  F32(4, 0),
  /// bfloat16: activations and compute weights under mixed precision.
  BF16(2, 1),
  /// Signed 64-bit integers: class labels, token and table indices.
  I64(8, 2);

  private final int bytes;
  private final int code;

  DType(int bytes, int code) {
    this.bytes = bytes;
    this.code = code;
  }

  /// Bytes of one element.
  public int bytes() {
    return bytes;
  }

  /// The number the native contract uses for this type (`rt_dtype`).
  public int code() {
    return code;
  }

  /// True for the types that gradients flow through.
  public boolean floating() {
    return this != I64;
  }
}
