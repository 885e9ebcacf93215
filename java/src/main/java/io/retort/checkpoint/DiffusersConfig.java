package io.retort.checkpoint;

import io.retort.diffusion.Denoiser;
import io.retort.diffusion.Preconditioning;
import io.retort.net.DiT;
import io.retort.net.DiffusionNet;
import io.retort.net.UNet2D;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// diffusers' networks in a `config.json`, and the noise they were trained on in a
/// `scheduler_config.json`.
///
/// The scheduler is looked for under the key `scheduler` of the configuration (where Retort writes
/// it), beside it, and in the folder `scheduler` next to the model's, as in a pipeline. Without one
/// the network is taken to be trained as DDPM's are: 1000 steps of linear betas, noise predicted.
final class DiffusersConfig {
  private static final String CLASS = "_class_name";
  private static final String SCHEDULER = "scheduler";
  private static final String SCHEDULER_FILE = "scheduler_config.json";
  private static final List<String> CLASSES =
      List.of(
          DiffusersUNet.CLASS,
          DiffusersTransformer.CLASS,
          DiffusersTransformer.LEGACY,
          DiffusersTransformer.ORIGINAL);

  private DiffusersConfig() {}

  /// Whether a configuration is in diffusers' words (or facebook's DiT) rather than EDM's.
  static boolean recognises(Map<String, @Nullable Object> config) {
    return config.containsKey(CLASS) || !className(config).isEmpty();
  }

  /// The class by its name or, where a configuration does not say, by keys that only one has.
  private static String className(Map<String, @Nullable Object> config) {
    if (config.get(CLASS) instanceof String name) {
      return name;
    }
    if (DiffusersTransformer.ORIGINAL.equals(config.get("model_type"))) {
      return DiffusersTransformer.ORIGINAL;
    }
    if (config.containsKey("down_block_types")) {
      return DiffusersUNet.CLASS;
    }
    return config.containsKey("num_embeds_ada_norm") ? DiffusersTransformer.CLASS : "";
  }

  /// The configuration of `file` with that of its scheduler, if there is one, under `scheduler`.
  static Map<String, @Nullable Object> withScheduler(
      Path file, Map<String, @Nullable Object> config) {
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null || config.containsKey(SCHEDULER)) {
      return config;
    }
    for (Path candidate :
        List.of(
            folder.resolve(SCHEDULER_FILE),
            folder.resolveSibling(SCHEDULER).resolve(SCHEDULER_FILE))) {
      if (Files.exists(candidate)) {
        Map<String, @Nullable Object> both = new LinkedHashMap<>(config);
        both.put(SCHEDULER, ModelConfig.parse(candidate));
        return both;
      }
    }
    return config;
  }

  /// The denoiser that a configuration describes.
  ///
  /// @throws IllegalArgumentException naming the key that is wrong
  static Denoiser read(Map<String, @Nullable Object> config) {
    ConfigKeys keys = new ConfigKeys(config);
    config.keySet().stream().filter(key -> key.startsWith("_")).forEach(keys::has);
    keys.has("model_type");
    String name = className(config);
    DiffusionNet network =
        switch (name) {
          case DiffusersUNet.CLASS -> DiffusersUNet.read(config, keys);
          case DiffusersTransformer.CLASS -> DiffusersTransformer.diffusers(keys, false);
          case DiffusersTransformer.LEGACY -> DiffusersTransformer.diffusers(keys, true);
          case DiffusersTransformer.ORIGINAL -> DiffusersTransformer.original(keys);
          default ->
              throw new IllegalArgumentException(
                  CLASS
                      + " must be one of \""
                      + String.join("\", \"", CLASSES)
                      + "\", got \""
                      + name
                      + '"');
        };
    Preconditioning preconditioning = preconditioning(config, keys);
    keys.end();
    return new Denoiser(network, preconditioning);
  }

  private static Preconditioning preconditioning(
      Map<String, @Nullable Object> config, ConfigKeys keys) {
    if (!keys.has(SCHEDULER)) {
      return DiffusersScheduler.usual();
    }
    if (config.get(SCHEDULER) instanceof Map<?, ?> scheduler) {
      Map<String, @Nullable Object> named = new LinkedHashMap<>();
      scheduler.forEach((key, value) -> named.put(String.valueOf(key), value));
      try {
        return DiffusersScheduler.read(named);
      } catch (IllegalArgumentException wrong) {
        throw new IllegalArgumentException("scheduler: " + wrong.getMessage(), wrong);
      }
    }
    throw new IllegalArgumentException(
        "scheduler must be the scheduler's configuration, got " + config.get(SCHEDULER));
  }

  /// The configuration in writing order; null for what diffusers has no words for.
  static @Nullable SequencedMap<String, @Nullable Object> of(Denoiser denoiser) {
    SequencedMap<String, Object> scheduler = DiffusersScheduler.of(denoiser.preconditioning());
    if (scheduler == null) {
      return null;
    }
    SequencedMap<String, @Nullable Object> json =
        switch (denoiser.network()) {
          case UNet2D net -> DiffusersUNet.of(net.config());
          case DiT net -> DiffusersTransformer.of(net.config());
          default -> null;
        };
    if (json != null) {
      json.put(SCHEDULER, scheduler);
    }
    return json;
  }
}
