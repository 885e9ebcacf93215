package io.retort.checkpoint;

import io.retort.diffusion.Denoiser;
import io.retort.diffusion.Preconditioning;
import io.retort.net.DhariwalUNet;
import io.retort.net.DiffusionNet;
import io.retort.net.SongUNet;
import io.retort.net.SongVariant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// EDM's networks in a `config.json`: the arguments of its preconditioner's constructor, and those
/// of the network inside, as one object.
///
/// `precond` names the preconditioner, `model_type` the network; what is missing has the
/// constructor's default. Source: the constructors of EDM's networks, Karras et al. 2022.
final class EdmConfig {
  private static final int MAX_SIDE = 4096;
  private static final int MAX_LEVELS = 16;
  private static final int MAX_TAPS = 16;
  private static final double MAX_SIGMA = 1e9;
  private static final String EDM = "EDMPrecond";
  private static final String VP = "VPPrecond";
  private static final String VE = "VEPrecond";
  private static final String IDDPM = "iDDPMPrecond";
  private static final String SONG = "SongUNet";
  private static final String DHARIWAL = "DhariwalUNet";

  private EdmConfig() {}

  /// The denoiser that a configuration describes.
  ///
  /// @throws IllegalArgumentException naming the key that is wrong
  static Denoiser read(Map<String, @Nullable Object> config) {
    ConfigKeys keys = new ConfigKeys(config);
    String precond = keys.name("precond", EDM, List.of(EDM, VP, VE, IDDPM));
    keys.flag("use_fp16", false);
    Preconditioning preconditioning = preconditioning(precond, keys);
    boolean song = precond.equals(VP) || precond.equals(VE);
    String type = keys.name("model_type", song ? SONG : DHARIWAL, List.of(SONG, DHARIWAL));
    int outputs = precond.equals(IDDPM) ? 2 : 1;
    DiffusionNet network = type.equals(SONG) ? song(keys, outputs) : dhariwal(keys, outputs);
    keys.end();
    return new Denoiser(network, preconditioning);
  }

  private static Preconditioning preconditioning(String name, ConfigKeys keys) {
    return switch (name) {
      case EDM ->
          new Preconditioning.Edm(
              keys.number("sigma_data", 0.5, 1e-6, 1e6),
              keys.number("sigma_min", 0, 0, MAX_SIGMA),
              keys.number("sigma_max", Double.POSITIVE_INFINITY, 0, MAX_SIGMA));
      case VP -> {
        Preconditioning.Vp vp = Preconditioning.Vp.DEFAULT;
        yield new Preconditioning.Vp(
            keys.number("beta_d", vp.betaD(), 1e-6, 1e6),
            keys.number("beta_min", vp.betaMin(), 0, 1e6),
            keys.integer("M", vp.steps(), 1, 1_000_000),
            keys.number("epsilon_t", vp.start(), 0, 1));
      }
      case VE -> {
        Preconditioning.Ve ve = new Preconditioning.Ve();
        yield new Preconditioning.Ve(
            keys.number("sigma_min", ve.min(), 0, MAX_SIGMA),
            keys.number("sigma_max", ve.max(), 0, MAX_SIGMA));
      }
      default -> {
        Preconditioning.Iddpm iddpm = Preconditioning.Iddpm.DEFAULT;
        yield new Preconditioning.Iddpm(
            keys.number("C_1", iddpm.c1(), 0, 1),
            keys.number("C_2", iddpm.c2(), 0, 1),
            keys.integer("M", iddpm.steps(), 1, 1_000_000));
      }
    };
  }

  private static SongUNet song(ConfigKeys keys, int outputs) {
    SongVariant usual = SongVariant.DDPMPP;
    return new SongUNet(
        new SongUNet.Config(
            keys.integer("img_resolution", 1, MAX_SIDE),
            keys.integer("img_channels", 1, 64),
            keys.integer("label_dim", 0, 0, 1 << 16),
            keys.integer("model_channels", 128, 1, 4096),
            keys.integers("channel_mult", List.of(1, 2, 2, 2), MAX_LEVELS, 64),
            keys.integer("num_blocks", 4, 1, 64),
            keys.integers("attn_resolutions", List.of(16), MAX_LEVELS, MAX_SIDE),
            keys.number("dropout", 0.1, 0, 0.999),
            keys.integer("augment_dim", 0, 0, 64),
            new SongVariant(
                keys.constant("embedding_type", usual.embedding()),
                keys.integer("channel_mult_noise", usual.noiseWidth(), 1, 64),
                keys.integer("channel_mult_emb", usual.embeddingWidth(), 1, 64),
                keys.constant("encoder_type", usual.encoder()),
                keys.constant("decoder_type", usual.decoder()),
                keys.numbers("resample_filter", usual.filter(), MAX_TAPS),
                keys.number("label_dropout", 0, 0, 1),
                outputs)));
  }

