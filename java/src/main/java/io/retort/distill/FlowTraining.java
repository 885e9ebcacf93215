package io.retort.distill;

import io.retort.data.Batch;
import io.retort.diffusion.Preconditioning;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.List;
import java.util.Set;

/// Plain training of a teacher by flow matching: on the line `x_t = (1 - t) clean + t noise` the
/// network learns the velocity `v = noise - clean`, `mean |F(x_t, t) - v|^2`.
///
/// Images are noised as everywhere in Retort, `clean + sigma noise` with `sigma = t / (1 - t)`, and
/// the denoiser is `D = x_t - t F`; so `F - v = (clean - D) / t`, which is what the loss is made
/// of. Sources: Liu et al. 2022, eq. 1; Lipman et al. 2022, section 4.1; for times by a logistic
/// normal distribution Esser et al. 2024, section 3.1.
///
/// @param network the teacher
public record FlowTraining(DiffusionNet network, Settings settings) implements Method {

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "flow",
          MethodKind.Goal.TEACHER,
          "teacher: flow matching, the velocity from image to noise",
          "Lipman et al. 2022, arXiv 2210.02747; Liu et al. 2022, arXiv 2209.03003",
          List.of("fashion-mnist-dit", "fashion-mnist-unet2d"),
          "none yet",
          Settings.DEFAULT,
          (settings, inputs) -> new FlowTraining(inputs.teacher(), settings),
          MethodKind.Ablations.none());

  /// Times that are trained: neither without noise, where the velocity cannot be told from the
  /// image, nor without image.
  private static final double LEAST_TIME = 1e-3;

  /// How times are drawn.
  public enum Times {
    /// Evenly in (0, 1).
    UNIFORM,
    /// `1 / (1 + exp(-n))`, n normal.
    LOGIT_NORMAL
  }

  /// The method's numbers.
  ///
  /// @param batch images a step
  /// @param times how t is drawn
  /// @param mean of n, where times are logit-normal; above 0 there is more noise
  /// @param std standard deviation of n
  /// @param timeScale the network is told `time_scale t`; 1000, as diffusers' are
  /// @param labelDropout how often an image comes without its class, beside what a DiT drops itself
  public record Settings(
      int batch,
      Times times,
      double mean,
      double std,
      int timeScale,
      double labelDropout,
      AdamSpec optimizer)
      implements TeacherTraining {
    public static final Settings DEFAULT =
        new Settings(
            64,
            Times.LOGIT_NORMAL,
            0,
            1,
            1000,
            0,
            new AdamSpec(1e-3, 0.9, 0.999, 1e-8, 0, 0, 500, 0));

    public Settings {
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
      Checks.require(std > 0, "std must be above 0, got " + std);
      Checks.require(timeScale >= 1, "time_scale must be at least 1, got " + timeScale);
      Checks.require(
          labelDropout >= 0 && labelDropout < 1,
          "label_dropout must be in [0, 1), got " + labelDropout);
    }

    @Override
    public Preconditioning preconditioning() {
      return new Preconditioning.Flow(timeScale);
    }

    /// A time of its own for every image.
    double[] draw(PhiloxKey key, int count) {
      double[] drawn = new double[count];
      for (int i = 0; i < count; i++) {
        double t =
            switch (times) {
              case UNIFORM -> Philox.uniform(key, i);
              case LOGIT_NORMAL -> 1 / (1 + Math.exp(-(mean + std * Philox.normal(key, i))));
            };
        drawn[i] = Math.clamp(t, LEAST_TIME, 1 - LEAST_TIME);
      }
      return drawn;
    }
  }

  @Override
  public String name() {
    return KIND.name();
  }

  @Override
  public int batch() {
    return settings.batch;
  }

  @Override
  public List<Role> roles() {
    return List.of(Role.drawn(TEACHER, network, settings.optimizer, true));
  }

  @Override
  public List<Phase> phases() {
    return List.of(new Phase("flow", 1, Set.of(TEACHER), this::velocity));
  }

  private Terms velocity(Nets nets, Batch images, Noise noise) {
    Tape tape = nets.tape();
    Var clean = nets.images(images, images.count());
    double[] times = settings.draw(noise.key(Purpose.TIME), images.count());
    float[] sigma = new float[times.length];
    double[] perTime = new double[times.length];
    for (int i = 0; i < times.length; i++) {
      sigma[i] = (float) (times[i] / (1 - times[i]));
      perTime[i] = 1 / times[i];
    }
    Var noised = noise.add(clean, sigma);
    PhiloxKey dropout = noise.key(Purpose.DROPOUT);
    Var denoised = nets.denoise(TEACHER, noised, sigma, labels(images, noise), dropout);
    Var error = ScoreMatching.perSample(denoised.sub(tape.constant(clean.value())), perTime);
    return WeightedSum.single("velocity", error.square().mean());
  }

  private int[] labels(Batch images, Noise noise) {
    return settings.labelDropout == 0
        ? images.labels()
        : noise.dropped(images.labels(), settings.labelDropout);
  }
}
