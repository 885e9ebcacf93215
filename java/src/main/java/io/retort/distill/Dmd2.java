package io.retort.distill;

import static java.util.Objects.requireNonNull;

import io.retort.data.Batch;
import io.retort.diffusion.KarrasSigmas;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.net.DiscriminatorHead;
import io.retort.net.UNet;
import io.retort.op.Add;
import io.retort.op.Affine;
import io.retort.op.EdmLoss;
import io.retort.op.ScoreDifference;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// DMD2 with the Embedding Loss: one-step student, frozen teacher, critic (fake score) with a GAN
/// head, random networks.
///
/// Student phase, every `criticSteps` steps: `x = D_student(80 z; 80)`, minimise `dm * score
/// difference + gan * softplus(-logit) + embedding * MMD`. Critic phase, every step: denoising loss
/// on student images `+ criticGan * GAN loss`, on the images of the student phase where one has
/// just run. Each term is switched off by weight 0. Sources: DMD2, Yin et al. 2024 (arXiv
/// 2405.14867), sections 4.2 to 4.4; Embedding Loss, Ying et al. 2026 (arXiv 2604.22379).
public record Dmd2(DiffusionNet network, Settings settings) implements Method {
  public static final String TEACHER = "teacher";
  public static final String STUDENT = "student";
  public static final String CRITIC = "critic";
  public static final String HEAD = "head";

  private static final String EMBEDDING_WEIGHT = "embedding_weight";
  private static final String GENERATED = "generated";
  private static final int BINS = 1000;
  private static final ScoreDifference DIFFERENCE =
      new ScoreDifference(ScoreDifference.Form.DMD, 1e-6);

  /// The method's numbers.
  ///
  /// @param batch generated images a step
  /// @param realBatch real images a step, at least `batch`; the Embedding Loss compares with all of
  ///   them
  /// @param criticSteps critic updates per student update (two-time-scale rule)
  /// @param sigmaMax noise level the student starts from
  /// @param distributionMatching weight of the score difference
  /// @param gan weight of the student's GAN loss
  /// @param criticGan weight of the head's GAN loss beside the denoising loss
  /// @param embedding Embedding Loss, null for none
  /// @param embeddingWeight its weight; if `calibrated`, the wanted ratio of gradient norms to the
  ///   other terms instead
  /// @param calibrated whether the weight is found from gradient norms before the first step
  /// @param sigmaData standard deviation of the data
  public record Settings(
      int batch,
      int realBatch,
      int criticSteps,
      double sigmaMax,
      double distributionMatching,
      double gan,
      double criticGan,
      @Nullable EmbeddingLoss embedding,
      double embeddingWeight,
      boolean calibrated,
      double sigmaData) {

    public Settings {
      if (batch < 1 || realBatch < batch || criticSteps < 1) {
        throw new IllegalArgumentException(
            "dmd2: batch and critic_steps must be >= 1 and real_batch >= batch, got "
                + batch
                + ", "
                + criticSteps
                + ", "
                + realBatch);
      }
      if (distributionMatching == 0 && gan == 0 && (embedding == null || embeddingWeight == 0)) {
        throw new IllegalArgumentException("dmd2: every term of the student is switched off");
      }
    }

    boolean adversarial() {
      return gan > 0;
    }

    boolean embeds() {
      return embedding != null && embeddingWeight > 0;
    }

    /// Whether a critic has to be trained at all.
    boolean criticised() {
      return distributionMatching > 0 || adversarial();
    }
  }

  @Override
  public String name() {
    return "dmd2";
  }

  @Override
  public int batch() {
    return settings.realBatch;
  }

  @Override
  public List<Role> roles() {
    Optional<String> teacher = Optional.of(TEACHER);
    List<Role> roles = new ArrayList<>();
    roles.add(new Role(TEACHER, network, false, teacher, false));
    roles.add(new Role(STUDENT, network, true, teacher, true));
    if (settings.criticised()) {
      roles.add(new Role(CRITIC, network, true, teacher, false));
    }
    if (settings.adversarial()) {
      roles.add(new Role(HEAD, head(), true, Optional.empty(), false));
    }
    return roles;
  }

