package io.retort.net;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.CudaUnderTest;
import io.retort.Golden;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiTConfig.Names;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Set;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// diffusers' DiT against the reference implementation: outputs and every gradient.
@Tag("device")
final class DiTGoldenTest {
  private final Backend backend = CudaUnderTest.orCpu();

  static DiT tiny() {
    return new DiT(
        new DiTConfig(
            8, 4, true, 2, 2, 16, 2, 128, 10, 0.1, Names.DIFFUSERS, 1e-5, false, true, false, 0));
  }

  @Test
  void outputsAndGradientsMatch() {
    DiT net = tiny();
    try (Golden golden = Golden.open("dit_8");
        Parameters parameters = net.plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      Tape tape = new Tape(backend, scope, Set.of(parameters));
      Shape shape = golden.imageShape("in/x");
      Tensor sink = scope.zeros(shape, DType.F32);
      Var x = tape.tracked(scope.of(shape, golden.images("in/x")), sink);
      Var timesteps = UNet2DGoldenTest.timesteps(tape, golden);
      Var labels = UNet2DGoldenTest.labels(tape, golden, net);
      Var y = net.full(tape, parameters, x, timesteps, labels, null);
      Golden.assertClose("y", y.value().floats(), golden.images("out/y"), 2e-5, 1e-4);
      tape.backward(y, scope.of(y.shape(), golden.images("in/cotangent")));
      Golden.assertGradient("x", sink.floats(), golden.images("g_in/x"));
      parameters.all().forEach(p -> UNet2DGoldenTest.assertGradient(golden, p));
    }
  }

  @Test
  void theVarianceIsDropped() {
    DiT net = tiny();
    try (Golden golden = Golden.open("dit_8");
        Parameters parameters = net.plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      Tape tape = Tape.inference(backend, scope);
      Var x = tape.constant(golden.imageShape("in/x"), golden.images("in/x"));
      Var timesteps = UNet2DGoldenTest.timesteps(tape, golden);
      Var labels = UNet2DGoldenTest.labels(tape, golden, net);
      Var y = net.apply(tape, parameters, x, timesteps, labels, null);
      float[] all = golden.images("out/y");
      float[] expected = new float[all.length / 2];
      for (int i = 0; i < expected.length; i++) {
        expected[i] = all[i / 4 * 8 + i % 4];
      }
      Golden.assertClose("y", y.value().floats(), expected, 2e-5, 1e-4);
      Var features = net.encode(tape, parameters, x, timesteps, labels, null);
      assertThat(features.shape()).isEqualTo(Shape.of(2, 4, 4, 32));
    }
  }

  @Test
  void theOriginalXl2HasThePublishedParameterCount() {
    var config =
        new DiTConfig(
            32,
            4,
            true,
            2,
            16,
            72,
            28,
            4608,
            1000,
            0.1,
            Names.ORIGINAL,
            1e-6,
            false,
            true,
            false,
            0);
    long count = new DiT(config).plan().shapes().values().stream().mapToLong(Shape::elements).sum();
    assertThat(count).isEqualTo(675_129_632L);
  }
}
