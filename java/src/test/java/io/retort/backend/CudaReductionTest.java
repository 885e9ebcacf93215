package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.offset;

import io.retort.CudaUnderTest;
import io.retort.grad.OpContract;
import io.retort.op.AxisGroups;
import io.retort.op.Case;
import io.retort.op.Case.Input;
import io.retort.op.Reduce;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Paths of the sums that no case of the contract takes.
@Tag("device")
final class CudaReductionTest {
  private static final CudaBackend CUDA = CudaUnderTest.open();

  @Test
  void slicesOfRowsThatDoNotFollowEachOther() {
    checkSum(new AxisGroups(1, 3, 2, 1400, 4, 1));
    checkSum(new AxisGroups(2, 2, 2, 2100, 3, 1));
  }

  @Test
  void slicesOfRunsThatDoNotFollowEachOther() {
    checkSum(new AxisGroups(1, 2, 2, 3, 1, 2800));
    checkSum(new AxisGroups(1, 1, 1, 3, 2, 1401));
  }

  /// Sums of small integers, which are exact.
  private static void checkSum(AxisGroups axes) {
    int inner = Math.toIntExact(axes.k2() * axes.d2());
    int units = Math.toIntExact(axes.k0() * axes.d0() * axes.k1() * axes.d1());
    float[] values = new float[units * inner];
    float[] sums = new float[Math.toIntExact(axes.kept())];
    for (int i = 0; i < values.length; i++) {
      values[i] = i * 37 % 64;
      long row = i / inner / axes.d1();
      long unit = row / (axes.d0() * axes.k1()) * axes.k1() + row % axes.k1();
      sums[Math.toIntExact(unit * axes.k2() + i % inner / axes.d2())] += values[i];
    }
    try (var scope = new Scope(CUDA.memory())) {
      Tensor out = scope.allocate(Shape.of(sums.length));
      CUDA.reductions().sum(axes, scope.of(Shape.of(values.length), values), 1, out);

      assertThat(out.floats()).as(axes.toString()).isEqualTo(sums);
    }
  }

  @Test
  void aSingleRunEndsAnywhere() {
    for (int n : new int[] {5, 7, 9, 2047}) {
      for (Input x : new Input[] {Input.normal(n), Input.normal(n).bf16()}) {
        Case sum =
            Case.of(n + " " + x.dtype(), new Reduce(Reduce.Kind.SUM, List.of()), x)
                .within(1e-4, 1e-5, "the output is float32; only the gradient is rounded to 2^-8")
                .gradientsWithin(100);
        assertThat(new OpContract(sum).check(CUDA)).as(sum.name()).isEmpty();
      }
    }
  }

  @Test
  void arraysMayBeginAnywhere() {
    float[] values = new float[24];
    for (int i = 0; i < values.length; i++) {
      values[i] = i * 37 % 24;
    }
    for (int offset = 0; offset < 4; offset++) {
      try (var scope = new Scope(CUDA.memory())) {
        Tensor block = scope.allocate(Shape.of(24 + offset));
        Tensor x = block.view(scope, Shape.of(6, 4), offset).set(values);
        Tensor columns = scope.allocate(Shape.of(4));
        Tensor all = scope.allocate(Shape.of());
        CUDA.reductions().sum(new AxisGroups(1, 1, 1, 6, 4, 1), x, 1, columns);
        CUDA.reductions().sum(new AxisGroups(1, 1, 1, 1, 1, 24), x, 1, all);

        assertThat(columns.floats()).containsExactly(60, 66, 72, 78);
        assertThat(all.item()).isEqualTo(276);
      }
    }
  }

  @Test
  void sumsDoNotLoseSmallTerms() {
    float[] values = new float[100_001];
    Arrays.fill(values, 1e-4f);
    values[0] = 1e4f;
    try (var scope = new Scope(CUDA.memory())) {
      Tensor sum = scope.allocate(Shape.of());
      Tensor x = scope.of(Shape.of(values.length), values);
      CUDA.reductions().sum(new AxisGroups(1, 1, 1, 1, 1, values.length), x, 1, sum);

      assertThat(sum.item()).isEqualTo(10_010f, offset(1e-3f));
    }
  }

  @Test
  void aSumOverNothingIsZero() {
    try (var scope = new Scope(CUDA.memory())) {
      Tensor x = scope.allocate(Shape.of(0, 3));
      Tensor columns = scope.allocate(Shape.of(3));
      Tensor all = scope.allocate(Shape.of());
      CUDA.reductions().sum(new AxisGroups(1, 1, 1, 0, 3, 1), x, 1, columns);
      CUDA.reductions().sum(new AxisGroups(1, 1, 1, 1, 1, 0), x, 1, all);

      assertThat(columns.floats()).containsExactly(0, 0, 0);
      assertThat(all.item()).isZero();
    }
  }
}