  private static DhariwalUNet dhariwal(ConfigKeys keys, int outputs) {
    return new DhariwalUNet(
        new DhariwalUNet.Config(
            keys.integer("img_resolution", 1, MAX_SIDE),
            keys.integer("img_channels", 1, 64),
            outputs,
            keys.integer("label_dim", 0, 0, 1 << 16),
            keys.integer("model_channels", 192, 1, 4096),
            keys.integers("channel_mult", List.of(1, 2, 3, 4), MAX_LEVELS, 64),
            keys.integer("channel_mult_emb", 4, 1, 64),
            keys.integer("num_blocks", 3, 1, 64),
            keys.integers("attn_resolutions", List.of(32, 16, 8), MAX_LEVELS, MAX_SIDE),
            keys.number("dropout", 0.1, 0, 0.999),
            keys.integer("augment_dim", 0, 0, 64),
            keys.number("label_dropout", 0, 0, 1)));
  }

  /// The configuration of one of EDM's networks, in writing order; null for any other.
  static @Nullable SequencedMap<String, Object> of(Denoiser denoiser) {
    SequencedMap<String, Object> json = new LinkedHashMap<>();
    switch (denoiser.preconditioning()) {
      case Preconditioning.Edm edm -> {
        json.put("precond", EDM);
        json.put("sigma_data", edm.sigmaData());
        if (edm.min() > 0) {
          json.put("sigma_min", edm.min());
        }
        if (Double.isFinite(edm.max())) {
          json.put("sigma_max", edm.max());
        }
      }
      case Preconditioning.Vp vp -> {
        json.put("precond", VP);
        json.put("beta_d", vp.betaD());
        json.put("beta_min", vp.betaMin());
        json.put("M", (long) vp.steps());
        json.put("epsilon_t", vp.start());
      }
      case Preconditioning.Ve ve -> {
        json.put("precond", VE);
        json.put("sigma_min", ve.min());
        json.put("sigma_max", ve.max());
      }
      case Preconditioning.Iddpm iddpm -> {
        json.put("precond", IDDPM);
        json.put("C_1", iddpm.c1());
        json.put("C_2", iddpm.c2());
        json.put("M", (long) iddpm.steps());
      }
      case Preconditioning.Discrete _, Preconditioning.Flow _ -> {
        return null;
      }
    }
    return switch (denoiser.network()) {
      case SongUNet net -> {
        write(json, net.config());
        yield json;
      }
      case DhariwalUNet net -> {
        write(json, net.config());
        yield json;
      }
      default -> null;
    };
  }

  private static void write(SequencedMap<String, Object> json, SongUNet.Config config) {
    SongVariant variant = config.variant();
    json.put("model_type", SONG);
    json.put("img_resolution", (long) config.resolution());
    json.put("img_channels", (long) config.imageChannels());
    json.put("label_dim", (long) config.classes());
    json.put("model_channels", (long) config.channels());
    json.put("channel_mult", longs(config.multipliers()));
    json.put("channel_mult_emb", (long) variant.embeddingWidth());
    json.put("num_blocks", (long) config.blocks());
    json.put("attn_resolutions", longs(config.attention()));
    json.put("dropout", config.dropout());
    json.put("label_dropout", variant.labelDropout());
    json.put("augment_dim", (long) config.augmentation());
    json.put("embedding_type", ConfigKeys.text(variant.embedding()));
    json.put("channel_mult_noise", (long) variant.noiseWidth());
    json.put("encoder_type", ConfigKeys.text(variant.encoder()));
    json.put("decoder_type", ConfigKeys.text(variant.decoder()));
    json.put("resample_filter", variant.filter());
  }

  private static void write(SequencedMap<String, Object> json, DhariwalUNet.Config config) {
    json.put("model_type", DHARIWAL);
    json.put("img_resolution", (long) config.resolution());
    json.put("img_channels", (long) config.imageChannels());
    json.put("label_dim", (long) config.classes());
    json.put("model_channels", (long) config.channels());
    json.put("channel_mult", longs(config.multipliers()));
    json.put("channel_mult_emb", (long) config.embeddingWidth());
    json.put("num_blocks", (long) config.blocks());
    json.put("attn_resolutions", longs(config.attention()));
    json.put("dropout", config.dropout());
    json.put("label_dropout", config.labelDropout());
    json.put("augment_dim", (long) config.augmentation());
  }

  private static List<Long> longs(List<Integer> integers) {
    return integers.stream().map(Integer::longValue).toList();
  }
}
