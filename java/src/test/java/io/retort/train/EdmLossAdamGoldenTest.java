package io.retort.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.CudaUnderTest;
import io.retort.Golden;
import io.retort.diffusion.Denoiser;
import io.retort.distill.AdamSpec;
import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.SongUNet;
import io.retort.op.Backend;
import io.retort.op.EdmLoss;
import io.retort.optim.Adam;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// EDM's loss, its gradients, three Adam steps and the average against the reference
/// implementation.
@Tag("device")
final class EdmLossAdamGoldenTest {
  private final Backend backend = CudaUnderTest.orCpu();

  @Test
  void threeStepsMatch() {
    SongUNet net =
        new SongUNet(new SongUNet.Config(8, 1, 3, 8, List.of(1, 2), 1, List.of(4), 0, 0));
    try (Golden golden = Golden.open("edm_loss_adam");
        Parameters parameters = net.plan().allocate(backend.memory());
        Parameters average = net.plan().allocate(backend.memory());
        Adam adam = new Adam(parameters, new AdamSpec(1e-3, 0.9, 0.999, 1e-8, 0, 0, 0, 0))) {
      golden.load("w/", parameters);
      average.copyFrom(parameters);
      float[] losses = golden.floats("out/adam_losses");
      for (int step = 0; step < 3; step++) {
        parameters.zeroGradients();
        double loss = lossAndGradients(golden, net, parameters);
        assertThat(loss)
            .as("loss of step %d", step)
            .isCloseTo(losses[step], within(1e-4 * losses[step]));
        if (step == 0) {
          parameters
              .all()
              .forEach(p ->
                  Golden.assertGradient(
                      p.name(), p.gradient().floats(), golden.floats("g/" + p.name())));
        }
        adam.update(backend, 1e-3, average, 0.95);
      }
      compare(golden, "w_adam3/", parameters, 2e-5, 1e-4);
      compare(golden, "ema3/", average, 2e-6, 1e-5);
    }
  }

  /// Key biases are left out: softmax does not change when all scores of a query shift, so their
  /// true gradient is zero, and what Adam makes of the rounding noise is of the size of the
  /// learning rate in either direction.
  private static void compare(
      Golden golden, String prefix, Parameters parameters, double atol, double rtol) {
    for (Parameter p : parameters.all()) {
      float[] expected = golden.floats(prefix + p.name());
      float[] actual = p.value().floats();
      if (p.name().endsWith("qkv.bias")) {
        for (int key = 1; key < expected.length; key += 3) {
          actual[key] = expected[key];
        }
      }
      Golden.assertClose(prefix + p.name(), actual, expected, atol, rtol);
    }
  }

  private double lossAndGradients(Golden golden, SongUNet net, Parameters parameters) {
    try (Scope scope = new Scope(backend.memory())) {
      Tape tape = new Tape(backend, scope, Set.of(parameters));
      float[] sigma = golden.floats("out/sigma");
      float[] clean = golden.floats("in/y");
      float[] noise = golden.floats("in/noise_unit");
      float[] noised = new float[clean.length];
      int pixels = clean.length / sigma.length;
      for (int i = 0; i < noised.length; i++) {
        noised[i] = clean[i] + sigma[i / pixels] * noise[i];
      }
      Shape shape = golden.imageShape("in/y");
      float[] rows = golden.floats("in/class_labels");
      int[] labels = new int[sigma.length];
      for (int i = 0; i < rows.length; i++) {
        if (rows[i] == 1) {
          labels[i / 3] = i % 3;
        }
      }
      Var d =
          new Denoiser(net, 0.5)
              .denoise(tape, parameters, tape.constant(shape, noised), sigma, labels, null);
      Var loss =
          tape.apply(
              new EdmLoss(0.5, EdmLoss.Pixels.SUM),
              d,
              tape.constant(shape, clean),
              tape.constant(Shape.of(sigma.length), sigma));
      tape.backward(loss);
      return loss.item();
    }
  }
}
