package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.CudaUnderTest;
import io.retort.grad.OpContract;
import io.retort.op.Backend;
import io.retort.op.Case;
import io.retort.op.Case.Input;
import io.retort.op.Pool;
import io.retort.op.Resample;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Paths of the image kernels that no case of the contract takes.
@Tag("device")
final class CudaResampleTest {
  private static final CudaBackend CUDA = CudaUnderTest.open();

  @Test
  void filtersOfAnyLength() {
    for (var direction : Resample.Direction.values()) {
      for (int taps : new int[] {5, 6, 9}) {
        var filter = new ArrayList<>(Collections.nCopies(taps, 1.0));
        filter.set(1, -2.0);
        filter.set(taps - 1, 4.5);
        var op = new Resample(direction, filter);
        assertThat(contract(Case.of(taps + " taps", op, Input.normal(1, 5, 6, 8)))).isEmpty();
      }
    }
  }

  private static List<String> contract(Case each) {
    return new OpContract(each).check(CUDA);
  }

  @Test
  void linesLongerThanABlock() {
    var halved = new Resample(Resample.Direction.DOWN, List.of(1.0, 3.0, 3.0, 1.0));
    assertThat(contract(Case.of("long line", halved, Input.normal(1, 2, 300, 8)))).isEmpty();
    var largest = new Pool(Pool.Kind.MAX, 3, 2);
    assertThat(contract(Case.of("long line", largest, Input.normal(1, 3, 401, 3)))).isEmpty();
  }

  @Test
  void imagesMayBeginAnywhere() {
    for (var kind : Pool.Kind.values()) {
      assertThat(pooled(CUDA, kind, 1)).isEqualTo(pooled(CUDA, kind, 0));
    }
  }

  /// The mean or maximum and its gradient, of images `offset` elements into their block.
  private static float[][] pooled(Backend backend, Pool.Kind kind, int offset) {
    try (var scope = new Scope(backend.memory())) {
      Shape images = Shape.of(1, 4, 4, 4);
      Tensor block = scope.allocate(Shape.of(64 + offset));
      float[] values = new float[64];
      for (int i = 0; i < values.length; i++) {
        values[i] = i * 37 % 64;
      }
      Tensor x = block.view(scope, images, offset).set(values);
      Tensor y = scope.allocate(Shape.of(1, 2, 2, 4));
      Tensor gradient = scope.allocate(images);
      backend.resampling().pool(kind, 2, 2, x, y);
      backend.resampling().poolGradient(kind, 2, 2, x, y, gradient);
      return new float[][] {y.floats(), gradient.floats()};
    }
  }

  @Test
  void theFirstMaximumGetsTheGradientAndNaNIsTheLargest() {
    for (Backend backend : new Backend[] {CUDA, CpuBackend.open()}) {
      try (var scope = new Scope(backend.memory())) {
        Tensor x = scope.of(Shape.of(1, 2, 4, 1), 5, 5, 1, Float.NaN, 5, 2, Float.NaN, 9);
        Tensor y = scope.allocate(Shape.of(1, 1, 2, 1));
        Tensor gradient = scope.allocate(x.shape());
        backend.resampling().pool(Pool.Kind.MAX, 2, 2, x, y);
        backend
            .resampling()
            .poolGradient(
                Pool.Kind.MAX, 2, 2, x, scope.of(Shape.of(1, 1, 2, 1), 10f, 20f), gradient);

        assertThat(y.floats()).as(backend.name()).containsExactly(5, Float.NaN);
        assertThat(gradient.floats()).as(backend.name()).containsExactly(10, 0, 0, 20, 0, 0, 0, 0);
      }
    }
  }
}
