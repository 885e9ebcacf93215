package io.retort.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The program on a small student, against what Retort drew from it.
///
/// The files beside this test were made by `retort train teacher.yaml`, `retort distill
/// student.yaml --teacher ...`, `retort export ... --out student.onnx` and `retort sample ...
/// --noise noise.npy --labels 7,1,8,9 --out image.npy`.
class EmbedTest {
  private static final int PIXELS = 28 * 28;

  @TempDir private Path folder;

  private static Path resource(String name) {
    try {
      return Path.of(EmbedTest.class.getResource("/" + name).toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  /// The float32 values of a `.npy` file: its head says how long it is.
  private static float[] npy(String name) throws IOException {
    ByteBuffer bytes =
        ByteBuffer.wrap(Files.readAllBytes(resource(name))).order(ByteOrder.LITTLE_ENDIAN);
    bytes.position(10 + bytes.getShort(8));
    float[] values = new float[bytes.remaining() / Float.BYTES];
    bytes.asFloatBuffer().get(values);
    return values;
  }

  @Test
  void anotherProgramDrawsTheSamePicture() throws Exception {
    float[] expected = npy("image.npy");

    float[][][][] images =
        Embed.draw(resource("student.onnx").toString(), npy("noise.npy"), new long[] {7, 1, 8, 9});

    assertThat(images).hasNumberOfRows(4);
    for (int i = 0; i < expected.length; i++) {
      float value = images[i / PIXELS][0][i % PIXELS / 28][i % 28];
      assertThat(value).as("value %d", i).isCloseTo(expected[i], within(2e-5f));
    }
  }

  @Test
  void itWritesOneImageOfEachClass() throws Exception {
    Path picture = folder.resolve("picture.png");
    Embed.main(new String[] {resource("student.onnx").toString(), picture.toString()});
    var image = ImageIO.read(picture.toFile());
    assertThat(image.getWidth()).isEqualTo(280);
    assertThat(image.getHeight()).isEqualTo(28);
  }

  @Test
  void theReadmeShowsTheseLines() throws IOException {
    Path here = Path.of("").toAbsolutePath();
    String readme = Files.readString(here.resolve("../../../README.md"));
    int from = readme.indexOf("float[][][][] draw(");
    String shown = readme.substring(from, readme.indexOf("```", from));
    assertThat(shown.lines().count()).isEqualTo(10);
    String program = Files.readString(here.resolve("src/main/java/io/retort/examples/Embed.java"));
    assertThat(program.replaceAll("\\s+", " ")).contains(shown.strip().replaceAll("\\s+", " "));
  }
}
