package io.retort.net;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.CudaUnderTest;
import io.retort.Golden;
import io.retort.checkpoint.ModelConfig;
import io.retort.data.Json;
import io.retort.diffusion.Denoiser;
import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.op.EdmInput;
import io.retort.op.EdmOutput;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// EDM's three architectures against the reference implementation: the output of every part, F, D,
/// and every gradient. The files hold every 11th element of large tensors.
@Tag("device")
final class EdmNetworkGoldenTest {
  private static final int STRIDE = 11;

  private final Backend backend = CudaUnderTest.orCpu();

  private static Denoiser denoiser(Golden golden) {
    return ModelConfig.denoiser(Json.parseObject(golden.metadata("config")));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "songunet_ddpmpp_16",
        "songunet_ncsnpp_16",
        "dhariwal_16",
        "songunet_skip_8",
        "songunet_residual_8"
      })
  void parametersAreTheReferencesInItsOrder(String name) {
    try (Golden golden = Golden.open(name)) {
      var shapes = denoiser(golden).network().plan().shapes();
      long trained =
          shapes.entrySet().stream()
              .filter(entry -> !entry.getKey().endsWith("freqs"))
              .mapToLong(entry -> entry.getValue().elements())
              .sum();
      assertThat(trained).isEqualTo(Long.parseLong(golden.metadata("params")));
      List<String> stored = new ArrayList<>(golden.names("w/"));
      stored.removeIf(each -> each.endsWith("resample_filter"));
      assertThat(shapes.keySet()).containsExactlyInAnyOrderElementsOf(stored);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"songunet_ddpmpp_16", "songunet_ncsnpp_16", "dhariwal_16"})
  void outputsAndGradientsMatch(String name) {
    try (Golden golden = Golden.open(name);
        Parameters parameters = denoiser(golden).network().plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      DiffusionNet net = denoiser(golden).network();
      Tape tape = new Tape(backend, scope, Set.of(parameters));
      Shape shape = golden.imageShape("in/x");
      Tensor sink = scope.zeros(shape, DType.F32);
      Var x = tape.tracked(scope.of(shape, golden.images("in/x")), sink);
      Var sigma = constant(tape, golden, "in/sigma");
      Var noise = constant(tape, golden, "in/c_noise");
      Var labels = constant(tape, golden, "in/class_labels");
      Var augmentation =
          golden.has("in/augment_labels") ? constant(tape, golden, "in/augment_labels") : null;
      Map<String, Var> seen = new LinkedHashMap<>();
      Var scaled = tape.apply(new EdmInput(0.5), x, sigma);
      BiConsumer<String, Var> probe = (part, output) -> seen.put(part, output);
      Var f =
          switch (net) {
            case SongUNet song ->
                song.apply(tape, parameters, scaled, noise, labels, augmentation, null, probe);
            case DhariwalUNet adm ->
                adm.apply(tape, parameters, scaled, noise, labels, augmentation, null, probe);
            default -> throw new AssertionError(net);
          };
      golden.names("act/").forEach(part -> assertPart(golden, part, seen.get("model." + part)));
      golden
          .names("act11/")
          .forEach(part -> assertStrided(golden, part, seen.get("model." + part)));
      Golden.assertClose("F", f.value().floats(), golden.images("out/F"), 2e-5, 1e-4);
      Var d = tape.apply(new EdmOutput(0.5), x, f, sigma);
      Golden.assertClose("D", d.value().floats(), golden.images("out/D"), 2e-5, 1e-4);
      tape.backward(d, scope.of(shape, golden.images("in/cotangent")));
      Golden.assertGradient("x", sink.floats(), golden.images("g_in/x"));
      parameters.all().stream()
          .filter(parameter -> !parameter.name().endsWith("freqs"))
          .forEach(parameter -> assertGradient(golden, parameter));
    }
  }

  /// The skip variants, other preconditioners, three images: through the denoiser as users have it.
  @ParameterizedTest
  @ValueSource(strings = {"songunet_skip_8", "songunet_residual_8"})
  void denoisersAndTheirGradientsMatch(String name) {
    denoiserMatches(name, backend);
  }

  /// Small enough for the emulator in every build.
  @ParameterizedTest
  @ValueSource(strings = {"songunet_skip_8", "songunet_residual_8"})
  void cudaTakesTheSameWay(String name) {
    denoiserMatches(name, CudaUnderTest.open());
  }

  private static void denoiserMatches(String name, Backend backend) {
    try (Golden golden = Golden.open(name);
        Parameters parameters = denoiser(golden).network().plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      Tape tape = new Tape(backend, scope, Set.of(parameters));
      Shape shape = golden.imageShape("in/x");
      Tensor sink = scope.zeros(shape, DType.F32);
      Var x = tape.tracked(scope.of(shape, golden.images("in/x")), sink);
      int[] labels = golden.has("in/class_labels") ? new int[] {2, Denoiser.NO_CLASS, 3} : null;
      float[] sigma = golden.floats("in/sigma");
      Var d = denoiser(golden).denoise(tape, parameters, x, sigma, labels, null);
      Golden.assertClose("D", d.value().floats(), golden.images("out/D"), 2e-5, 1e-4);
      tape.backward(d, scope.of(shape, golden.images("in/cotangent")));
      Golden.assertGradient("x", sink.floats(), golden.images("g_in/x"));
      parameters.all().stream()
          .filter(parameter -> !parameter.name().endsWith("freqs"))
          .forEach(parameter -> assertGradient(golden, parameter));
      if (labels != null) {
        Var unconditional = denoiser(golden).denoise(tape, parameters, x, sigma, null, null);
        Golden.assertClose(
            "D_uncond", unconditional.value().floats(), golden.images("out/D_uncond"), 2e-5, 1e-4);
      }
    }
  }

  private static Var constant(Tape tape, Golden golden, String name) {
    return tape.constant(golden.shape(name), golden.floats(name));
  }

  private static void assertPart(Golden golden, String part, Var output) {
    assertThat(output).as(part).isNotNull();
    float[] expected = golden.images("act/" + part);
    if (part.endsWith("norm")) {
      for (int i = 0; i < expected.length; i++) {
        expected[i] = (float) (expected[i] / (1 + Math.exp(-expected[i])));
      }
    }
    Golden.assertClose(part, output.value().floats(), expected, 2e-5, 1e-4);
  }

  /// Every 11th element in the file's order, channels before pixels.
  private static void assertStrided(Golden golden, String part, Var output) {
    assertThat(output).as(part).isNotNull();
    float[] expected = golden.floats("act11/" + part);
    float[] all = output.value().floats();
    int channels = (int) output.shape().last();
    int pixels = (int) (output.shape().dim(1) * output.shape().dim(2));
    float[] actual = new float[expected.length];
    for (int i = 0; i < actual.length; i++) {
      int index = i * STRIDE;
      int pixel = index % pixels;
      int channel = index / pixels % channels;
      actual[i] = all[(index / pixels / channels * pixels + pixel) * channels + channel];
    }
    Golden.assertClose(part, actual, expected, 2e-5, 1e-4);
  }

  private static void assertGradient(Golden golden, Parameter parameter) {
    float[] gradient = parameter.gradient().floats();
    if (golden.has("g/" + parameter.name())) {
      Golden.assertGradient(parameter.name(), gradient, golden.floats("g/" + parameter.name()));
      return;
    }
    float[] strided = new float[(gradient.length + STRIDE - 1) / STRIDE];
    for (int i = 0; i < strided.length; i++) {
      strided[i] = gradient[i * STRIDE];
    }
    Golden.assertGradient(parameter.name(), strided, golden.floats("g11/" + parameter.name()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"songunet_ddpmpp_16", "songunet_ncsnpp_16", "dhariwal_16"})
  void withoutLabelsItMatchesTheUnconditionalOutput(String name) {
    try (Golden golden = Golden.open(name);
        Parameters parameters = denoiser(golden).network().plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      Tape tape = Tape.inference(backend, scope);
      Var x = tape.constant(golden.imageShape("in/x"), golden.images("in/x"));
      float[] augmentation =
          golden.has("in/augment_labels") ? golden.floats("in/augment_labels") : null;
      Var d =
          denoiser(golden)
              .denoise(tape, parameters, x, golden.floats("in/sigma"), null, augmentation, null);
      Golden.assertClose("D_uncond", d.value().floats(), golden.images("out/D_uncond"), 2e-5, 1e-4);
    }
  }
}
