package io.retort.checkpoint;

import io.retort.net.DiT;
import io.retort.net.DiTConfig;
import io.retort.net.DiTConfig.Names;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// DiT in a `config.json`: the constructor's arguments of diffusers' `DiTTransformer2DModel` (or of
/// `Transformer2DModel`, which it was before) or of facebook's `DiT`.
final class DiffusersTransformer {
  static final String CLASS = "DiTTransformer2DModel";
  static final String LEGACY = "Transformer2DModel";
  static final String ORIGINAL = "DiT";

  private static final int MAX_SIDE = 4096;
  private static final int MAX_WIDTH = 1 << 16;
  private static final double EPS = 1e-6;
  private static final double CLASS_DROPOUT = 0.1;

  private DiffusersTransformer() {}

  /// diffusers' transformer.
  ///
  /// @param legacy with the defaults of `Transformer2DModel`
  /// @throws IllegalArgumentException naming the key that is wrong
  static DiT diffusers(ConfigKeys keys, boolean legacy) {
    if (legacy) {
      absent(keys);
    }
    int channels =
        legacy ? keys.integer("in_channels", 1, 64) : keys.integer("in_channels", 4, 1, 64);
    int heads = keys.integer("num_attention_heads", 16, 1, 1024);
    int headWidth = keys.integer("attention_head_dim", legacy ? 88 : 72, 1, MAX_WIDTH);
    keys.name("norm_type", legacy ? "layer_norm" : "ada_norm_zero", List.of("ada_norm_zero"));
    if (legacy && !keys.has("norm_type")) {
      throw new IllegalArgumentException("norm_type must be \"ada_norm_zero\", got none");
    }
    keys.flag("upcast_attention", false);
    keys.integer("norm_num_groups", 32, 1, MAX_WIDTH);
    if (legacy && !keys.has("activation_fn")) {
      throw new IllegalArgumentException("activation_fn must be given");
    }
    String gelu =
        keys.name("activation_fn", "gelu-approximate", List.of("gelu-approximate", "gelu"));
    return new DiT(
        new DiTConfig(
            legacy
                ? keys.integer("sample_size", 1, MAX_SIDE)
                : keys.integer("sample_size", 32, 1, MAX_SIDE),
            channels,
            learnedVariance(channels, keys.integer("out_channels", channels, 1, 128)),
            legacy
                ? keys.integer("patch_size", 1, MAX_SIDE)
                : keys.integer("patch_size", 2, 1, MAX_SIDE),
            heads,
            headWidth,
            keys.integer("num_layers", legacy ? 1 : 28, 1, 1024),
            4 * heads * headWidth,
            legacy
                ? keys.integer("num_embeds_ada_norm", 1, 1 << 20)
                : keys.integer("num_embeds_ada_norm", 1000, 1, 1 << 20),
            CLASS_DROPOUT,
            Names.DIFFUSERS,
            keys.number("norm_eps", 1e-5, 0, 1),
            keys.flag("norm_elementwise_affine", legacy),
            keys.flag("attention_bias", !legacy),
            gelu.equals("gelu"),
            keys.number("dropout", 0, 0, 0.999)));
  }

  /// Keys of `Transformer2DModel` that say it is no DiT.
  private static void absent(ConfigKeys keys) {
    for (String key :
        List.of(
            "cross_attention_dim",
            "num_vector_embeds",
            "caption_channels",
            "interpolation_scale",
            "use_additional_conditions")) {
      if (keys.has(key)) {
        throw new IllegalArgumentException(key + " must be null for a DiT");
      }
    }
    for (String key :
        List.of("use_linear_projection", "only_cross_attention", "double_self_attention")) {
      if (keys.flag(key, false)) {
        throw new IllegalArgumentException(key + " must be false for a DiT");
      }
    }
    keys.name("attention_type", "default", List.of("default"));
  }

  private static boolean learnedVariance(int channels, int outputs) {
    if (outputs != channels && outputs != 2 * channels) {
      throw new IllegalArgumentException(
          "out_channels must be in_channels, or twice that for a learned variance, got %d for %d"
              .formatted(outputs, channels));
    }
    return outputs != channels;
  }

  /// facebook's.
  ///
  /// @throws IllegalArgumentException naming the key that is wrong
  static DiT original(ConfigKeys keys) {
    int width = keys.integer("hidden_size", 1152, 1, MAX_WIDTH);
    int heads = keys.integer("num_heads", 16, 1, 1024);
    if (width % heads != 0) {
      throw new IllegalArgumentException(
          "hidden_size must be a multiple of num_heads, got " + width + " and " + heads);
    }
    return new DiT(
        new DiTConfig(
            keys.integer("input_size", 32, 1, MAX_SIDE),
            keys.integer("in_channels", 4, 1, 64),
            keys.flag("learn_sigma", true),
            keys.integer("patch_size", 2, 1, MAX_SIDE),
            heads,
            width / heads,
            keys.integer("depth", 28, 1, 1024),
            (int) (width * keys.number("mlp_ratio", 4, 1e-3, 64)),
            keys.integer("num_classes", 1000, 1, 1 << 20),
            keys.number("class_dropout_prob", CLASS_DROPOUT, 0, 1),
            Names.ORIGINAL,
            EPS,
            false,
            true,
            false,
            0));
  }

  /// The configuration in writing order.
  static SequencedMap<String, @Nullable Object> of(DiTConfig config) {
    return config.names() == Names.ORIGINAL ? original(config) : diffusers(config);
  }

  private static SequencedMap<String, @Nullable Object> original(DiTConfig config) {
    SequencedMap<String, @Nullable Object> json = new LinkedHashMap<>();
    json.put("_class_name", ORIGINAL);
    json.put("input_size", (long) config.resolution());
    json.put("patch_size", (long) config.patch());
    json.put("in_channels", (long) config.imageChannels());
    json.put("hidden_size", (long) config.width());
    json.put("depth", (long) config.depth());
    json.put("num_heads", (long) config.heads());
    json.put("mlp_ratio", (double) config.hidden() / config.width());
    json.put("class_dropout_prob", config.classDropout());
    json.put("num_classes", (long) config.classes());
    json.put("learn_sigma", config.learnedVariance());
    return json;
  }

  private static SequencedMap<String, @Nullable Object> diffusers(DiTConfig config) {
    int channels = config.imageChannels();
    SequencedMap<String, @Nullable Object> json = new LinkedHashMap<>();
    json.put("_class_name", CLASS);
    json.put("num_attention_heads", (long) config.heads());
    json.put("attention_head_dim", (long) config.headWidth());
    json.put("in_channels", (long) channels);
    json.put("out_channels", config.learnedVariance() ? 2L * channels : (long) channels);
    json.put("num_layers", (long) config.depth());
    json.put("dropout", config.dropout());
    json.put("attention_bias", config.attentionBias());
    json.put("sample_size", (long) config.resolution());
    json.put("patch_size", (long) config.patch());
    json.put("activation_fn", config.exactGelu() ? "gelu" : "gelu-approximate");
    json.put("num_embeds_ada_norm", (long) config.classes());
    json.put("norm_type", "ada_norm_zero");
    json.put("norm_elementwise_affine", config.secondAffine());
    json.put("norm_eps", config.secondEps());
    return json;
  }
}
