package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.Golden;
import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.NpyFile;
import io.retort.tensor.Shape;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// NCHW outside, NHWC inside.
class ImageArraysTest {
  private static final Shape IMAGE = Shape.of(1, 3, 5, 2);

  @TempDir private Path folder;

  private static float[] ramp(int length) {
    var values = new float[length];
    for (int i = 0; i < length; i++) {
      values[i] = i * 0.25f;
    }
    return values;
  }

  @Test
  void readingTurnsPlanesIntoPixels() {
    Path file = folder.resolve("x.npy");
    NpyFile.write(file, ramp(120), 4, 2, 3, 5);
    assertThat(ImageArrays.read(file, IMAGE))
        .containsExactly(Golden.nhwc(ramp(120), Shape.of(4, 2, 3, 5)));
  }

  @Test
  void writingUndoesReading() {
    Path file = folder.resolve("x.npy");
    ImageArrays.write(file, ramp(120), IMAGE);
    assertThat(NpyFile.read(file).shape()).containsExactly(4, 2, 3, 5);
    assertThat(ImageArrays.read(file, IMAGE)).containsExactly(ramp(120));
  }

  @Test
  void doublesAreRounded() {
    Path file = folder.resolve("x.npy");
    var values = new double[30];
    values[29] = 0.1;
    NpyFile.write(file, values, 1, 2, 3, 5);
    assertThat(ImageArrays.read(file, IMAGE)[29]).isEqualTo(0.1f);
  }

  @ParameterizedTest
  @CsvSource({"1 3 5 2", "2 3 5", "0 2 3 5", "1 2 3 6"})
  void otherShapesAreRefused(String shape) {
    Path file = folder.resolve("x.npy");
    long[] dims = Arrays.stream(shape.split(" ")).mapToLong(Long::parseLong).toArray();
    NpyFile.write(file, new float[(int) Arrays.stream(dims).reduce(1, (a, b) -> a * b)], dims);
    assertThatThrownBy(() -> ImageArrays.read(file, IMAGE))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("must have shape (N, 2, 3, 5), got " + Shape.of(dims));
  }

  @Test
  void otherValuesAreRefused() {
    Path file = folder.resolve("x.npy");
    NpyFile.write(file, new long[30], 1, 2, 3, 5);
    assertThatThrownBy(() -> ImageArrays.read(file, IMAGE)).hasMessageContaining("float");
    float[] broken = ramp(30);
    broken[7] = Float.NaN;
    NpyFile.write(file, broken, 1, 2, 3, 5);
    assertThatThrownBy(() -> ImageArrays.read(file, IMAGE)).hasMessageContaining("not finite");
  }
}
