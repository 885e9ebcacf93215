package io.retort.cli;

import static java.util.Objects.requireNonNull;

import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.SafetensorsWriter;
import io.retort.checkpoint.TensorEntry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/// The golden network of 48,017 parameters as files that the command line takes: 8x8x1 images, 3
/// classes.
final class TinyModel {
  private static final String WEIGHTS = "w/";

  private TinyModel() {}

  /// Writes `model.safetensors` and `config.json` into `folder`, which must be new.
  static Path write(Path folder) throws IOException {
    Files.createDirectory(folder);
    try (SafetensorsReader golden = open()) {
      SafetensorsWriter writer = new SafetensorsWriter();
      for (TensorEntry entry : golden.entries()) {
        if (entry.name().startsWith(WEIGHTS)) {
          writer.floats(
              entry.name().substring(WEIGHTS.length()),
              entry.shape(),
              () -> golden.floats(entry.name()));
        }
      }
      writer.write(folder.resolve("model.safetensors"));
      Files.writeString(
          folder.resolve("config.json"), requireNonNull(golden.metadata().get("config")));
    }
    return folder;
  }

  /// Writes one float tensor of the golden file as `.npy`.
  static Path npy(String tensor, Path file) {
    try (SafetensorsReader golden = open()) {
      NpyFile.write(file, golden.floats(tensor), golden.entry(tensor).shape());
    }
    return file;
  }

  /// One float tensor of the golden file.
  static float[] values(String tensor) {
    try (SafetensorsReader golden = open()) {
      return golden.floats(tensor);
    }
  }

  private static SafetensorsReader open() {
    return SafetensorsReader.open(Call.resource("/golden/songunet_tiny_8.safetensors"));
  }
}
