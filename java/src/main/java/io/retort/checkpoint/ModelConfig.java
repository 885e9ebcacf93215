package io.retort.checkpoint;

import io.retort.data.Json;
import io.retort.diffusion.Denoiser;
import io.retort.net.ClassExperts;
import io.retort.tensor.ShapeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// The `config.json` beside a model: which network the tensors belong to, in the words of the
/// family it comes from.
public final class ModelConfig {
  private static final long MAX_BYTES = 1 << 20;

  /// How many networks of this configuration there are, each for its part of the classes.
  private static final String EXPERTS = "class_experts";

  private static final int MOST_EXPERTS = 1 << 16;

  private ModelConfig() {}

  /// Reads and checks a configuration.
  ///
  /// @throws CheckpointException if it is missing, malformed, or describes a network Retort does
  ///   not have
  public static Denoiser read(Path file) {
    Map<String, @Nullable Object> config = DiffusersConfig.withScheduler(file, parse(file));
    try {
      return denoiser(config);
    } catch (IllegalArgumentException wrong) {
      throw refused(file, wrong);
    }
  }

  /// The keys of a configuration file, whatever they say.
  ///
  /// @throws CheckpointException if it is missing or malformed
  static Map<String, @Nullable Object> parse(Path file) {
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw new CheckpointException(file, "", "is larger than a configuration can be");
      }
      return Json.parseObject(Files.readString(file));
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    } catch (Json.JsonException malformed) {
      throw refused(file, malformed);
    }
  }

  private static CheckpointException refused(Path file, RuntimeException reason) {
    return new CheckpointException(
        file, "", Objects.requireNonNullElse(reason.getMessage(), "is no configuration"));
  }

  /// The denoiser that a configuration describes.
  ///
  /// @throws IllegalArgumentException naming the key that is wrong
  public static Denoiser denoiser(Map<String, @Nullable Object> config) {
    if (config.containsKey(EXPERTS)) {
      int parts = new ConfigKeys(config).integer(EXPERTS, 1, MOST_EXPERTS);
      Map<String, @Nullable Object> one = new LinkedHashMap<>(config);
      one.remove(EXPERTS);
      Denoiser expert = denoiser(one);
      return new Denoiser(new ClassExperts(expert.network(), parts), expert.preconditioning());
    }
    try {
      return DiffusersConfig.recognises(config)
          ? DiffusersConfig.read(config)
          : EdmConfig.read(config);
    } catch (ShapeException wrong) {
      throw new IllegalArgumentException(wrong.getMessage(), wrong);
    }
  }

  /// The configuration of a denoiser, in writing order.
  public static SequencedMap<String, ? extends @Nullable Object> of(Denoiser denoiser) {
    if (denoiser.network() instanceof ClassExperts experts) {
      SequencedMap<String, @Nullable Object> several =
          new LinkedHashMap<>(of(new Denoiser(experts.expert(), denoiser.preconditioning())));
      several.put(EXPERTS, (long) experts.parts());
      return several;
    }
    SequencedMap<String, Object> json = EdmConfig.of(denoiser);
    SequencedMap<String, @Nullable Object> diffusers = DiffusersConfig.of(denoiser);
    if (json == null && diffusers == null) {
      throw new IllegalArgumentException(
          "config: %s with %s has no config.json"
              .formatted(
                  denoiser.network().getClass().getSimpleName(),
                  denoiser.preconditioning().getClass().getSimpleName()));
    }
    return json != null ? json : Objects.requireNonNull(diffusers);
  }
}
