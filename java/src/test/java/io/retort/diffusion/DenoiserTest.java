package io.retort.diffusion;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.Golden;
import io.retort.backend.CpuBackend;
import io.retort.diffusion.Preconditioning.Coefficients;
import io.retort.diffusion.Preconditioning.Discrete.Prediction;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.SongUNet;
import io.retort.net.SongVariant;
import io.retort.op.Backend;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// What a denoiser adds around the golden network: coefficients, labels, guidance, noise on the
/// way.
final class DenoiserTest {
  private static final SongUNet NET = net(SongVariant.DDPMPP);
  private static final float[] SIGMA = {0.3f, 5};
  private static final int[] LABELS = {2, 0};

  private final Backend backend = CpuBackend.open();
  private Parameters parameters;
  private float[] x;

  private static SongUNet net(SongVariant variant) {
    return new SongUNet(
        new SongUNet.Config(8, 1, 3, 8, List.of(1, 2), 1, List.of(4), 0, 0, variant));
  }

  @BeforeEach
  void load() {
    parameters = NET.plan().allocate(backend.memory());
    try (Golden golden = Golden.open("songunet_tiny_8")) {
      golden.load("w/", parameters);
      x = golden.images("in/x");
    }
  }

  @AfterEach
  void free() {
    parameters.close();
  }

  static Stream<Preconditioning> families() {
    BetaSchedule linear = BetaSchedule.ddpm();
    return Stream.of(
        new Preconditioning.Edm(0.7),
        Preconditioning.Vp.DEFAULT,
        new Preconditioning.Ve(),
        Preconditioning.Iddpm.DEFAULT,
        new Preconditioning.Discrete(linear, Prediction.EPSILON),
        new Preconditioning.Discrete(linear, Prediction.SAMPLE),
        new Preconditioning.Discrete(linear, Prediction.V),
        new Preconditioning.Flow(1000));
  }

  @ParameterizedTest
  @MethodSource("families")
  void combinesInputAndOutputAsTheFamilySays(Preconditioning family) {
    try (Scope scope = new Scope(backend.memory())) {
      Tape tape = Tape.inference(backend, scope);
      float[] scaled = new float[x.length];
      float[] told = new float[2];
      for (int i = 0; i < x.length; i++) {
        scaled[i] = (float) (family.in(SIGMA[i / 64]) * x[i]);
      }
      for (int n = 0; n < 2; n++) {
        told[n] = (float) family.noise(SIGMA[n]);
      }
      float[] f =
          NET.apply(
                  tape,
                  parameters,
                  tape.constant(Shape.of(2, 8, 8, 1), scaled),
                  tape.constant(Shape.of(2), told),
                  tape.constant(Shape.of(2, 3), new float[] {0, 0, 1, 1, 0, 0}),
                  null)
              .value()
              .floats();
      float[] expected = new float[x.length];
      for (int i = 0; i < x.length; i++) {
        double sigma = SIGMA[i / 64];
        expected[i] = (float) (family.skip(sigma) * x[i] + family.out(sigma) * f[i]);
      }
      Golden.assertClose("D", denoised(family, LABELS), expected, 1e-5, 1e-5);
    }
  }

  @ParameterizedTest
  @MethodSource("families")
  void theScaleOfAStateDoesNotMatter(Preconditioning family) {
    Coefficients exploding = family.at(Level.of(3));
    Coefficients scaled = family.at(new Level(0.25, 0.75, Double.NaN));
    assertThat(scaled.in() * 0.25).isCloseTo(exploding.in(), within(1e-12));
    assertThat(scaled.skip() * 0.25).isCloseTo(exploding.skip(), within(1e-12));
    assertThat(scaled.out()).isCloseTo(exploding.out(), within(1e-12));
    assertThat(scaled.noise()).isCloseTo(exploding.noise(), within(1e-9));
  }

  @Test
  void pureNoiseNeedsAPredictionThatKnowsTheImage() {
    Level pure = new Level(0, 1, Double.NaN);
    BetaSchedule zero = new BetaSchedule(BetaSchedule.Kind.LINEAR, 1e-4, 0.02, 1000, true);
    assertThat(new Preconditioning.Discrete(zero, Prediction.V).at(zero.level(999)))
        .isEqualTo(new Coefficients(0, -1, 1, 999));
    assertThat(new Preconditioning.Flow(1000).at(pure)).isEqualTo(new Coefficients(1, -1, 1, 1000));
    assertThatThrownBy(() -> new Preconditioning.Discrete(zero, Prediction.EPSILON).at(pure))
        .hasMessageContaining("a state without signal needs a network that predicts v");
    assertThatThrownBy(() -> new Preconditioning.Edm(0.5).at(pure)).hasMessageContaining("got Edm");
  }

