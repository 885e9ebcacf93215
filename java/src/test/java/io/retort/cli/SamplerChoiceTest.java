package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.backend.CpuBackend;
import io.retort.checkpoint.ModelFile;
import io.retort.diffusion.BetaSchedule;
import io.retort.diffusion.DdimSampler;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.HeunSampler;
import io.retort.diffusion.ImageSampler;
import io.retort.diffusion.LcmSampler;
import io.retort.diffusion.Preconditioning;
import io.retort.diffusion.Preconditioning.Discrete.Prediction;
import io.retort.grad.Parameters;
import io.retort.net.SongUNet;
import io.retort.net.SongVariant;
import io.retort.op.Backend;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;

/// Which sampler a network and its metadata get, and which options it takes.
final class SamplerChoiceTest {
  private static final Preconditioning TIMED =
      new Preconditioning.Discrete(BetaSchedule.ddpm(), Prediction.EPSILON);
  private static final Preconditioning FLOW = new Preconditioning.Flow(1000);
  private static final Map<String, String> STUDENT =
      Map.of(ModelFile.EVALUATIONS, "1", ModelFile.SIGMA_MAX, "30");

  private final Backend backend = CpuBackend.open();
  private final SongUNet network =
      new SongUNet(
          new SongUNet.Config(8, 1, 3, 8, List.of(1), 1, List.of(), 0, 0, SongVariant.DDPMPP));
  private final Parameters parameters = network.plan().allocate(backend.memory());

  @AfterEach
  void free() {
    parameters.close();
  }

  private ImageSampler sampler(
      Preconditioning levels,
      Map<String, String> metadata,
      @Nullable Integer steps,
      String... options) {
    SamplerOptions parsed = new SamplerOptions();
    new CommandLine(parsed).parseArgs(options);
    ModelFile model =
        new ModelFile(
            Path.of("model.safetensors"),
            new Denoiser(network, levels),
            parameters,
            new LinkedHashMap<>(metadata));
    return parsed.of(backend, model, steps, 0);
  }

  static List<Preconditioning> families() {
    return List.of(TIMED, FLOW, new Preconditioning.Edm(0.5), Preconditioning.Iddpm.DEFAULT);
  }

  @ParameterizedTest
  @MethodSource("families")
  void aOneStepStudentStartsWhereItWasDistilled(Preconditioning levels) {
    ImageSampler sampler = sampler(levels, STUDENT, null);
    double[] asked = new double[1];
    sampler
        .sampler()
        .sample(
            new double[] {1},
            (x, level) -> {
              asked[0] = level.sigma();
              assertThat(x[0]).isEqualTo(asked[0]);
              return x;
            },
            step -> new double[1],
            (done, x) -> {});
    assertThat(sampler.sampler()).isInstanceOf(HeunSampler.class);
    assertThat(sampler.evaluations()).isEqualTo(1);
    assertThat(asked[0]).isCloseTo(levels.round(30), within(1e-12));
  }

  @Test
  void aStudentOfSeveralLevelsTakesNoOthers() {
    Map<String, String> student =
        Map.of(ModelFile.EVALUATIONS, "2", ModelFile.SIGMA_MAX, "80", ModelFile.LEVELS, "80,2.5");
    Preconditioning edm = new Preconditioning.Edm(0.5);
    assertThat(sampler(edm, student, null).sampler()).isInstanceOf(LcmSampler.class);
    for (String option : List.of("--rho", "--sigma-min", "--sigma-max")) {
      assertThatThrownBy(() -> sampler(edm, student, null, option, "5"))
          .hasMessage(
              option + " is for --sampler heun; --sampler lcm takes this model's own levels");
    }
    assertThatThrownBy(() -> sampler(edm, student, null, "--churn", "5"))
        .hasMessage("--churn is for --sampler heun, not lcm");
    assertThat(sampler(edm, student, 3, "--rho", "5").sampler()).isInstanceOf(HeunSampler.class);
  }

  @Test
  void otherModelsAreSampledAsTheirNetworkWants() {
    assertThat(sampler(TIMED, Map.of(), null).sampler()).isInstanceOf(DdimSampler.class);
    assertThat(sampler(TIMED, Map.of(), null).evaluations()).isEqualTo(50);
    assertThat(sampler(FLOW, Map.of(), null).sampler()).isInstanceOf(DdimSampler.class);
  }

  @Test
  void aSingleTimeStepIsTheNoisiest() {
    assertThatThrownBy(() -> sampler(TIMED, Map.of(), 1, "--spacing", "leading"))
        .isInstanceOf(UsageException.class)
        .hasMessageContaining("a single step of leading spacing would start at the cleanest");
    assertThatThrownBy(
            () -> sampler(TIMED, Map.of(), 1, "--sampler", "euler", "--spacing", "linspace"))
        .hasMessageContaining("a single step of linspace spacing would start at the cleanest");
    assertThat(sampler(TIMED, Map.of(), 1).evaluations()).isEqualTo(1);
    assertThat(sampler(TIMED, Map.of(), 1, "--spacing", "trailing").evaluations()).isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--rho 5                 | --rho is for --sampler heun or --spacing karras; --sampler ddim"
            + " takes this model's own levels",
        "--sampler dpmpp --sigma-max 50 | --sigma-max is for --sampler heun; --sampler dpmpp takes",
        "--sigma-min 1           | --sigma-min is for --sampler heun; --sampler ddim takes",
        "--spacing karras --sigma-max 50 | --sigma-max is for --sampler heun",
        "--sampler lcm --spacing karras | --spacing is for --sampler euler"
      })
  void levelsThatTimeStepsDoNotTakeAreRefused(String options, String reason) {
    assertThatThrownBy(() -> sampler(TIMED, Map.of(), 9, options.split(" +")))
        .isInstanceOf(UsageException.class)
        .hasMessageContaining(reason);
  }

  @ParameterizedTest
  @CsvSource({"--rho", "--sigma-min", "--sigma-max"})
  void levelsThatFlowDoesNotTakeAreRefused(String option) {
    assertThatThrownBy(() -> sampler(FLOW, Map.of(), 9, option, "5"))
        .isInstanceOf(UsageException.class)
        .hasMessage(
            option + " is for --sampler heun; --sampler flow takes this model's own levels");
    assertThat(sampler(FLOW, Map.of(), 9, option, "5", "--sampler", "heun").evaluations())
        .isEqualTo(17);
  }

  @Test
  void theExponentOfKarrasSpacingIsTaken() {
    String[] options = {"--spacing", "karras", "--rho", "5", "--sampler", "dpmpp"};
    assertThat(sampler(TIMED, Map.of(), 9, options).sampler())
        .isNotEqualTo(
            sampler(TIMED, Map.of(), 9, "--spacing", "karras", "--sampler", "dpmpp").sampler());
  }
}
