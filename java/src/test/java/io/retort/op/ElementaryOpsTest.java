package io.retort.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.backend.CpuBackend;
import io.retort.bindings.NativeCallException;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.tensor.DType;
import io.retort.tensor.DTypeException;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/// What the elementary ops refuse, and the special values that random cases do not meet.
final class ElementaryOpsTest {
  private final Scope scope = new Scope(CpuBackend.open().memory());
  private final Tape tape = Tape.inference(CpuBackend.open(), scope);

  @AfterEach
  void close() {
    scope.close();
  }

  private Var of(float... values) {
    return tape.constant(Shape.of(values.length), values);
  }

  @Test
  void activationsKeepSpecialValues() {
    float infinity = Float.POSITIVE_INFINITY;
    Var x = of(-infinity, 0, infinity, Float.NaN);

    assertThat(x.exp().value().floats()).containsExactly(0, 1, infinity, Float.NaN);
    assertThat(x.log().value().floats()).containsExactly(Float.NaN, -infinity, infinity, Float.NaN);
    assertThat(x.tanh().value().floats()).containsExactly(-1, 0, 1, Float.NaN);
    assertThat(x.sigmoid().value().floats()).containsExactly(0, 0.5f, 1, Float.NaN);
    assertThat(x.abs().value().floats()).containsExactly(infinity, 0, infinity, Float.NaN);
  }

  @Test
  void bfloat16KeepsInfinityAndNaN() {
    Var x = of(Float.POSITIVE_INFINITY, Float.NaN, 1.00390625f, 1.01171875f);

    assertThat(x.cast(DType.BF16).cast(DType.F32).value().floats())
        .containsExactly(Float.POSITIVE_INFINITY, Float.NaN, 1f, 1.015625f);
  }

  @Test
  void aSumOverNothingIsZero() {
    Var empty = tape.constant(scope.allocate(Shape.of(0, 3)));

    assertThat(empty.sum(0).value().floats()).containsExactly(0, 0, 0);
    assertThat(empty.sum().item()).isZero();
  }

  @Test
  void sumsDoNotLoseSmallTerms() {
    float[] values = new float[100_001];
    Arrays.fill(values, 1e-4f);
    values[0] = 1e4f;

    assertThat(of(values).sum().item()).isEqualTo(10_010f);
  }

  @Test
  void anIdOutsideTheTableIsRefused() {
    Var table = tape.constant(Shape.of(3, 2), 1f, 2, 3, 4, 5, 6);

    assertThatThrownBy(() -> table.lookup(tape.constant(Shape.of(2), 0L, 3L)))
        .isInstanceOf(NativeCallException.class)
        .hasMessageContaining("id must be in [0, 3), got 3 at place 1");
  }

  @Test
  void shapesAndTypesAreNamedInErrors() {
    Var a = tape.constant(Shape.of(2, 3), 1f, 2, 3, 4, 5, 6);

    assertThatThrownBy(() -> a.add(of(1, 2)))
        .isInstanceOf(ShapeException.class)
        .hasMessage("add: both inputs must have one shape, got (2, 3) and (2)");
    assertThatThrownBy(() -> a.addBroadcast(of(1, 2)))
        .isInstanceOf(ShapeException.class)
        .hasMessage("broadcast: (2) does not broadcast to (2, 3)");
    assertThatThrownBy(() -> a.slice(1, 2, 4))
        .isInstanceOf(ShapeException.class)
        .hasMessage("slice: [2, 4) must lie in axis 1 of (2, 3)");
    assertThatThrownBy(() -> a.permute(1, 1))
        .isInstanceOf(ShapeException.class)
        .hasMessage("permute: axes must name every axis of (2, 3) once, got [1, 1]");
    assertThatThrownBy(() -> a.sum(0, -2)).isInstanceOf(ShapeException.class);
    assertThatThrownBy(() -> a.mul(a.cast(DType.BF16)))
        .isInstanceOf(DTypeException.class)
        .hasMessage("multiply: input must be F32, got BF16(2, 3)");
    assertThatThrownBy(() -> tape.constant(Shape.of(1), 1L).silu())
        .isInstanceOf(DTypeException.class)
        .hasMessage("activation: input must be F32 or BF16, got I64(1)");
  }

  @Test
  void broadcastsBecomeFewGroups() {
    Shape images = Shape.of(2, 4, 4, 3);

    assertThat(AxisGroups.broadcast("t", Shape.of(3), images))
        .isEqualTo(new AxisGroups(1, 1, 1, 32, 3, 1));
    assertThat(AxisGroups.broadcast("t", Shape.of(2, 1, 1, 3), images))
        .isEqualTo(new AxisGroups(1, 1, 2, 16, 3, 1));
    assertThat(AxisGroups.reduce("t", images, List.of(1, 2, 3)))
        .isEqualTo(new AxisGroups(1, 1, 1, 1, 2, 48));
  }

  @Test
  void aSliceOfTheFirstAxisAndAReshapeAreViews() {
    Var x = tape.constant(Shape.of(4, 2), 1f, 2, 3, 4, 5, 6, 7, 8);
    Var part = x.slice(0, 1, 3);

    assertThat(part.value().address()).isEqualTo(x.value().address() + 8);
    assertThat(part.reshape(4).value().address()).isEqualTo(part.value().address());
    assertThat(part.value().floats()).containsExactly(3, 4, 5, 6);
  }
}
