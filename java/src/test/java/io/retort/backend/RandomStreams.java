package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.op.Backend;
import io.retort.op.RandomKernels;
import io.retort.tensor.DType;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/// A backend draws the numbers that [Philox] draws in Java.
abstract class RandomStreams {
  private static final PhiloxKey KEY = new PhiloxKey(-42, Purpose.INIT, 77, 1L << 33);

  private final Scope scope;
  private final RandomKernels random;

  RandomStreams(Backend backend) {
    scope = new Scope(backend.memory());
    random = backend.random();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  @Test
  void uniformsAreThoseOfJava() {
    var out = scope.allocate(Shape.of(1031));
    random.uniform(out, KEY, 0, 1);
    float[] values = out.floats();
    for (int i = 0; i < values.length; i++) {
      assertThat(values[i]).isEqualTo((float) Philox.uniform(KEY, i));
    }
  }

  @Test
  void normalsAreThoseOfJavaWithinRounding() {
    var out = scope.allocate(Shape.of(200_003));
    random.normal(out, KEY, 0, 1);
    float[] java = new float[200_003];
    Philox.normals(KEY, java);
    float[] values = out.floats();
    double worst = 0;
    for (int i = 0; i < values.length; i++) {
      worst = Math.max(worst, Math.abs(values[i] - java[i]));
    }
    assertThat(worst).isLessThan(2e-6);
  }

  @Test
  void meanAndDeviationScaleTheSameNormals() {
    var plain = scope.allocate(Shape.of(9));
    var scaled = scope.allocate(Shape.of(9));
    random.normal(plain, KEY, 0, 1);
    random.normal(scaled, KEY, 3, 2);
    float[] z = plain.floats();
    float[] values = scaled.floats();
    for (int i = 0; i < z.length; i++) {
      assertThat(values[i]).isCloseTo(3 + 2 * z[i], within(1e-6f));
    }
  }

  @Test
  void aPartOfAStreamIsThatPart() {
    var whole = scope.allocate(Shape.of(2000));
    random.normal(whole, KEY, 0, 1);
    float[] all = whole.floats();
    for (int first : new int[] {1, 2, 3, 255, 256, 257, 1000}) {
      var part = scope.allocate(Shape.of(700));
      random.normal(part, KEY, first, 0, 1);
      assertThat(part.floats()).isEqualTo(Arrays.copyOfRange(all, first, first + 700));
    }
  }

  @Test
  void aViewGetsTheSameNumbers() {
    Tensor block = scope.zeros(Shape.of(64), DType.F32);
    Tensor whole = scope.allocate(Shape.of(29));
    random.uniform(whole, KEY, 8, 0, 1);
    random.uniform(block.view(scope, Shape.of(29), 3), KEY, 8, 0, 1);

    assertThat(Arrays.copyOfRange(block.floats(), 3, 32)).isEqualTo(whole.floats());
    assertThat(Arrays.copyOfRange(block.floats(), 32, 64)).containsOnly(0);
  }

  @Test
  void aStreamHasAnEnd() {
    var out = scope.allocate(Shape.of(8));
    random.uniform(out, KEY, (1L << 34) - 8, 0, 1);

    assertThat(out.floats()[7]).isEqualTo((float) Philox.uniform(KEY, (1L << 34) - 1));
    assertThatThrownBy(() -> random.uniform(out, KEY, (1L << 34) - 7, 0, 1))
        .hasMessageContaining("elements must lie in [0, 2^34)");
  }
}
