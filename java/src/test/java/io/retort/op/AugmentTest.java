package io.retort.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.backend.CpuBackend;
import io.retort.op.AugmentSpec.Family;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import org.junit.jupiter.api.Test;

/// What a draw may be, and that one key means one transformation.
final class AugmentTest {
  private static final AugmentSpec STANDARD = AugmentSpec.standard();

  @Test
  void twoBatchesUnderOneKeyAreTransformedAlike() {
    var backend = CpuBackend.open();
    float[] values = new float[3 * 8 * 8 * 3];
    Philox.normals(key(0), values);
    float[] last = Arrays.copyOfRange(values, 2 * 8 * 8 * 3, values.length);
    for (int step = 0; step < 24; step++) {
      try (var scope = new Scope(backend.memory())) {
        var op = new Augment(STANDARD, key(step));
        float[] all =
            op.run(backend, scope, List.of(scope.of(Shape.of(3, 8, 8, 3), values)))
                .getFirst()
                .floats();
        float[] alone =
            op.run(backend, scope, List.of(scope.of(Shape.of(1, 8, 8, 3), last)))
                .getFirst()
                .floats();
        assertThat(alone).isEqualTo(Arrays.copyOfRange(all, 2 * 8 * 8 * 3, all.length));
      }
    }
  }

  @Test
  void everyFamilyIsDrawnAboutEquallyOften() {
    int colors = 0;
    int cutouts = 0;
    int draws = 6000;
    for (int step = 0; step < draws; step++) {
      switch (STANDARD.draw(key(step), 32, 32)) {
        case Augmentation.Color _ -> colors++;
        case Augmentation.Cutout _ -> cutouts++;
        case Augmentation.Warp _ -> {}
      }
    }
    assertThat(colors).isBetween(850, 1150);
    assertThat(cutouts).isBetween(850, 1150);
  }

  @Test
  void drawsStayWithinTheStrengthsOfThePaper() {
    for (int step = 0; step < 500; step++) {
      if (draw(Family.COLOR, step) instanceof Augmentation.Color(double b, double s, double c)) {
        assertThat(b).isBetween(-0.5, 0.5);
        assertThat(s).isBetween(0.0, 2.0);
        assertThat(c).isBetween(0.5, 1.5);
      }
      Augmentation.Warp crop = warp(Family.CROP, step);
      assertThat(crop.a02() * 16).isBetween(-4.0, 4.0);
      assertThat(Math.abs(crop.a12() * 16 % 1)).isZero();
      assertThat(Math.abs(warp(Family.FLIP, step).a00())).isEqualTo(1);
      assertThat(warp(Family.SCALE, step).a11()).isBetween(1 / 1.2, 1.2);
      assertThat(warp(Family.ROTATE, step).a00()).isBetween(Math.cos(Math.toRadians(15)), 1.0);
      var hole = (Augmentation.Cutout) draw(Family.CUTOUT, step);
      assertThat(hole.bottom() - hole.top()).isBetween(8L, 16L);
      assertThat(hole.right() - hole.left()).isBetween(8L, 16L);
    }
  }

  @Test
  void badStrengthsAndNoFamiliesAreRefused() {
    assertThatThrownBy(() -> STANDARD.with(EnumSet.noneOf(Family.class)))
        .hasMessageContaining("at least one family");
    assertThatThrownBy(
            () -> new AugmentSpec(List.of(Family.SCALE), 1, 2, 0.5, 0.1, 0.5, 0.5, 0.5, 15, 0))
        .hasMessageContaining("scale must be in [1");
  }

  private static Augmentation draw(Family family, int step) {
    return STANDARD.with(List.of(family)).draw(key(step), 32, 32);
  }

  private static Augmentation.Warp warp(Family family, int step) {
    return (Augmentation.Warp) draw(family, step);
  }

  private static PhiloxKey key(long step) {
    return new PhiloxKey(5, Purpose.AUGMENT, 0, step);
  }
}
