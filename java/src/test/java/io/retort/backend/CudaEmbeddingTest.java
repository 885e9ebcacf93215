package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.offset;

import io.retort.CudaUnderTest;
import io.retort.grad.OpContract;
import io.retort.op.Backend;
import io.retort.op.Case;
import io.retort.op.Case.Input;
import io.retort.op.Lookup;
import io.retort.op.Sinusoid;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// What no case of the contract says of the embedding kernels.
@Tag("device")
final class CudaEmbeddingTest {
  private static final CudaBackend CUDA = CudaUnderTest.open();

  @Test
  void blocksOfSeveralTableRows() {
    Case wide = Case.of("table", new Lookup(), Input.normal(3001, 20), Input.integers(3001, 1100));

    assertThat(new OpContract(wide).check(CUDA)).isEmpty();
  }

  @Test
  void equalIdsAreAddedInTheirOrder() {
    float[] gradient = new float[2050 * 3];
    for (int i = 0; i < gradient.length; i++) {
      gradient[i] = (float) Math.sin(i) * (1 << i % 20);
    }
    long[] ids = new long[2050];
    Arrays.setAll(ids, i -> i * 7 % 4);

    assertThat(lookupGradient(CUDA, ids, gradient))
        .isEqualTo(lookupGradient(CpuBackend.open(), ids, gradient));
  }

  private static float[] lookupGradient(Backend backend, long[] ids, float[] gradient) {
    try (var scope = new Scope(backend.memory())) {
      Tensor table = scope.allocate(Shape.of(4, 3));
      Tensor rows = scope.of(Shape.of(ids.length, 3), gradient);
      backend.embeddings().lookupGradient(scope.of(Shape.of(ids.length), ids), rows, table);
      return table.floats();
    }
  }

  @Test
  void anIdOutsideTheTableIsNamedByTheNextRead() {
    try (var scope = new Scope(CUDA.memory())) {
      Tensor table = scope.of(Shape.of(3, 2), 1f, 2, 3, 4, 5, 6);
      Tensor rows = scope.allocate(Shape.of(3, 2));
      CUDA.embeddings().lookup(table, scope.of(Shape.of(3), 0L, 3L, 1L), rows);

      assertThatThrownBy(rows::floats)
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("lookup: id must be in [0, 3), got 3 at place 1");
      assertThat(rows.floats()).containsExactly(1, 2, Float.NaN, Float.NaN, 3, 4);
    }
  }

  @Test
  void largeAnglesKeepTheirDigits() {
    var op = new Sinusoid(4, 10_000, true, false);
    try (var scope = new Scope(CUDA.memory())) {
      Tensor out = scope.allocate(Shape.of(1, 4));
      CUDA.embeddings().sinusoid(op, scope.of(Shape.of(1), 80_000f), out);
      float[] wave = out.floats();

      assertThat(wave[0]).isCloseTo((float) Math.cos(80_000), offset(3e-7f));
      assertThat(wave[2]).isCloseTo((float) Math.sin(80_000), offset(3e-7f));
    }
  }
}
