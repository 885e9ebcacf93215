package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.Golden;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.SafetensorsWriter;
import io.retort.checkpoint.TensorEntry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// `denoise` on every golden network of EDM's families, from the files a user would have.
final class DenoiseGoldenTest {
  @TempDir private Path folder;

  /// The weights of a golden file, buffers included, and its configuration.
  private void write(SafetensorsReader golden) throws IOException {
    SafetensorsWriter writer = new SafetensorsWriter();
    for (TensorEntry entry : golden.entries()) {
      if (entry.name().startsWith("w/")) {
        writer.floats(entry.name().substring(2), entry.shape(), () -> golden.floats(entry.name()));
      }
    }
    writer.write(folder.resolve("model.safetensors"));
    Files.writeString(folder.resolve("config.json"), golden.metadata().getOrDefault("config", ""));
  }

  private void array(SafetensorsReader golden, String tensor, String option, List<Object> call) {
    if (golden.contains(tensor)) {
      Path file = folder.resolve(tensor.replace('/', '-') + ".npy");
      NpyFile.write(file, golden.floats(tensor), golden.entry(tensor).shape());
      call.add(option);
      call.add(file);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "songunet_tiny_8",
        "songunet_ddpmpp_16",
        "songunet_ncsnpp_16",
        "songunet_skip_8",
        "songunet_residual_8",
        "dhariwal_16"
      })
  void matchesTheReference(String name) throws IOException {
    Path file = Call.resource("/golden/" + name + ".safetensors");
    try (SafetensorsReader golden = SafetensorsReader.open(file)) {
      write(golden);
      Path out = folder.resolve("d.npy");
      List<Object> call = new ArrayList<>(List.of("denoise", folder, "--out", out));
      array(golden, "in/x", "--x", call);
      array(golden, "in/sigma", "--sigma", call);
      array(golden, "in/augment_labels", "--augment", call);
      if (golden.contains("out/D_uncond")) {
        Call.of(call.toArray()).succeeded();
        assertClose(golden, "out/D_uncond", out);
      }
      array(golden, "in/class_labels", "--labels", call);
      Call.of(call.toArray()).succeeded();
      assertClose(golden, "out/D", out);
    }
  }

  private static void assertClose(SafetensorsReader golden, String expected, Path out) {
    NpyFile array = NpyFile.read(out);
    assertThat(array.shape()).isEqualTo(golden.entry(expected).shape());
    Golden.assertClose(expected, array.floats(), golden.floats(expected), 2e-5, 1e-4);
  }
}
