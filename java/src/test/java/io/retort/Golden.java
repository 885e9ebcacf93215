package io.retort;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.TensorEntry;
import io.retort.grad.Parameters;
import io.retort.tensor.Shape;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/// A file of reference numbers under `golden/`, and comparisons with it. Its images are NCHW, ours
/// NHWC.
public final class Golden implements AutoCloseable {
  private final SafetensorsReader reader;

  private Golden(SafetensorsReader reader) {
    this.reader = reader;
  }

  /// The file `golden/<name>.safetensors`. A bundle for another host may be without it (see
  /// `bench/host/bundle`): the test that asks for it there is skipped.
  public static Golden open(String name) {
    try {
      var url = Golden.class.getResource("/golden/" + name + ".safetensors");
      assumeTrue(
          url != null || !Boolean.getBoolean("retort.bundle"),
          name + ".safetensors is not in this bundle");
      Objects.requireNonNull(url, name);
      return new Golden(SafetensorsReader.open(Path.of(url.toURI())));
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  public boolean has(String name) {
    return reader.contains(name);
  }

  /// Names of the tensors that start with `prefix`, without it.
  public List<String> names(String prefix) {
    return reader.entries().stream()
        .map(TensorEntry::name)
        .filter(name -> name.startsWith(prefix))
        .map(name -> name.substring(prefix.length()))
        .toList();
  }

  /// A metadata value.
  public String metadata(String key) {
    return Objects.requireNonNull(reader.metadata().get(key), key);
  }

  public float[] floats(String name) {
    return reader.floats(name);
  }

  public double[] doubles(String name) {
    return reader.doubles(name);
  }

  public long[] longs(String name) {
    return reader.longs(name);
  }

  public Shape shape(String name) {
    return new Shape(reader.entry(name).shape());
  }

  /// A 4-D tensor as NHWC values.
  public float[] images(String name) {
    return nhwc(floats(name), shape(name));
  }

  /// The NHWC shape of a 4-D NCHW tensor.
  public Shape imageShape(String name) {
    Shape s = shape(name);
    return Shape.of(s.dim(0), s.dim(2), s.dim(3), s.dim(1));
  }

  /// Sets every parameter from `prefix + name`.
  public void load(String prefix, Parameters parameters) {
    parameters.all().forEach(p -> p.value().set(floats(prefix + p.name())));
  }

  public static float[] nhwc(float[] values, Shape nchw) {
    int n = (int) nchw.dim(0);
    int c = (int) nchw.dim(1);
    int pixels = (int) (nchw.dim(2) * nchw.dim(3));
    float[] out = new float[values.length];
    for (int i = 0; i < n; i++) {
      for (int k = 0; k < c; k++) {
        for (int p = 0; p < pixels; p++) {
          out[(i * pixels + p) * c + k] = values[(i * c + k) * pixels + p];
        }
      }
    }
    return out;
  }

  /// Element-wise `|a - b| <= atol + rtol |b|`.
  public static void assertClose(
      String what, float[] actual, float[] expected, double atol, double rtol) {
    assertThat(actual).as(what).hasSameSizeAs(expected);
    for (int i = 0; i < expected.length; i++) {
      double bound = atol + rtol * Math.abs(expected[i]);
      assertThat((double) actual[i])
          .as("%s [%d] within %g of %g", what, i, bound, expected[i])
          .isBetween(expected[i] - bound, expected[i] + bound);
    }
  }

  /// The gradients' bounds: each element within 1e-3 of the largest, the whole within 1e-4 relative
  /// L2.
  public static void assertGradient(String what, float[] actual, float[] expected) {
    assertThat(actual).as(what).hasSameSizeAs(expected);
    double largest = 0;
    double error = 0;
    double norm = 0;
    double worst = 0;
    for (int i = 0; i < expected.length; i++) {
      double difference = actual[i] - expected[i];
      largest = Math.max(largest, Math.abs(expected[i]));
      worst = Math.max(worst, Math.abs(difference));
      error += difference * difference;
      norm += (double) expected[i] * expected[i];
    }
    assertThat(worst)
        .as("%s: worst element, largest %g", what, largest)
        .isLessThanOrEqualTo(1e-3 * largest);
    assertThat(Math.sqrt(error)).as("%s: L2", what).isLessThanOrEqualTo(1e-4 * Math.sqrt(norm));
  }

  @Override
  public void close() {
    reader.close();
  }
}
