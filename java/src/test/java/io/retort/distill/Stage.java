package io.retort.distill;

import io.retort.MethodSteps;
import io.retort.backend.CpuBackend;
import io.retort.data.Batch;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Tensor;
import io.retort.train.RoleState;
import io.retort.train.Trainer;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.DoubleSupplier;
import java.util.function.Function;
import java.util.stream.Collectors;

/// The networks of a method before its first step, for looking at one phase from outside.
final class Stage implements AutoCloseable {
  private static final long SEED = 5;

  private final Backend backend = CpuBackend.open();
  private final Trainer trainer;
  private final Batch batch;
  private final Map<String, Double> calibration;

  Stage(Recipe recipe) {
    trainer = MethodSteps.trainer(recipe, backend);
    batch = MethodSteps.batches(recipe, trainer, backend).apply(0);
    calibration =
        with(nets -> trainer.method().calibrate(nets, batch, new Noise(SEED, 0, 100)), Map.of());
  }

  Batch batch() {
    return batch;
  }

  Method method() {
    return trainer.method();
  }

  /// The random numbers of a phase of the first step, from their beginning.
  Noise noise(int phase) {
    return new Noise(SEED, 0, phase);
  }

  Parameters weights(String role) {
    RoleState state = trainer.roles().get(role);
    if (state == null) {
      throw new AssertionError("no role " + role);
    }
    return state.weights();
  }

  /// Moves a network away from the teacher.
  Stage perturbed(String role, double deviation) {
    Random random = new Random(role.hashCode());
    float[] values = weights(role).values().floats();
    for (int i = 0; i < values.length; i++) {
      values[i] += (float) (deviation * random.nextGaussian());
    }
    weights(role).values().set(values);
    return this;
  }

  /// What a phase computes.
  ///
  /// @param parts its terms before weighting
  /// @param gradients of the roles it trains
  record Outcome(double total, Map<String, Double> parts, Map<String, float[]> gradients) {}

  /// One phase of the first step, backward included.
  ///
  /// @param before phases whose values it finds, without their updates
  Outcome phase(int index, int... before) {
    Method.Phase phase = method().phases().get(index);
    Set<Parameters> trained =
        phase.trains().stream().map(this::weights).collect(Collectors.toSet());
    trained.forEach(Parameters::zeroGradients);
    try (Scope scope = new Scope(backend.memory())) {
      StepValues left = new StepValues(scope);
      for (int earlier : before) {
        Nets nets = nets(Tape.inference(backend, scope), left, calibration);
        method().phases().get(earlier).loss().compute(nets, batch, noise(earlier));
      }
      Tape tape = new Tape(backend, scope, trained);
      Method.Terms terms = phase.loss().compute(nets(tape, left, calibration), batch, noise(index));
      tape.backward(terms.total());
      Map<String, Double> parts = new HashMap<>();
      terms.parts().forEach((name, part) -> parts.put(name, (double) part.item()));
      Map<String, float[]> gradients = new HashMap<>();
      phase.trains().forEach(role -> gradients.put(role, weights(role).gradients().floats()));
      return new Outcome(terms.total().item(), parts, gradients);
    }
  }

  /// Something computed with the networks, without gradients.
  <T> T with(Function<Nets, T> use) {
    return with(use, calibration);
  }

  private <T> T with(Function<Nets, T> use, Map<String, Double> calibrated) {
    try (Scope scope = new Scope(backend.memory())) {
      return use.apply(nets(Tape.inference(backend, scope), new StepValues(scope), calibrated));
    }
  }

  private Nets nets(Tape tape, StepValues left, Map<String, Double> calibrated) {
    Map<String, Nets.Player> players = new HashMap<>();
    trainer
        .roles()
        .forEach((name, role) -> players.put(name, new Nets.Player(role.role(), role.weights())));
    return new Nets(tape, players, calibrated, trainer.spec().preconditioning(), DType.F32, left);
  }

  /// Numbers in float64.
  static double[] doubles(Var x) {
    float[] floats = x.value().floats();
    double[] wide = new double[floats.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = floats[i];
    }
    return wide;
  }

  /// `(f(w + h d) - f(w - h d)) / 2h` for the weights w of a role.
  double slope(String role, double[] direction, double h, DoubleSupplier f) {
    Tensor values = weights(role).values();
    float[] before = values.floats();
    double above = at(values, before, direction, h, f);
    double below = at(values, before, direction, -h, f);
    values.set(before);
    return (above - below) / (2 * h);
  }

  private static double at(
      Tensor values, float[] before, double[] direction, double h, DoubleSupplier f) {
    float[] moved = before.clone();
    for (int i = 0; i < moved.length; i++) {
      moved[i] += (float) (h * direction[i]);
    }
    values.set(moved);
    return f.getAsDouble();
  }

  /// The vector of length 1 along a gradient.
  static double[] unit(float[] gradient) {
    double length = norm(gradient);
    double[] unit = new double[gradient.length];
    for (int i = 0; i < unit.length; i++) {
      unit[i] = gradient[i] / length;
    }
    return unit;
  }

  static double norm(float[] vector) {
    double squares = 0;
    for (float v : vector) {
      squares += (double) v * v;
    }
    return Math.sqrt(squares);
  }

  @Override
  public void close() {
    trainer.close();
  }
}
