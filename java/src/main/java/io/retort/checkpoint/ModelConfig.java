package io.retort.checkpoint;

import io.retort.data.Json;
import io.retort.diffusion.Denoiser;
import io.retort.tensor.ShapeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// The `config.json` beside a model: which network the tensors belong to, in the words of the
/// family it comes from.
public final class ModelConfig {
  private static final long MAX_BYTES = 1 << 20;

  private ModelConfig() {}

  /// Reads and checks a configuration.
  ///
  /// @throws CheckpointException if it is missing, malformed, or describes a network Retort does
  ///   not have
  public static Denoiser read(Path file) {
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw new CheckpointException(file, "", "is larger than a configuration can be");
      }
      return denoiser(Json.parseObject(Files.readString(file)));
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    } catch (Json.JsonException | IllegalArgumentException malformed) {
      throw new CheckpointException(
          file, "", Objects.requireNonNullElse(malformed.getMessage(), "is no configuration"));
    }
  }

  /// The denoiser that a configuration describes.
  ///
  /// @throws IllegalArgumentException naming the key that is wrong
  public static Denoiser denoiser(Map<String, @Nullable Object> config) {
    try {
      return EdmConfig.read(config);
    } catch (ShapeException wrong) {
      throw new IllegalArgumentException(wrong.getMessage(), wrong);
    }
  }

  /// The configuration of a denoiser, in writing order.
  public static SequencedMap<String, Object> of(Denoiser denoiser) {
    SequencedMap<String, Object> json = EdmConfig.of(denoiser);
    if (json == null) {
      throw new IllegalArgumentException(
          "config: %s with %s has no config.json"
              .formatted(
                  denoiser.network().getClass().getSimpleName(),
                  denoiser.preconditioning().getClass().getSimpleName()));
    }
    return json;
  }
}
