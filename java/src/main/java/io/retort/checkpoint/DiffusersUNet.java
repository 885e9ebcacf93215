package io.retort.checkpoint;

import io.retort.net.UNet2D;
import io.retort.net.UNet2DConfig;
import io.retort.net.UNet2DConfig.Classes;
import io.retort.net.UNet2DConfig.Middle;
import io.retort.net.UNet2DConfig.Stage;
import io.retort.net.UNet2DConfig.Time;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// diffusers' `UNet2DModel` in a `config.json`: its constructor's arguments and defaults.
final class DiffusersUNet {
  static final String CLASS = "UNet2DModel";

  private static final int MAX_SIDE = 4096;
  private static final int MAX_WIDTH = 1 << 16;
  private static final int MAX_LEVELS = 12;
  private static final String LEGACY = "UNetRes";

  private final Map<String, @Nullable Object> config;
  private final ConfigKeys keys;

  private DiffusersUNet(Map<String, @Nullable Object> config, ConfigKeys keys) {
    this.config = config;
    this.keys = keys;
  }

  /// @throws IllegalArgumentException naming the key that is wrong
  static UNet2D read(Map<String, @Nullable Object> config, ConfigKeys keys) {
    return new UNet2D(new DiffusersUNet(config, keys).read());
  }

  private UNet2DConfig read() {
    int side = keys.side("sample_size", MAX_SIDE);
    int channels = keys.integer("in_channels", 3, 1, 64);
    List<Integer> widths =
        keys.integers("block_out_channels", List.of(224, 448, 672, 896), MAX_LEVELS, MAX_WIDTH);
    keys.name("act_fn", "silu", List.of("silu", "swish"));
    boolean nullGroups = explicitNull("norm_num_groups");
    boolean nullHeads = explicitNull("attention_head_dim");
    keys.has("num_train_timesteps");
    return new UNet2DConfig(
        side,
        channels,
        learnedVariance(channels),
        keys.flag("center_input_sample", false),
        time(4 * widths.getFirst()),
        classes(4 * widths.getFirst()),
        widths,
        stages(
            "down_block_types",
            true,
            List.of(Stage.PLAIN, Stage.ATTENTION, Stage.ATTENTION, Stage.ATTENTION)),
        stages(
            "up_block_types",
            false,
            List.of(Stage.ATTENTION, Stage.ATTENTION, Stage.ATTENTION, Stage.PLAIN)),
        keys.integer("layers_per_block", 2, 1, 64),
        middle(),
        keys.integer("downsample_padding", 1, 0, 1),
        keys.name("downsample_type", "conv", List.of("conv", "resnet")).equals("resnet"),
        keys.name("upsample_type", "conv", List.of("conv", "resnet")).equals("resnet"),
        nullHeads ? 0 : keys.integer("attention_head_dim", 8, 1, MAX_WIDTH),
        nullGroups ? 0 : keys.integer("norm_num_groups", 32, 1, MAX_WIDTH),
        keys.number("norm_eps", 1e-5, 0, 1),
        keys.name("resnet_time_scale_shift", "default", List.of("default", "scale_shift"))
            .equals("scale_shift"),
        keys.number("dropout", 0, 0, 0.999));
  }

  /// Whether a key is there and null, which is not its default.
  private boolean explicitNull(String key) {
    return !keys.has(key) && config.containsKey(key);
  }

  private boolean learnedVariance(int channels) {
    int outputs = keys.integer("out_channels", 3, 1, 128);
    if (outputs != channels && outputs != 2 * channels) {
      throw new IllegalArgumentException(
          "out_channels must be in_channels, or twice that for a learned variance, got %d for %d"
              .formatted(outputs, channels));
    }
    return outputs != channels;
  }

  private Time time(int usualWidth) {
    String type = keys.name("time_embedding_type", "positional", List.of("positional", "fourier"));
    return new Time(
        type.equals("fourier"),
        keys.flag("flip_sin_to_cos", true),
        keys.number("freq_shift", 0, 0, 1),
        keys.integer("time_embedding_dim", usualWidth, 1, MAX_WIDTH));
  }

  private Classes classes(int usualWidth) {
    int count = keys.integer("num_class_embeds", 0, 0, 1 << 20);
    if (!keys.has("class_embed_type")) {
      return count == 0 ? Classes.NONE : new Classes(Classes.Kind.TABLE, count);
    }
    return switch (keys.name("class_embed_type", "", List.of("timestep", "identity"))) {
      case "timestep" ->
          new Classes(
              Classes.Kind.TIMESTEP,
              count > 0 ? count : keys.integer("num_train_timesteps", 1000, 1, 1 << 20));
      default ->
          new Classes(
              Classes.Kind.IDENTITY, keys.integer("time_embedding_dim", usualWidth, 1, MAX_WIDTH));
    };
  }