  @Test
  void timesOfNoiseLevels() {
    BetaSchedule linear = BetaSchedule.ddpm();
    for (int t = 0; t < 1000; t++) {
      assertThat(linear.time((float) linear.sigma(t))).isEqualTo(t);
    }
    double between = Math.sqrt(linear.sigma(500) * linear.sigma(501));
    assertThat(linear.time(between)).isCloseTo(500.5, within(1e-9));
    assertThat(linear.time(1e-6)).isZero();
    assertThat(linear.time(1e6)).isEqualTo(999);
  }

  private float[] denoised(Preconditioning family, int @Nullable [] labels) {
    return denoised(new Denoiser(NET, family), labels, null);
  }

  private float[] denoised(
      Denoiser denoiser, int @Nullable [] labels, @Nullable PhiloxKey dropout) {
    try (Scope scope = new Scope(backend.memory())) {
      Tape tape = Tape.inference(backend, scope);
      Var images = tape.constant(Shape.of(2, 8, 8, 1), x);
      return denoiser.denoise(tape, parameters, images, SIGMA, labels, dropout).value().floats();
    }
  }

  @Test
  void labelsAreDroppedOnlyWhileTraining() {
    SongVariant usual = SongVariant.DDPMPP;
    SongUNet forgetful =
        net(
            new SongVariant(
                usual.embedding(),
                usual.noiseWidth(),
                usual.embeddingWidth(),
                usual.encoder(),
                usual.decoder(),
                usual.filter(),
                1,
                1));
    Denoiser denoiser = new Denoiser(forgetful, 0.5);
    float[] conditional = denoised(denoiser, LABELS, null);
    assertThat(conditional).isNotEqualTo(denoised(denoiser, null, null));
    PhiloxKey key = new PhiloxKey(1, Purpose.DROPOUT, 0, 0);
    assertThat(denoised(denoiser, LABELS, key)).isEqualTo(denoised(denoiser, null, null));
    assertThat(denoised(new Denoiser(NET, 0.5), LABELS, key)).isEqualTo(conditional);
  }

  @Test
  void guidanceMovesAwayFromTheNullClass() {
    float[] ofClass = images(1).denoise(x, SIGMA, LABELS);
    float[] ofNull = images(1).denoise(x, SIGMA, null);
    float[] guided = images(2.5).denoise(x, SIGMA, LABELS);
    float[] expected = new float[x.length];
    for (int i = 0; i < expected.length; i++) {
      expected[i] = ofNull[i] + 2.5f * (ofClass[i] - ofNull[i]);
    }
    Golden.assertClose("guided", guided, expected, 1e-5, 1e-5);
    Golden.assertClose("null", images(0).denoise(x, SIGMA, LABELS), ofNull, 1e-6, 1e-6);
    assertThat(images(2.5).denoise(x, SIGMA, null)).isEqualTo(ofNull);
    assertThat(images(2.5).evaluations()).isEqualTo(2 * images(1).evaluations());
  }

  private ImageSampler images(double guidance) {
    return ImageSampler.of(backend, new Denoiser(NET, 0.5), parameters, 3).with(guidance, 0);
  }

  @Test
  void noiseOnTheWayBelongsToTheImage() {
    HeunSampler churned = new HeunSampler(KarrasSigmas.EDM, 4, 40, 0.05, 50, 1.003);
    ImageSampler all = ImageSampler.of(backend, new Denoiser(NET, 0.5), parameters, churned);
    ImageSampler pairs =
        new ImageSampler(backend, new Denoiser(NET, 0.5), parameters, churned, 1, 0, 2);
    float[] latents = all.latents(4, 0, 5);
    float[] together = all.sample(latents, null, done -> {});
    Golden.assertClose("in pairs", pairs.sample(latents, null, done -> {}), together, 1e-4, 1e-4);
    float[] twice = Arrays.copyOf(Arrays.copyOf(latents, 64), 128);
    System.arraycopy(latents, 0, twice, 64, 64);
    float[] copies = all.sample(twice, null, done -> {});
    assertThat(Arrays.copyOf(copies, 64)).isNotEqualTo(Arrays.copyOfRange(copies, 64, 128));
    assertThat(all.with(1, 9).sample(latents, null, done -> {})).isNotEqualTo(together);
  }
}
