package io.retort.checkpoint;

import io.retort.data.Json;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.Preconditioning;
import io.retort.net.DiffusionNet;
import io.retort.net.SongUNet;
import io.retort.tensor.ShapeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// The `config.json` beside a model: which network the tensors belong to, in EDM's words.
///
/// Keys are the constructor arguments of EDM's preconditioner and network, with its defaults where
/// one is missing.
public final class ModelConfig {
  private static final long MAX_BYTES = 1 << 20;
  private static final int MAX_SIDE = 4096;

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
    require(config, "precond", "EDMPrecond");
    require(config, "model_type", "SongUNet");
    require(config, "embedding_type", "positional");
    require(config, "encoder_type", "standard");
    require(config, "decoder_type", "standard");
    int resolution = integer(config, "img_resolution", null, 1, MAX_SIDE);
    SongUNet.Config network;
    try {
      network =
          new SongUNet.Config(
              resolution,
              integer(config, "img_channels", null, 1, 64),
              integer(config, "label_dim", 0L, 0, 1 << 16),
              integer(config, "model_channels", 128L, 4, 4096),
              integers(config, "channel_mult", List.of(1, 2, 2, 2)),
              integer(config, "num_blocks", 4L, 1, 64),
              integers(config, "attn_resolutions", List.of(16)),
              number(config, "dropout", 0.1),
              integer(config, "augment_dim", 0L, 0, 64));
    } catch (ShapeException wrong) {
      throw new IllegalArgumentException(wrong.getMessage(), wrong);
    }
    return new Denoiser(new SongUNet(network), number(config, "sigma_data", 0.5));
  }

  /// The configuration of a denoiser, in writing order.
  public static SequencedMap<String, Object> of(Denoiser denoiser) {
    DiffusionNet net = denoiser.network();
    if (!(net instanceof SongUNet song)
        || !(denoiser.preconditioning() instanceof Preconditioning.Edm edm)) {
      throw new IllegalArgumentException(
          "config: " + net.getClass().getSimpleName() + " has no config.json");
    }
    SongUNet.Config config = song.config();
    SequencedMap<String, Object> json = new LinkedHashMap<>();
    json.put("precond", "EDMPrecond");
    json.put("sigma_data", edm.sigmaData());
    json.put("model_type", "SongUNet");
    json.put("img_resolution", (long) config.resolution());
    json.put("img_channels", (long) config.imageChannels());
    json.put("label_dim", (long) config.classes());
    json.put("model_channels", (long) config.channels());
    json.put("channel_mult", config.multipliers().stream().map(Integer::longValue).toList());
    json.put("num_blocks", (long) config.blocks());
    json.put("attn_resolutions", config.attention().stream().map(Integer::longValue).toList());
    json.put("dropout", config.dropout());
    json.put("augment_dim", (long) config.augmentation());
    json.put("embedding_type", "positional");
    json.put("encoder_type", "standard");
    json.put("decoder_type", "standard");
    return json;
  }

  private static void require(Map<String, @Nullable Object> config, String key, String supported) {
    Object value = config.getOrDefault(key, supported);
    if (!supported.equals(value)) {
      throw new IllegalArgumentException(key + " must be \"" + supported + "\", got " + value);
    }
  }

  private static int integer(
      Map<String, @Nullable Object> config,
      String key,
      @Nullable Long fallback,
      int low,
      int high) {
    Object value = config.getOrDefault(key, fallback);
    if (value instanceof Long number && number >= low && number <= high) {
      return number.intValue();
    }
    throw new IllegalArgumentException(
        key + " must be an integer from " + low + " to " + high + ", got " + value);
  }

  private static double number(Map<String, @Nullable Object> config, String key, double fallback) {
    Object value = config.getOrDefault(key, fallback);
    if (value instanceof Number number && Double.isFinite(number.doubleValue())) {
      return number.doubleValue();
    }
    throw new IllegalArgumentException(key + " must be a number, got " + value);
  }

  private static List<Integer> integers(
      Map<String, @Nullable Object> config, String key, List<Integer> fallback) {
    Object value = config.get(key);
    if (value == null) {
      return fallback;
    }
    if (value instanceof List<?> list
        && list.size() <= 16
        && list.stream().allMatch(e -> e instanceof Long n && n >= 1 && n <= MAX_SIDE)) {
      return list.stream().map(e -> ((Long) e).intValue()).toList();
    }
    throw new IllegalArgumentException(key + " must be a list of positive integers, got " + value);
  }
}
