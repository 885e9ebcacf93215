package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.CudaUnderTest;
import io.retort.grad.OpContract;
import io.retort.op.Case;
import io.retort.op.Case.Input;
import io.retort.op.CrossEntropy;
import io.retort.op.Softmax;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Paths of the softmax kernels that no case of the contract takes.
@Tag("device")
final class CudaSoftmaxTest {
  private static final CudaBackend CUDA = CudaUnderTest.open();

  @Test
  void rowsOfAnyLength() {
    for (int classes : new int[] {256, 257, 1000, 1023, 1024, 1025, 2048, 3001}) {
      Input logits = Input.normal(0, 5, Shape.of(2, classes));
      check(Case.of(classes + " classes", new Softmax(), logits));
      check(Case.of(classes + " classes", new CrossEntropy(), logits, Input.integers(classes, 2)));
      check(
          Case.of(classes + " classes in bf16", new Softmax(), logits.bf16())
              .within(1e-3, 1e-2, "output rounded to 2^-8")
              .gradientsWithin(2));
    }
  }

  private static void check(Case contract) {
    assertThat(new OpContract(contract).check(CUDA)).as(contract.name()).isEmpty();
  }

  @Test
  void impossibleClassesHaveNoProbability() {
    try (var scope = new Scope(CUDA.memory())) {
      float none = Float.NEGATIVE_INFINITY;
      Tensor y = scope.allocate(Shape.of(2, 3));
      CUDA.softmax().softmax(scope.of(Shape.of(2, 3), none, 7, none, none, none, none), y);

      assertThat(y.floats()).containsExactly(0, 1, 0, Float.NaN, Float.NaN, Float.NaN);
    }
  }

  @Test
  void theFirstLabelThatIsNoneIsNamedByTheNextRead() {
    try (var scope = new Scope(CUDA.memory())) {
      Tensor logits = scope.of(Shape.of(3, 2), 1f, 2, 3, 4, 5, 6);
      Tensor loss = scope.allocate(Shape.of());
      Tensor probabilities = scope.allocate(Shape.of(3, 2));
      CUDA.softmax().crossEntropy(logits, scope.of(Shape.of(3), 0L, 2L, -1L), loss, probabilities);

      assertThatThrownBy(loss::item)
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("cross_entropy: labels must be in [0, 2), got 2 in row 1");
      assertThat(loss.item()).isNaN();
    }
  }
}