  private DiscriminatorHead head() {
    if (network instanceof UNet unet) {
      return new DiscriminatorHead(unet.bottleneckSide(), unet.bottleneckChannels());
    }
    throw new IllegalArgumentException(
        "dmd2: the GAN needs a U-Net, whose bottleneck the discriminator looks at, got "
            + network.getClass().getSimpleName());
  }

  @Override
  public List<Phase> phases() {
    List<Phase> phases = new ArrayList<>();
    phases.add(new Phase(STUDENT, settings.criticSteps, Set.of(STUDENT), this::student));
    if (settings.criticised()) {
      Set<String> trains = settings.adversarial() ? Set.of(CRITIC, HEAD) : Set.of(CRITIC);
      phases.add(new Phase(CRITIC, 1, trains, this::critic));
    }
    return phases;
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    Var x = generate(nets, labels(real), noise);
    nets.leave(GENERATED, x);
    Sum sum = others(nets, x, real, noise);
    if (settings.embeds()) {
      double weight =
          settings.calibrated ? nets.calibrated(EMBEDDING_WEIGHT) : settings.embeddingWeight;
      sum.add("embedding", weight, embedding(nets, x, real, noise));
    }
    return sum.terms();
  }

  /// The student's terms other than the Embedding Loss.
  private Sum others(Nets nets, Var x, Batch real, Noise noise) {
    Sum sum = new Sum(nets.tape());
    if (settings.distributionMatching > 0) {
      sum.add(
          "distribution_matching", settings.distributionMatching, matching(nets, x, real, noise));
    }
    if (settings.adversarial()) {
      sum.add("gan", settings.gan, deception(nets, x, real, noise));
    }
    return sum;
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    int[] labels = labels(real);
    Tape tape = nets.tape();
    Var fake = nets.left(GENERATED).orElseGet(() -> generate(nets, labels, noise).detach());
    float[] sigma = noise.bins(KarrasSigmas.EDM, settings.batch, BINS, 0, 1);
    Var denoised = nets.denoise(CRITIC, noise.add(fake, sigma), sigma, labels);
    Var level = tape.constant(Shape.of(sigma.length), sigma);
    EdmLoss loss = new EdmLoss(settings.sigmaData, EdmLoss.Pixels.MEAN);
    Sum sum = new Sum(tape);
    sum.add("denoising", 1, tape.apply(loss, denoised, fake, level));
    if (settings.adversarial()) {
      Var fakeLogits = logits(nets, fake, labels, noise);
      Var realLogits = logits(nets, images(nets, real, settings.batch), labels, noise);
      sum.add(
          "discriminator", settings.criticGan, Adversarial.discriminator(fakeLogits, realLogits));
    }
    return sum.terms();
  }

  /// One-step images from fresh latents.
  private Var generate(Nets nets, int[] labels, Noise noise) {
    Shape shape = nets.images(STUDENT, settings.batch);
    float[] top = new float[settings.batch];
    Arrays.fill(top, (float) settings.sigmaMax);
    return nets.denoise(STUDENT, noise.normal(nets.tape(), shape, settings.sigmaMax), top, labels);
  }

  private Var matching(Nets nets, Var x, Batch real, Noise noise) {
    float[] sigma = levels(noise);
    Var noised = noise.add(x.detach(), sigma);
    Var byTeacher = nets.denoise(TEACHER, noised, sigma, labels(real)).detach();
    Var byCritic = nets.denoise(CRITIC, noised, sigma, labels(real)).detach();
    return nets.tape().apply(DIFFERENCE, x, byTeacher, byCritic);
  }