  private Middle middle() {
    boolean absent = explicitNull("mid_block_type");
    keys.name("mid_block_type", "UNetMidBlock2D", List.of("UNetMidBlock2D"));
    return new Middle(
        !absent,
        keys.flag("add_attention", true),
        keys.number("mid_block_scale_factor", 1, 1e-6, 1e6),
        keys.integer("attn_norm_num_groups", Middle.AS_OTHERS, 1, MAX_WIDTH));
  }

  private List<Stage> stages(String key, boolean down, List<Stage> usual) {
    Object value = config.get(key);
    if (!keys.has(key)) {
      return usual;
    }
    List<String> names = new ArrayList<>();
    for (Stage stage : Stage.values()) {
      names.add(name(stage, down));
    }
    if (!(value instanceof List<?> list)) {
      throw new IllegalArgumentException(key + " must be a list of names, got " + value);
    }
    List<Stage> stages = new ArrayList<>();
    for (Object element : list) {
      String name = String.valueOf(element);
      String plain = name.startsWith(LEGACY) ? name.substring(LEGACY.length()) : name;
      if (!names.contains(plain)) {
        throw new IllegalArgumentException(
            key + " must be of \"" + String.join("\", \"", names) + "\", got \"" + name + '"');
      }
      stages.add(Stage.values()[names.indexOf(plain)]);
    }
    return stages;
  }

  private static String name(Stage stage, boolean down) {
    String direction = down ? "Down" : "Up";
    return switch (stage) {
      case PLAIN -> direction + "Block2D";
      case ATTENTION -> "Attn" + direction + "Block2D";
      case RESNET -> "Resnet" + direction + "sampleBlock2D";
      case SKIP -> "Skip" + direction + "Block2D";
      case ATTENTION_SKIP -> "AttnSkip" + direction + "Block2D";
    };
  }

  /// The configuration in writing order.
  static SequencedMap<String, @Nullable Object> of(UNet2DConfig config) {
    SequencedMap<String, @Nullable Object> json = new LinkedHashMap<>();
    int channels = config.imageChannels();
    Classes classes = config.classes();
    Middle middle = config.middle();
    json.put("_class_name", CLASS);
    json.put("sample_size", (long) config.resolution());
    json.put("in_channels", (long) channels);
    json.put("out_channels", config.learnedVariance() ? 2L * channels : (long) channels);
    json.put("center_input_sample", config.centred());
    json.put("time_embedding_type", config.time().fourier() ? "fourier" : "positional");
    json.put("time_embedding_dim", (long) config.time().width());
    json.put("freq_shift", config.time().shift());
    json.put("flip_sin_to_cos", config.time().cosinesFirst());
    json.put("down_block_types", config.down().stream().map(s -> name(s, true)).toList());
    json.put("mid_block_type", middle.present() ? "UNetMidBlock2D" : null);
    json.put("up_block_types", config.up().stream().map(s -> name(s, false)).toList());
    json.put("block_out_channels", config.channels().stream().map(Integer::longValue).toList());
    json.put("layers_per_block", (long) config.layers());
    json.put("mid_block_scale_factor", middle.divisor());
    json.put("downsample_padding", (long) config.downPadding());
    json.put("downsample_type", config.resnetDown() ? "resnet" : "conv");
    json.put("upsample_type", config.resnetUp() ? "resnet" : "conv");
    json.put("dropout", config.dropout());
    json.put("act_fn", "silu");
    json.put("attention_head_dim", config.headWidth() > 0 ? (long) config.headWidth() : null);
    json.put("norm_num_groups", config.groups() > 0 ? (long) config.groups() : null);
    json.put("attn_norm_num_groups", middle.groups() > 0 ? (long) middle.groups() : null);
    json.put("norm_eps", config.eps());
    json.put("resnet_time_scale_shift", config.scaleShift() ? "scale_shift" : "default");
    json.put("add_attention", middle.attention());
    json.put(
        "class_embed_type",
        switch (classes.kind()) {
          case NONE, TABLE -> null;
          case TIMESTEP -> "timestep";
          case IDENTITY -> "identity";
        });
    boolean counted =
        classes.kind() == Classes.Kind.TABLE || classes.kind() == Classes.Kind.TIMESTEP;
    json.put("num_class_embeds", counted ? (long) classes.count() : null);
    return json;
  }
}
