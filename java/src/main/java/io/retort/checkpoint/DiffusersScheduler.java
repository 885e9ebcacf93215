package io.retort.checkpoint;

import io.retort.diffusion.BetaSchedule;
import io.retort.diffusion.BetaSchedule.Kind;
import io.retort.diffusion.Preconditioning;
import io.retort.diffusion.Preconditioning.Discrete;
import io.retort.diffusion.Preconditioning.Discrete.Prediction;
import io.retort.diffusion.Preconditioning.Flow;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// diffusers' `scheduler_config.json`: which noise the network was trained on and what it predicts.
///
/// Only that is read; what a scheduler does while sampling is left to Retort's samplers. Every
/// scheduler over a table of betas becomes [Discrete], flow matching becomes [Flow].
final class DiffusersScheduler {
  private static final String CLASS = "_class_name";
  private static final String STEPS = "num_train_timesteps";
  private static final String PREDICTION = "prediction_type";
  private static final String FLOW = "FlowMatchEulerDiscreteScheduler";
  private static final String DDPM = "DDPMScheduler";
  private static final int MOST_STEPS = 1_000_000;

  /// Whose beta goes from 1e-4 to 0.02 where the file does not say.
  private static final List<String> BETAS =
      List.of(
          DDPM,
          "DDPMParallelScheduler",
          "DDIMScheduler",
          "DDIMInverseScheduler",
          "DDIMParallelScheduler",
          "PNDMScheduler",
          "LMSDiscreteScheduler",
          "EulerDiscreteScheduler",
          "EulerAncestralDiscreteScheduler",
          "DPMSolverMultistepScheduler",
          "DPMSolverSinglestepScheduler",
          "DEISMultistepScheduler",
          "UniPCMultistepScheduler",
          "SASolverScheduler");

  /// Whose beta goes from 0.00085 to 0.012.
  private static final List<String> LATENT_BETAS =
      List.of(
          "HeunDiscreteScheduler",
          "KDPM2DiscreteScheduler",
          "KDPM2AncestralDiscreteScheduler",
          "DPMSolverSDEScheduler");

  /// Whose root does.
  private static final List<String> SCALED_BETAS = List.of("LCMScheduler", "TCDScheduler");

  private static final List<String> FLOWS =
      List.of(FLOW, "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler");

  private DiffusersScheduler() {}

  /// DDPM's: what a network without a scheduler beside it is taken to be trained on.
  static Preconditioning usual() {
    return new Discrete(BetaSchedule.ddpm(), Prediction.EPSILON);
  }

  /// @throws IllegalArgumentException naming the key that is wrong
  static Preconditioning read(Map<String, @Nullable Object> config) {
    ConfigKeys keys = new ConfigKeys(config);
    List<String> known =
        List.of(BETAS, LATENT_BETAS, SCALED_BETAS, FLOWS).stream().flatMap(List::stream).toList();
    String name = keys.name(CLASS, DDPM, known);
    int steps = keys.integer(STEPS, 1000, 2, MOST_STEPS);
    if (FLOWS.contains(name)) {
      return new Flow(steps);
    }
    if (keys.has("trained_betas")) {
      throw new IllegalArgumentException("trained_betas must be null, got a list");
    }
    keys.name("timestep_type", "discrete", List.of("discrete"));
    keys.name("interpolation_type", "linear", List.of("linear"));
    boolean latent = !BETAS.contains(name);
    String growth =
        keys.name(
            "beta_schedule",
            SCALED_BETAS.contains(name) ? "scaled_linear" : "linear",
            List.of("linear", "scaled_linear", "squaredcos_cap_v2"));
    BetaSchedule schedule =
        new BetaSchedule(
            switch (growth) {
              case "linear" -> Kind.LINEAR;
              case "scaled_linear" -> Kind.SCALED_LINEAR;
              default -> Kind.COSINE;
            },
            keys.number("beta_start", latent ? 0.00085 : 1e-4, 0, 1),
            keys.number("beta_end", latent ? 0.012 : 0.02, 0, 1),
            steps,
            keys.flag("rescale_betas_zero_snr", false));
    String prediction =
        keys.name(
            PREDICTION, "epsilon", List.of("epsilon", "sample", "v_prediction", "flow_prediction"));
    return switch (prediction) {
      case "epsilon" -> new Discrete(schedule, Prediction.EPSILON);
      case "sample" -> new Discrete(schedule, Prediction.SAMPLE);
      case "v_prediction" -> new Discrete(schedule, Prediction.V);
      default -> new Flow(steps);
    };
  }

  /// The configuration in writing order; null for a preconditioning that no scheduler describes.
  static @Nullable SequencedMap<String, Object> of(Preconditioning preconditioning) {
    SequencedMap<String, Object> json = new LinkedHashMap<>();
    if (preconditioning instanceof Flow flow && flow.timeScale() == Math.rint(flow.timeScale())) {
      json.put(CLASS, FLOW);
      json.put(STEPS, (long) flow.timeScale());
      return json;
    }
    if (!(preconditioning instanceof Discrete discrete)) {
      return null;
    }
    BetaSchedule schedule = discrete.schedule();
    json.put(CLASS, DDPM);
    json.put(STEPS, (long) schedule.steps());
    json.put("beta_start", schedule.start());
    json.put("beta_end", schedule.end());
    json.put(
        "beta_schedule",
        switch (schedule.kind()) {
          case LINEAR -> "linear";
          case SCALED_LINEAR -> "scaled_linear";
          case COSINE -> "squaredcos_cap_v2";
        });
    json.put(
        PREDICTION,
        switch (discrete.prediction()) {
          case EPSILON -> "epsilon";
          case SAMPLE -> "sample";
          case V -> "v_prediction";
        });
    json.put("rescale_betas_zero_snr", schedule.zeroTerminal());
    return json;
  }
}
