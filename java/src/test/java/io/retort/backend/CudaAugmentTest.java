package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.CudaUnderTest;
import io.retort.op.Augmentation;
import io.retort.op.Backend;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Maps and images that no draw of an augmentation makes, against the CPU.
@Tag("device")
final class CudaAugmentTest {
  private static final CudaBackend CUDA = CudaUnderTest.open();
  private static final Backend CPU = CpuBackend.open();

  @Test
  void warpsOfAnyStrength() {
    Shape rgb = Shape.of(2, 6, 9, 3);
    sameAsCpu(new Augmentation.Warp(0.2, 0.1, 0, -0.1, 0.25, 0.3), rgb); // magnifies
    sameAsCpu(new Augmentation.Warp(3, 1, -0.2, -2, 4, 0), rgb); // shrinks
    sameAsCpu(new Augmentation.Warp(1, 0.7, 0, 0, 1, 0), rgb); // shears
    sameAsCpu(new Augmentation.Warp(-1, 0, 0, 0, -1, 0), Shape.of(1, 5, 4, 8)); // turns around
    sameAsCpu(new Augmentation.Warp(1, 0, 9, 0, 1, 0), rgb); // leaves nothing
  }

  @Test
  void warpsWithoutInverse() {
    sameAsCpu(new Augmentation.Warp(0, 0, 0.1, 0, 0, -0.2), Shape.of(1, 4, 5, 2));
    sameAsCpu(new Augmentation.Warp(1, 1, 0, 1, 1, 0), Shape.of(1, 4, 4, 1));
    sameAsCpu(new Augmentation.Warp(1, 0, 0, 0, 1e-9, 0), Shape.of(1, 4, 5, 3));
  }

  private static void sameAsCpu(Augmentation.Warp warp, Shape images) {
    float[][] expected = warped(CPU, warp, images);
    float[][] actual = warped(CUDA, warp, images);
    for (int k = 0; k < expected.length; k++) {
      for (int i = 0; i < expected[k].length; i++) {
        assertThat(actual[k][i])
            .as("%s, %s [%d]", warp, k == 0 ? "image" : "gradient", i)
            .isCloseTo(expected[k][i], within(1e-5f));
      }
    }
  }

  private static float[][] warped(Backend backend, Augmentation.Warp warp, Shape images) {
    float[] values = new float[(int) images.elements()];
    Philox.normals(new PhiloxKey(5, Purpose.AUGMENT, 0, 0), values);
    try (var scope = new Scope(backend.memory())) {
      Tensor x = scope.of(images, values);
      Tensor y = scope.allocate(images);
      Tensor gradient = scope.allocate(images);
      backend.augmentations().warp(warp, 0.5, x, y);
      backend.augmentations().warpGradient(warp, x, gradient);
      return new float[][] {y.floats(), gradient.floats()};
    }
  }

  @Test
  void colourAndHolesInPlace() {
    var color = new Augmentation.Color(0.2, 1.5, 0.7);
    var hole = new Augmentation.Cutout(1, 2, 4, 5);
    Shape images = Shape.of(2, 5, 7, 3);
    try (var scope = new Scope(CUDA.memory())) {
      Tensor x = scope.allocate(images);
      CUDA.random().normal(x, new PhiloxKey(6, Purpose.AUGMENT, 0, 0), 0, 1);
      Tensor recoloured = scope.allocate(images);
      Tensor cut = scope.allocate(images);
      CUDA.augmentations().color(color, x, recoloured);
      CUDA.augmentations().cutout(hole, -1, recoloured, cut);
      CUDA.augmentations().color(color, x, x);
      CUDA.augmentations().cutout(hole, -1, x, x);

      assertThat(x.floats()).isEqualTo(cut.floats());
    }
  }
}
