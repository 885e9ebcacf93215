package io.retort.net;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.CudaUnderTest;
import io.retort.Golden;
import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.UNet2DConfig.Classes;
import io.retort.net.UNet2DConfig.Middle;
import io.retort.net.UNet2DConfig.Stage;
import io.retort.net.UNet2DConfig.Time;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// diffusers' U-Nets against the reference implementation: outputs and every gradient.
@Tag("device")
final class UNet2DGoldenTest {
  private final Backend backend = CudaUnderTest.orCpu();

  /// The layout of `ddpm-cifar10-32`, narrowed.
  private static UNet2D ddpm() {
    return new UNet2D(config(new Time(false, false, 1, 64), Classes.NONE, 0, 0, false));
  }

  /// Classes, scale and shift, heads of 8 channels.
  private static UNet2D conditional() {
    return new UNet2D(
        config(new Time(false, true, 0, 64), new Classes(Classes.Kind.TABLE, 10), 1, 8, true));
  }

  private static UNet2DConfig config(
      Time time, Classes classes, int downPadding, int headWidth, boolean scaleShift) {
    return new UNet2DConfig(
        16,
        3,
        false,
        false,
        time,
        classes,
        List.of(16, 32),
        List.of(Stage.PLAIN, Stage.ATTENTION),
        List.of(Stage.ATTENTION, Stage.PLAIN),
        1,
        new Middle(true, true, 1, Middle.AS_OTHERS),
        downPadding,
        false,
        false,
        headWidth,
        8,
        1e-6,
        scaleShift,
        0);
  }

  @Test
  void unconditionalOutputsAndGradientsMatch() {
    check("unet2d_ddpm_16", ddpm());
  }

  @Test
  void conditionalOutputsAndGradientsMatch() {
    check("unet2d_class_16", conditional());
  }

  private void check(String file, UNet2D net) {
    try (Golden golden = Golden.open(file);
        Parameters parameters = net.plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      Tape tape = new Tape(backend, scope, Set.of(parameters));
      Shape shape = golden.imageShape("in/x");
      Tensor sink = scope.zeros(shape, DType.F32);
      Var x = tape.tracked(scope.of(shape, golden.images("in/x")), sink);
      Var timesteps = timesteps(tape, golden);
      Var y = net.apply(tape, parameters, x, timesteps, labels(tape, golden, net), null);
      Golden.assertClose("y", y.value().floats(), golden.images("out/y"), 2e-5, 1e-4);
      tape.backward(y, scope.of(shape, golden.images("in/cotangent")));
      Golden.assertGradient("x", sink.floats(), golden.images("g_in/x"));
      for (Parameter p : parameters.all()) {
        assertGradient(golden, p);
      }
    }
  }

  /// A bias of the keys moves all scores of a query alike, which softmax does not see: its gradient
  /// is zero, and what the reference has is rounding.
  static void assertGradient(Golden golden, Parameter p) {
    float[] actual = p.gradient().floats();
    float[] expected = golden.floats("g/" + p.name());
    if (!p.name().endsWith("to_k.bias")) {
      Golden.assertGradient(p.name(), actual, expected);
      return;
    }
    double bound = 1e-4 * largest(golden.floats("g/" + p.name().replace("bias", "weight")));
    assertThat(largest(expected)).as("reference's %s", p.name()).isLessThan(bound);
    assertThat(largest(actual)).as(p.name()).isLessThan(bound);
  }

  private static double largest(float[] values) {
    double largest = 0;
    for (float value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }

  static Var timesteps(Tape tape, Golden golden) {
    long[] steps = golden.longs("in/timestep");
    float[] values = new float[steps.length];
    for (int i = 0; i < values.length; i++) {
      values[i] = steps[i];
    }
    return tape.constant(Shape.of(values.length), values);
  }

  static @Nullable Var labels(Tape tape, Golden golden, DiffusionNet net) {
    if (!golden.has("in/class_labels")) {
      return null;
    }
    long[] classes = golden.longs("in/class_labels");
    float[] rows = new float[classes.length * net.classes()];
    for (int i = 0; i < classes.length; i++) {
      rows[i * net.classes() + (int) classes[i]] = 1;
    }
    return tape.constant(Shape.of(classes.length, net.classes()), rows);
  }

  @Test
  void theBottleneckHasTheShapeItSays() {
    UNet2D net = conditional();
    try (Golden golden = Golden.open("unet2d_class_16");
        Parameters parameters = net.plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      Tape tape = Tape.inference(backend, scope);
      Var x = tape.constant(golden.imageShape("in/x"), golden.images("in/x"));
      Var features =
          net.encode(tape, parameters, x, timesteps(tape, golden), labels(tape, golden, net), null);
      assertThat(features.shape()).isEqualTo(Shape.of(2, 8, 8, 32));
      assertThat(net.bottleneckSide()).isEqualTo(8);
      assertThat(net.bottleneckChannels()).isEqualTo(32);
    }
  }

  @Test
  void ddpmCifarHasThePublishedParameterCount() {
    var config =
        new UNet2DConfig(
            32,
            3,
            false,
            false,
            new Time(false, false, 1, 512),
            Classes.NONE,
            List.of(128, 256, 256, 256),
            List.of(Stage.PLAIN, Stage.ATTENTION, Stage.PLAIN, Stage.PLAIN),
            List.of(Stage.PLAIN, Stage.PLAIN, Stage.ATTENTION, Stage.PLAIN),
            2,
            new Middle(true, true, 1, Middle.AS_OTHERS),
            0,
            false,
            false,
            0,
            32,
            1e-6,
            false,
            0);
    long count =
        new UNet2D(config).plan().shapes().values().stream().mapToLong(Shape::elements).sum();
    assertThat(count).isEqualTo(35_746_307);
  }
}
