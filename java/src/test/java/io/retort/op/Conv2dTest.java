package io.retort.op;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.backend.CpuBackend;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Conv2d.Tail;
import io.retort.tensor.DType;
import io.retort.tensor.DTypeException;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/// What a convolution with a tail refuses.
final class Conv2dTest {
  private static final Shape X = Shape.of(2, 4, 4, 3);
  private static final Shape WEIGHT = Shape.of(5, 3, 3, 3);
  private static final Shape BIAS = Shape.of(5);
  private static final Shape SHIFT = Shape.of(2, 5);

  private final Scope scope = new Scope(CpuBackend.open().memory());
  private final Tape tape = Tape.inference(CpuBackend.open(), scope);

  @AfterEach
  void close() {
    scope.close();
  }

  private static Conv2d shifted() {
    return new Conv2d(1, 1, 1, new Tail(true, false, 1));
  }

  private static Conv2d joined() {
    return new Conv2d(1, 1, 1, new Tail(false, true, 1));
  }

  @Test
  void aTailNeedsABiasAndItsInputs() {
    assertThatThrownBy(() -> shifted().infer(List.of(X, WEIGHT, SHIFT)))
        .isInstanceOf(ShapeException.class);
    assertThatThrownBy(() -> joined().infer(List.of(X, WEIGHT, BIAS)))
        .isInstanceOf(ShapeException.class)
        .hasMessage("conv2d: its tail wants the inputs x, weight, bias, residual, got 3 inputs");
    var scaled = new Conv2d(1, 1, 1, new Tail(false, false, 2));
    assertThatThrownBy(() -> scaled.infer(List.of(X, WEIGHT)))
        .isInstanceOf(ShapeException.class)
        .hasMessageContaining("wants the inputs x, weight, bias, got 2");
  }

  @Test
  void aTailsShapesAreTheOutputs() {
    assertThatThrownBy(() -> shifted().infer(List.of(X, WEIGHT, BIAS, Shape.of(2, 1, 1, 5))))
        .isInstanceOf(ShapeException.class)
        .hasMessageContaining("shift must be (2, 5)");
    assertThatThrownBy(() -> joined().infer(List.of(X, WEIGHT, BIAS, X)))
        .isInstanceOf(ShapeException.class)
        .hasMessageContaining("residual must have the output's shape (2, 4, 4, 5)");
  }

  @Test
  void aTailsTypesAreFloat32AndThatOfTheImages() {
    Var x = tape.constant(scope.allocate(X)).cast(DType.BF16);
    Var weight = tape.constant(scope.allocate(WEIGHT));
    Var bias = tape.constant(scope.allocate(BIAS));
    Var shift = tape.constant(scope.allocate(SHIFT)).cast(DType.BF16);
    Var residual = tape.constant(scope.allocate(Shape.of(2, 4, 4, 5)));

    assertThatThrownBy(() -> tape.apply(shifted(), x, weight, bias, shift))
        .isInstanceOf(DTypeException.class)
        .hasMessageContaining("F32");
    assertThatThrownBy(() -> tape.apply(joined(), x, weight, bias, residual))
        .isInstanceOf(DTypeException.class)
        .hasMessageContaining("BF16");
  }
}
