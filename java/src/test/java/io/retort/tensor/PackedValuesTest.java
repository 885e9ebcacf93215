package io.retort.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

final class PackedValuesTest {
  private static final Memory MEMORY = CpuBackend.open().memory();

  private final List<Long> packed = new ArrayList<>();

  private long ask(Tensor values, long layout) {
    return values.packed(layout, 256, packed::add);
  }

  /// Asks as often as there is no answer.
  private void unanswered(Tensor values, long layout) {
    for (int again = 0; again < PackedValues.PATIENCE; again++) {
      assertThat(ask(values, layout)).isZero();
    }
  }

  @Test
  void aRequestInTheEndPacksAndOthersReadThat() {
    try (Scope scope = new Scope(MEMORY)) {
      Tensor values = scope.zeros(Shape.of(8), DType.F32);
      unanswered(values, 1);
      long block = ask(values, 1);
      assertThat(block).isNotZero();
      assertThat(ask(values, 1)).isEqualTo(block);
      assertThat(packed).containsExactly(block);
    }
  }

  @Test
  void whatIsWrittenIsPackedAgain() {
    try (Scope scope = new Scope(MEMORY)) {
      Tensor arena = scope.zeros(Shape.of(16), DType.F32);
      Tensor values = arena.view(scope, Shape.of(8), 8);
      unanswered(values, 1);
      long block = ask(values, 1);
      arena.set(0, new float[] {1}, 1); // beside the view, of the same storage
      unanswered(values, 1);
      assertThat(ask(values, 1)).isNotZero();
      assertThat(packed).hasSize(2);
    }
  }

  @Test
  void layoutsAndViewsHaveBlocksOfTheirOwn() {
    try (Scope scope = new Scope(MEMORY)) {
      Tensor arena = scope.zeros(Shape.of(16), DType.F32);
      Tensor values = arena.view(scope, Shape.of(8), 8);
      for (int again = 0; again <= PackedValues.PATIENCE; again++) {
        ask(arena, 1);
        ask(values, 1);
        ask(values, 2);
      }
      assertThat(packed).doesNotHaveDuplicates().hasSize(3);
    }
  }
}
