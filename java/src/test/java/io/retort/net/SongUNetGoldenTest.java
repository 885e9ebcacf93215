package io.retort.net;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.CudaUnderTest;
import io.retort.Golden;
import io.retort.diffusion.Denoiser;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// EDM's 48,017-parameter network against the reference implementation: outputs and every gradient.
@Tag("device")
final class SongUNetGoldenTest {
  private final Backend backend = CudaUnderTest.orCpu();

  static SongUNet tiny() {
    return new SongUNet(new SongUNet.Config(8, 1, 3, 8, List.of(1, 2), 1, List.of(4), 0, 0));
  }

  @Test
  void parameterCountIsTheReferences() {
    try (Parameters parameters = tiny().plan().allocate(backend.memory())) {
      assertThat(parameters.count()).isEqualTo(48_017);
    }
  }

  @Test
  void ddpmppCifarHasThePublishedParameterCount() {
    var config = new SongUNet.Config(32, 3, 10, 128, List.of(2, 2, 2), 4, List.of(16), 0.13, 9);
    long count =
        new SongUNet(config).plan().shapes().values().stream().mapToLong(Shape::elements).sum();
    assertThat(count).isEqualTo(55_735_299);
  }

  @Test
  void outputsAndGradientsMatch() {
    try (Golden golden = Golden.open("songunet_tiny_8");
        Parameters parameters = tiny().plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      Denoiser denoiser = new Denoiser(tiny(), 0.5);
      Tape tape = new Tape(backend, scope, Set.of(parameters));
      Shape shape = golden.imageShape("in/x");
      Tensor sink = scope.zeros(shape, DType.F32);
      Var x = tape.tracked(scope.of(shape, golden.images("in/x")), sink);
      Var d =
          denoiser.denoise(tape, parameters, x, golden.floats("in/sigma"), labels(golden), null);
      Golden.assertClose("D", d.value().floats(), golden.images("out/D"), 2e-5, 1e-4);
      tape.backward(d, scope.of(shape, golden.images("in/cotangent")));
      Golden.assertGradient("x", sink.floats(), golden.images("g_in/x"));
      parameters
          .all()
          .forEach(p ->
              Golden.assertGradient(
                  p.name(), p.gradient().floats(), golden.floats("g/" + p.name())));
    }
  }

  /// Each of some 20 layers rounds to 2^-9 of its result, which at most 4 % of the output makes up
  /// for.
  @Test
  void inBfloat16OutputsAndGradientsAreNear() {
    try (Golden golden = Golden.open("songunet_tiny_8");
        Parameters parameters = tiny().plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      Denoiser denoiser = new Denoiser(tiny(), 0.5).in(DType.BF16);
      Tape tape = new Tape(backend, scope, Set.of(parameters));
      Shape shape = golden.imageShape("in/x");
      Var x = tape.constant(scope.of(shape, golden.images("in/x")));
      Var d =
          denoiser.denoise(tape, parameters, x, golden.floats("in/sigma"), labels(golden), null);
      Golden.assertClose("D", d.value().floats(), golden.images("out/D"), 4e-2, 4e-2);
      tape.backward(d, scope.of(shape, golden.images("in/cotangent")));
      String bias = "model.enc.8x8_block0.affine.bias";
      Golden.assertClose(
          bias, parameters.get(bias).gradient().floats(), golden.floats("g/" + bias), 5e-2, 5e-2);
    }
  }

  @Test
  void withoutLabelsItMatchesTheUnconditionalOutput() {
    try (Golden golden = Golden.open("songunet_tiny_8");
        Parameters parameters = tiny().plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      Tape tape = Tape.inference(backend, scope);
      Var x = tape.constant(golden.imageShape("in/x"), golden.images("in/x"));
      Var d =
          new Denoiser(tiny(), 0.5)
              .denoise(tape, parameters, x, golden.floats("in/sigma"), null, null);
      Golden.assertClose("D_uncond", d.value().floats(), golden.images("out/D_uncond"), 2e-5, 1e-4);
    }
  }

  static int[] labels(Golden golden) {
    float[] rows = golden.floats("in/class_labels");
    int classes = (int) golden.shape("in/class_labels").dim(1);
    int[] labels = new int[rows.length / classes];
    for (int i = 0; i < rows.length; i++) {
      if (rows[i] == 1) {
        labels[i / classes] = i % classes;
      }
    }
    return labels;
  }
}
