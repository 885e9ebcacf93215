package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.CudaUnderTest;
import io.retort.Golden;
import io.retort.data.Json;
import io.retort.diffusion.Denoiser;
import io.retort.grad.Parameter;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Every kind of block, condition, prediction and name of diffusers' networks, read from files as
/// they come, against the reference implementation: D(x; sigma) and its gradient.
@Tag("device")
final class DiffusersVariantsTest {
  static final String FILE = "diffusers_variants";

  private final Backend backend = CudaUnderTest.orCpu();

  @TempDir private Path folder;

  static Stream<String> variants() {
    try (Golden golden = Golden.open(FILE)) {
      return golden.names("").stream().map(n -> n.substring(0, n.indexOf('/'))).distinct();
    }
  }

  /// A model's folder as diffusers writes it.
  static void write(Golden golden, String variant, Path folder) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("config.json"), golden.metadata(variant));
    String prefix = variant + "/w/";
    SafetensorsWriter writer = new SafetensorsWriter();
    for (String name : golden.names(prefix)) {
      writer.floats(name, golden.shape(prefix + name).dims(), () -> golden.floats(prefix + name));
    }
    writer.write(folder.resolve("diffusion_pytorch_model.safetensors"));
  }

  @ParameterizedTest
  @MethodSource("variants")
  void denoisedImagesAndTheirGradientMatch(String variant) throws IOException {
    check(variant, backend);
  }

  /// A small network of each family on the emulator.
  @ParameterizedTest
  @ValueSource(strings = {"learned variance, no middle", "facebook's transformer"})
  void kernelsOfTheDeviceMatch(String variant) throws IOException {
    check(variant, CudaUnderTest.open());
  }

  private void check(String variant, Backend on) throws IOException {
    try (Golden golden = Golden.open(FILE)) {
      write(golden, variant, folder);
      try (ModelFile model = ModelFile.load(folder, on.memory());
          Scope scope = new Scope(on.memory())) {
        check(golden, variant + "/", model, scope, on);
      }
    }
  }

  private static void check(
      Golden golden, String prefix, ModelFile model, Scope scope, Backend backend) {
    Tape tape = new Tape(backend, scope, Set.of(model.parameters()));
    Shape shape = golden.imageShape(prefix + "in/x");
    Tensor sink = scope.zeros(shape, DType.F32);
    Var x = tape.tracked(scope.of(shape, golden.images(prefix + "in/x")), sink);
    float[] sigma = golden.floats(prefix + "in/sigma");
    Var d =
        model.denoiser().denoise(tape, model.parameters(), x, sigma, labels(golden, prefix), null);
    Golden.assertClose("D", d.value().floats(), golden.images(prefix + "out/D"), 2e-5, 1e-4);
    tape.backward(d, scope.of(shape, golden.images(prefix + "in/cotangent")));
    Golden.assertGradient("x", sink.floats(), golden.images(prefix + "g_in/x"));
    for (Parameter p : model.parameters().all()) {
      if (p.name().endsWith("to_k.bias")) {
        continue; // softmax does not see it: its gradient is rounding
      }
      boolean constant = p.name().equals("pos_embed") || p.name().equals("time_proj.weight");
      assertThat(nonZero(p.gradient().floats())).as(p.name()).isNotEqualTo(constant);
    }
  }

  private static boolean nonZero(float[] values) {
    for (float value : values) {
      if (value != 0) {
        return true;
      }
    }
    return false;
  }

  private static int[] labels(Golden golden, String prefix) {
    if (!golden.has(prefix + "in/labels")) {
      return null;
    }
    float[] rows = golden.floats(prefix + "in/labels");
    int classes = (int) golden.shape(prefix + "in/labels").dim(1);
    int[] labels = new int[rows.length / classes];
    Arrays.fill(labels, Denoiser.NO_CLASS);
    for (int i = 0; i < rows.length; i++) {
      if (rows[i] == 1) {
        labels[i / classes] = i % classes;
      }
    }
    return labels;
  }

  @ParameterizedTest
  @MethodSource("variants")
  void whatIsSavedIsReadAgain(String variant) throws IOException {
    try (Golden golden = Golden.open(FILE)) {
      write(golden, variant, folder);
      Path copy = Files.createDirectory(folder.resolve("copy"));
      try (ModelFile model = ModelFile.load(folder, backend.memory())) {
        ModelFile.save(copy, model.denoiser(), model.parameters(), Map.of("a", "b"));
        try (ModelFile again = ModelFile.load(copy, backend.memory())) {
          assertThat(again.denoiser().preconditioning())
              .isEqualTo(model.denoiser().preconditioning());
          assertThat(again.parameters().values().floats())
              .isEqualTo(model.parameters().values().floats());
          assertThat(Json.write(ModelConfig.of(again.denoiser())))
              .isEqualTo(Json.write(ModelConfig.of(model.denoiser())));
        }
      }
    }
  }
}
