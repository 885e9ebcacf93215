package io.retort.diffusion;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.Golden;
import io.retort.diffusion.Preconditioning.Coefficients;
import io.retort.diffusion.Preconditioning.Discrete.Prediction;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Beta schedules and every sampler, step by step, against the schedulers of diffusers: given
/// outputs of a network, all states in between.
final class SchedulerGoldenTest {
  private static final BetaSchedule LINEAR = BetaSchedule.ddpm();
  private static final BetaSchedule COSINE =
      new BetaSchedule(BetaSchedule.Kind.COSINE, 1e-4, 0.02, 1000, false);
  private static final BetaSchedule ZERO_TERMINAL =
      new BetaSchedule(BetaSchedule.Kind.LINEAR, 1e-4, 0.02, 1000, true);
  private static final BetaSchedule SCALED =
      new BetaSchedule(BetaSchedule.Kind.SCALED_LINEAR, 0.00085, 0.012, 1000, false);

  private final Golden golden = Golden.open("schedulers");

  @Test
  void signalLevelsMatch() {
    assertSignals("ddpm", LINEAR);
    assertSignals("ddpm_cosine", COSINE);
    assertSignals("ddim_v", ZERO_TERMINAL);
    assertSignals("lcm", SCALED);
    assertThat(ZERO_TERMINAL.alphaBar(999)).isZero();
  }

  private void assertSignals(String name, BetaSchedule schedule) {
    float[] expected = golden.floats(name + "/alphas_cumprod");
    for (int t = 0; t < expected.length; t++) {
      assertThat(schedule.alphaBar(t))
          .as("%s alpha_bar %d", name, t)
          .isCloseTo(expected[t], within(2e-6 * expected[t] + 1e-12));
    }
  }

  @Test
  void noisedImagesMatch() {
    assertNoised("ddpm", LINEAR);
    assertNoised("ddim", LINEAR);
    assertNoised("ddpm_cosine", COSINE);
    assertNoised("ddim_v", ZERO_TERMINAL);
    assertNoised("lcm", SCALED);
  }

  private void assertNoised(String name, BetaSchedule schedule) {
    float[] clean = golden.floats(name + "/addnoise/x0");
    float[] noise = golden.floats(name + "/addnoise/noise");
    long[] times = golden.longs(name + "/addnoise/t");
    float[] noised = new float[clean.length];
    for (int i = 0; i < noised.length; i++) {
      Level level = schedule.level((int) times[i / (clean.length / times.length)]);
      noised[i] = (float) (level.signal() * clean[i] + level.noise() * noise[i]);
    }
    Golden.assertClose(name, noised, golden.floats(name + "/addnoise/xt"), 1e-5, 1e-5);
  }

  @Test
  void ddpm() {
    compare("ddpm", LINEAR, new DdpmSampler(leading(LINEAR, 10), true, false));
    compare("ddpm_cosine", COSINE, new DdpmSampler(leading(COSINE, 8), false, false));
  }

  private static Trajectory leading(BetaSchedule schedule, int steps) {
    return Trajectory.discrete(schedule, steps, Spacing.LEADING);
  }

  @Test
  void ddim() {
    Trajectory even = Trajectory.jumps(LINEAR, 10, Spacing.LEADING);
    compare("ddim", LINEAR, new DdimSampler(even, 0, true));
  }

  @Test
  void ddimFromPureNoise() {
    Trajectory trailing = Trajectory.jumps(ZERO_TERMINAL, 6, Spacing.TRAILING);
    var network = new Preconditioning.Discrete(ZERO_TERMINAL, Prediction.V);
    compare("ddim_v", network, new DdimSampler(trailing, 0, false));
  }

  @Test
  void euler() {
    compare("euler", LINEAR, DdimSampler.euler(Trajectory.sigmas(LINEAR, 10, Spacing.LINSPACE)));
  }

  @Test
  void dpmSolver() {
    compare(
        "dpmpp2m", LINEAR, new DpmSolverSampler(Trajectory.solver(LINEAR, 10, Spacing.LINSPACE)));
    compare("dpmpp2m_karras", LINEAR, new DpmSolverSampler(Trajectory.solverKarras(LINEAR, 10, 7)));
  }

  @Test
  void lcm() {
    compare("lcm", SCALED, LcmSampler.of(SCALED, 4, 50, 10));
  }

  @Test
  void flowMatching() {
    compare("flow", new Preconditioning.Flow(1000), DdimSampler.euler(Trajectory.flow(6, 3, 1000)));
  }

  private void compare(String name, BetaSchedule schedule, Sampler sampler) {
    compare(name, new Preconditioning.Discrete(schedule, Prediction.EPSILON), sampler);
  }

  private void compare(String name, Preconditioning network, Sampler sampler) {
    float[] outputs = golden.floats(name + "/in/model_output");
    float[] states = golden.floats(name + "/traj/x");
    double[] times =
        name.equals("euler") || name.equals("flow")
            ? golden.doubles(name + "/timesteps")
            : Arrays.stream(golden.longs(name + "/timesteps")).asDoubleStream().toArray();
    int size = states.length / (times.length + 1);
    int[] calls = {0};
    Sampler.Denoise denoise =
        (x, level) -> {
          int call = calls[0]++;
          Coefficients at = network.at(level);
          // float32 sigmas on their side: the flow's times of 1000 carry 6e-5
          assertThat(at.noise()).isCloseTo(times[call], within(2e-4));
          assertInput(name, at, call, x);
          double[] clean = new double[size];
          for (int i = 0; i < size; i++) {
            clean[i] = at.skip() * x[i] + at.out() * outputs[call * size + i];
          }
          return clean;
        };
    Sampler.Normals normals =
        step -> {
          float[] noise = golden.floats(name + "/in/noise");
          return widen(Arrays.copyOfRange(noise, step * size, (step + 1) * size));
        };
    double[] first = widen(Arrays.copyOf(states, size));
    double start =
        switch (sampler) {
          case DdimSampler ddim -> ddim.trajectory().start();
          case DdpmSampler ddpm -> ddpm.trajectory().start();
          case DpmSolverSampler solver -> solver.trajectory().start();
          case LcmSampler lcm -> lcm.trajectory().start();
          case HeunSampler heun -> heun.sigmas().max();
        };
    for (int i = 0; i < size; i++) {
      first[i] /= start;
    }
    double[] last =
        sampler.sample(
            first, denoise, normals, (done, x) -> assertState(name, x, states, done * size));
    assertThat(calls[0]).isEqualTo(times.length).isEqualTo(sampler.evaluations());
    assertState(name, last, states, times.length * size);
  }