  /// Noise levels of the score difference: neither the smallest nor the largest 2 %.
  private float[] levels(Noise noise) {
    return noise.bins(KarrasSigmas.EDM, settings.batch, BINS, 0.02, 0.98);
  }

  private Var deception(Nets nets, Var x, Batch real, Noise noise) {
    return Adversarial.looksReal(logits(nets, x, labels(real), noise));
  }

  private Var embedding(Nets nets, Var x, Batch real, Noise noise) {
    EmbeddingLoss loss = requireNonNull(settings.embedding);
    Var reals = nets.input(images(nets, real, real.count()));
    return loss.compute(nets.input(x), reals, noise.key(Purpose.EMBEDDING));
  }

  private Var logits(Nets nets, Var x, int[] labels, Noise noise) {
    float[] sigma = noise.bins(KarrasSigmas.EDM, settings.batch, BINS, 0, 1);
    return nets.discriminate(HEAD, CRITIC, noise.add(x, sigma), sigma, labels);
  }

  private int[] labels(Batch real) {
    return Arrays.copyOf(real.labels(), settings.batch);
  }

  private static Var images(Nets nets, Batch real, int count) {
    Shape shape = nets.images(STUDENT, count);
    int values = Math.toIntExact(shape.elements());
    return nets.tape().constant(shape, Arrays.copyOf(real.images(), values));
  }

  /// The Embedding Loss's weight that makes its gradient `embeddingWeight` times as long as the
  /// score term's natural one: `(x - D_teacher) / mean |x - D_teacher|` per element, both taken at
  /// the images of the untrained student.
  ///
  /// The score difference itself cannot serve: before the first step the critic is the teacher and
  /// it is zero. This measure needs neither critic nor discriminator, so every ablation gets the
  /// same weight. Source: ours.
  @Override
  public Map<String, Double> calibrate(Nets nets, Batch batch, Noise noise) {
    if (!settings.embeds() || !settings.calibrated) {
      return Map.of();
    }
    Var x = generate(nets, labels(batch), noise).detach();
    double score = gradientNorm(nets, x, (on, images) -> realScore(on, images, batch, noise));
    double embedding = gradientNorm(nets, x, (on, images) -> embedding(on, images, batch, noise));
    return Map.of(EMBEDDING_WEIGHT, settings.embeddingWeight * score / embedding);
  }

  /// The score term with the sample itself in the critic's place.
  private Var realScore(Nets nets, Var x, Batch real, Noise noise) {
    float[] sigma = levels(noise);
    Var byTeacher = nets.denoise(TEACHER, noise.add(x.detach(), sigma), sigma, labels(real));
    return nets.tape().apply(DIFFERENCE, x, byTeacher.detach(), x.detach());
  }

  private interface TermOf {
    Var at(Nets nets, Var images);
  }

  private double gradientNorm(Nets nets, Var x, TermOf term) {
    try (Scope scope = new Scope(nets.tape().backend().memory())) {
      Tensor sink = scope.zeros(x.shape(), x.value().dtype());
      Tape tape = new Tape(nets.tape().backend(), scope, Set.of());
      Var images = tape.tracked(x.value(), sink);
      tape.backward(term.at(nets.on(tape), images));
      double squares = 0;
      for (float g : sink.floats()) {
        squares += (double) g * g;
      }
      return Math.sqrt(squares);
    }
  }

  /// A weighted sum of named terms.
  private static final class Sum {
    private final Tape tape;
    private final SequencedMap<String, Var> parts = new LinkedHashMap<>();
    private @Nullable Var total;

    Sum(Tape tape) {
      this.tape = tape;
    }

    void add(String name, double weight, Var term) {
      parts.put(name, term);
      Var before = total;
      total =
          before == null
              ? tape.apply(new Affine(weight, 0), term)
              : tape.apply(new Add(1, weight), before, term);
    }

    Terms terms() {
      return new Terms(requireNonNull(total), parts);
    }
  }
}
