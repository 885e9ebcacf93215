package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.CudaUnderTest;
import io.retort.grad.OpContract;
import io.retort.op.Backend;
import io.retort.op.Case;
import io.retort.op.Case.Input;
import io.retort.op.Permute;
import io.retort.op.UnsupportedOpException;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Paths of the copies between layouts that no case of the contract takes.
@Tag("device")
final class CudaLayoutTest {
  private static final CudaBackend CUDA = CudaUnderTest.open();

  @Test
  void squaresInEveryPlane() {
    check(List.of(0, 2, 1, 4, 3), Input.normal(2, 3, 2, 33, 34));
    check(List.of(4, 1, 2, 3, 0), Input.normal(33, 2, 3, 2, 31));
    check(List.of(3, 0, 2, 1), Input.normal(3, 2, 40, 17));
    check(List.of(0, 2, 1), Input.normal(3, 33, 16).bf16());
  }

  private static void check(List<Integer> axes, Input x) {
    Case contract =
        Case.of("order " + axes, new Permute(axes), x)
            .within(0, 4e-3, "values are moved; the incoming gradient is rounded to 2^-8");
    assertThat(new OpContract(contract).check(CUDA)).as(contract.name()).isEmpty();
  }

  @Test
  void arraysMayBeginAnywhere() {
    for (int offset = 0; offset < 9; offset++) {
      assertThat(turned(CUDA, offset)).isEqualTo(turned(CpuBackend.open(), 0));
    }
  }

  /// Labels `offset` elements into their block, with their axes turned and a part of them.
  private static long[][] turned(Backend backend, int offset) {
    long[] values = new long[48];
    Arrays.setAll(values, i -> i * 1L << 40);
    try (var scope = new Scope(backend.memory())) {
      Tensor block = scope.zeros(Shape.of(48 + offset), DType.I64);
      Tensor x = block.view(scope, Shape.of(2, 4, 6), offset).set(values);
      Tensor turned = scope.zeros(Shape.of(4, 2, 6), x.dtype());
      Tensor part = scope.zeros(Shape.of(2, 4, 2), x.dtype());
      backend.layouts().permute(x, List.of(1, 0, 2), turned);
      backend.layouts().slice(x, 2, 3, part);
      return new long[][] {turned.longs(), part.longs()};
    }
  }

  @Test
  void nothingIsCopiedToNothing() {
    try (var scope = new Scope(CUDA.memory())) {
      Tensor x = scope.allocate(Shape.of(0, 40, 40));
      Tensor out = scope.allocate(Shape.of(40, 0, 40));
      CUDA.layouts().permute(x, List.of(1, 0, 2), out);
      CUDA.layouts().slice(x, 1, 3, scope.allocate(Shape.of(0, 2, 40)));

      assertThat(out.floats()).isEmpty();
    }
  }

  @Test
  void moreLoopsThanTheKernelHasAreRefused() {
    Shape shape = Shape.of(2, 2, 2, 2, 2, 2);
    try (var scope = new Scope(CUDA.memory())) {
      Tensor x = scope.allocate(shape);
      Tensor out = scope.allocate(shape);

      assertThatThrownBy(() -> CUDA.layouts().permute(x, List.of(5, 4, 3, 2, 1, 0), out))
          .isInstanceOf(UnsupportedOpException.class)
          .hasMessageContaining("needs more than 5 loops");
    }
  }
}