  private void assertInput(String name, Coefficients at, int call, double[] x) {
    if (!golden.has(name + "/traj/scaled_input")) {
      return;
    }
    float[] expected = golden.floats(name + "/traj/scaled_input");
    for (int i = 0; i < x.length; i++) {
      double bound = 1e-4 * Math.max(1, Math.abs(expected[call * x.length + i]));
      assertThat(at.in() * x[i])
          .as("%s input of call %d", name, call)
          .isCloseTo(expected[call * x.length + i], within(bound));
    }
  }

  private static void assertState(String name, double[] actual, float[] expected, int offset) {
    for (int i = 0; i < actual.length; i++) {
      double bound = 1e-4 * Math.max(1, Math.abs(expected[offset + i]));
      assertThat(actual[i])
          .as("%s state %d [%d]", name, offset / actual.length, i)
          .isCloseTo(expected[offset + i], within(bound));
    }
  }

  private static double[] widen(float[] values) {
    double[] wide = new double[values.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = values[i];
    }
    return wide;
  }

  @Test
  void eulersPathDoesNotDependOnTheScaleOfTheStates() {
    Trajectory exploding = Trajectory.karras(KarrasSigmas.EDM, 7, new Preconditioning.Edm(0.5));
    double[] latents = {0.3, -1.2, 0.7};
    Sampler.Denoise shrink =
        (x, level) ->
            Arrays.stream(x)
                .map(each ->
                    level.signal()
                        * each
                        / (level.signal() * level.signal() + level.noise() * level.noise()))
                .toArray();
    List<double[]> results =
        List.of(exploding, exploding.variancePreserving()).stream()
            .map(path ->
                DdimSampler.euler(path)
                    .sample(latents, shrink, step -> new double[3], (done, x) -> {}))
            .toList();
    assertThat(results.getFirst()).containsExactly(results.getLast(), within(1e-12));
  }

  /// Where several of Karras' levels round to one that the network knows, a step is of length 0.
  @ParameterizedTest
  @ValueSource(ints = {80, 200, 1000})
  void dpmSolverStepsOverLevelsThatRoundToOne(int steps) {
    Trajectory path = Trajectory.karras(KarrasSigmas.EDM, steps, Preconditioning.Iddpm.DEFAULT);
    assertThat(path.steps())
        .anyMatch(step -> step.from().sigma() == step.to().sigma())
        .hasSize(steps);
    double[] drawn =
        new DpmSolverSampler(path.variancePreserving())
            .sample(
                new double[] {0.3, -1.2},
                (x, level) -> new double[] {0.25, -0.5},
                step -> new double[2],
                (done, x) -> assertThat(Arrays.stream(x)).allMatch(Double::isFinite));
    assertThat(drawn).containsExactly(new double[] {0.25, -0.5}, within(1e-9));
  }

  @ParameterizedTest
  @EnumSource(
      value = Spacing.class,
      names = {"LEADING", "LINSPACE"})
  void aSingleStepDoesNotStartAtTheCleanEnd(Spacing spacing) {
    assertThatThrownBy(() -> Trajectory.discrete(LINEAR, 1, spacing))
        .hasMessageContaining("would start at the cleanest time step; take trailing spacing");
    assertThat(Trajectory.discrete(LINEAR, 1, Spacing.TRAILING).steps().getFirst().from().time())
        .isEqualTo(999);
  }

  @Test
  void ddimWithFullNoiseIsDdpm() {
    Trajectory path = Trajectory.discrete(COSINE, 9, Spacing.TRAILING);
    double[] latents = {0.3, -1.2, 0.7};
    Sampler.Denoise shrink =
        (x, level) -> Arrays.stream(x).map(each -> 0.8 * level.signal() * each).toArray();
    Sampler.Normals normals = step -> new double[] {0.1 * step, -1, 0.5};
    double[] implicit =
        new DdimSampler(path, 1, false).sample(latents, shrink, normals, (done, x) -> {});
    double[] ancestral =
        new DdpmSampler(path, false, false).sample(latents, shrink, normals, (done, x) -> {});
    assertThat(implicit).containsExactly(ancestral, within(1e-12));
  }

  @Test
  void largeVarianceIsTheForwardSteps() {
    Level from = LINEAR.level(500);
    Level to = LINEAR.level(400);
    Trajectory step = new Trajectory(List.of(new Trajectory.Step(from, to)), 1);
    double[] drawn =
        new DdpmSampler(step, false, true)
            .sample(
                new double[] {0}, (x, level) -> new double[1], n -> new double[] {1}, (d, x) -> {});
    double beta = 1 - LINEAR.alphaBar(500) / LINEAR.alphaBar(400);
    assertThat(drawn[0] * drawn[0]).isCloseTo(beta, within(1e-6));
  }
}
