package io.retort.grad;

import io.retort.op.Op;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The structure of a tape: ops, their tensors and how they hang together, but no values.
///
/// Two tapes with equal signatures are walked by the same kernels with the same arguments.
final class TapeSignature {
  private final List<@Nullable Object> things = new ArrayList<>();
  private long[] numbers = new long[256];
  private int length;

  void add(@Nullable Op op) {
    things.add(op);
  }

  void add(long number) {
    if (length == numbers.length) {
      numbers = Arrays.copyOf(numbers, 2 * length);
    }
    numbers[length++] = number;
  }

  /// Where a tensor lies and what it looks like.
  void add(Tensor tensor) {
    add(tensor.address());
    add(tensor.dtype().ordinal());
    things.add(tensor.shape());
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof TapeSignature signature
        && Arrays.equals(numbers, 0, length, signature.numbers, 0, signature.length)
        && things.equals(signature.things);
  }

  @Override
  public int hashCode() {
    int hash = things.size();
    for (int i = 0; i < length; i++) {
      hash = 31 * hash + Long.hashCode(numbers[i]);
    }
    return hash;
  }
}
