package io.retort.train;

import static java.util.Objects.requireNonNull;

import io.retort.data.Batch;
import io.retort.distill.Method;
import io.retort.distill.Method.Phase;
import io.retort.distill.Nets;
import io.retort.distill.Noise;
import io.retort.distill.StepValues;
import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.Lora;
import io.retort.op.Backend;
import io.retort.optim.Adam;
import io.retort.optim.WeightBlend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.LongFunction;
import java.util.stream.Collectors;

/// Runs a method: for every step its phases, for every phase loss, backward, update, average.
///
/// Owns the state of every role. Not thread-safe; listeners run on the caller's thread between
/// steps.
public final class Trainer implements AutoCloseable {
  private static final int CALIBRATION_PHASE = 100;
  private static final int REDRAW_PHASE = 101;

  private final Backend backend;
  private final Method method;
  private final TrainSpec spec;
  private final SequencedMap<String, RoleState> roles;
  private final Map<String, Parameters> merged = new HashMap<>();
  private Map<String, Double> calibration = Map.of();
  private long step;

  /// A trainer at step 0 around first weights, which it owns from now on.
  public Trainer(
      Backend backend, Method method, TrainSpec spec, Map<String, Parameters> firstWeights) {
    this.backend = backend;
    this.method = method;
    this.spec = spec;
    roles = new LinkedHashMap<>();
    for (Method.Role role : method.roles()) {
      Parameters weights = firstWeights.get(role.name());
      if (weights == null) {
        throw new IllegalArgumentException("train: role " + role.name() + " has no weights");
      }
      roles.put(role.name(), RoleState.of(role, weights, backend.memory()));
    }
  }

  /// Role states in declaration order.
  public SequencedMap<String, RoleState> roles() {
    return roles;
  }

  public Method method() {
    return method;
  }

  public TrainSpec spec() {
    return spec;
  }

  /// The weights to sample a role with: its average if there is one. Of adapters the adapted
  /// network's, merged as they are now; the trainer keeps them.
  public Parameters sampled(String role) {
    RoleState state = state(role);
    if (!(state.role().net() instanceof Lora lora)) {
      return state.best();
    }
    Parameters base = state(state.role().adapts().orElseThrow()).weights();
    Parameters into =
        merged.computeIfAbsent(role, name -> lora.base().plan().allocate(backend.memory()));
    lora.merge(backend, base, state.best(), into);
    return into;
  }

  /// Steps completed.
  public long step() {
    return step;
  }

  /// The numbers [Method#calibrate] found.
  public Map<String, Double> calibration() {
    return calibration;
  }

  /// Continues after `steps` completed ones; the caller has loaded the role states.
  public void restore(long steps, Map<String, Double> calibrated) {
    step = steps;
    calibration = Map.copyOf(calibrated);
  }

  /// Runs until the last step, or until `stop` says so between two steps.
  ///
  /// @param batches the batch of each step
  /// @throws DivergedException if a term or gradient is not finite
  public void run(
      LongFunction<Batch> batches, BooleanSupplier stop, Consumer<TrainEvent> listener) {
    while (step < spec.steps() && !stop.getAsBoolean()) {
      long started = System.nanoTime();
      Batch batch = batches.apply(step);
      if (step == 0) {
        calibrate(batch);
      }
      SequencedMap<String, Double> values = runStep(batch);
      step++;
      double seconds = (System.nanoTime() - started) / 1e9;
      listener.accept(new TrainEvent.StepDone(step, values, step * method.batch(), seconds));
    }
    listener.accept(new TrainEvent.Ended(step, step >= spec.steps()));
  }

  private void calibrate(Batch batch) {
    try (Scope scope = new Scope(backend.memory())) {
      Nets nets = nets(new Tape(backend, scope, Set.of()), new StepValues(scope));
      calibration = method.calibrate(nets, batch, new Noise(spec.seed(), 0, CALIBRATION_PHASE));
    }
  }

  private SequencedMap<String, Double> runStep(Batch batch) {
    SequencedMap<String, Double> values = new LinkedHashMap<>();
    List<Phase> phases = method.phases();
    try (Scope scope = new Scope(backend.memory())) {
      StepValues left = new StepValues(scope);
      for (int i = 0; i < phases.size(); i++) {
        if (phases.get(i).runsAt(step)) {
          runPhase(phases.get(i), batch, new Noise(spec.seed(), step, i), left, values);
        }
      }
      method.blends(step).forEach(this::blend);
      method.redraws(new Noise(spec.seed(), step, REDRAW_PHASE)).forEach(this::redraw);
    }
    return values;
  }

  private void runPhase(
      Phase phase, Batch batch, Noise noise, StepValues left, SequencedMap<String, Double> values) {
    try (Scope scope = new Scope(backend.memory())) {
      Outcome outcome =
          backend.together(phase.name(), () -> learn(phase, batch, noise, left, scope));
      float[] terms = outcome.terms().floats();
      for (int i = 0; i < terms.length; i++) {
        record(phase, outcome.names().get(i), terms[i], values);
      }
      long[] norms = outcome.norms().longs();
      for (int i = 0; i < norms.length; i++) {
        RoleState role = outcome.updated().get(i);
        double norm = requireNonNull(role.adam()).confirm(norms[i]);
        record(phase, role.role().name() + "_gradient_norm", norm, values);
      }
    }
  }

  /// What a phase did, still on the device.
  ///
  /// @param names of the loss's terms
  /// @param terms their values
  /// @param updated the roles that were trained
  /// @param norms bits of their gradient norms
  private record Outcome(List<String> names, Tensor terms, List<RoleState> updated, Tensor norms) {}

  /// Loss, gradients and updates; reads nothing back.
  private Outcome learn(Phase phase, Batch batch, Noise noise, StepValues left, Scope scope) {
    Set<Parameters> trained =
        phase.trains().stream().map(name -> state(name).weights()).collect(Collectors.toSet());
    trained.forEach(Parameters::zeroGradients);
    Tape tape = new Tape(backend, scope, trained);
    Method.Terms terms = phase.loss().compute(nets(tape, left), batch, noise);
    Tensor values = scope.allocate(Shape.of(terms.parts().size()));
    int term = 0;
    for (Var part : terms.parts().values()) {
      values.view(scope, part.shape(), term++).copyFrom(part.value());
    }
    // Declaration order, so that logs and updates do not depend on a set's order.
    List<RoleState> updated =
        roles.values().stream()
            .filter(role -> phase.trains().contains(role.role().name()))
            .toList();
    Tensor norms = scope.allocate(Shape.of(updated.size()), DType.I64);
    tape.backward(terms.total());
    for (int i = 0; i < updated.size(); i++) {
      update(updated.get(i), terms.total().value(), norms.view(scope, Shape.of(1), i));
    }
    return new Outcome(List.copyOf(terms.parts().sequencedKeySet()), values, updated, norms);
  }

  private void blend(Method.Blend blend) {
    Parameters moving = state(blend.role()).weights();
    WeightBlend.apply(backend, moving, blend.keep(), state(blend.toward()).weights());
  }

  private void redraw(Method.Redraw redraw) {
    RoleState state = state(redraw.role());
    Adam adam = state.adam();
    for (Parameter drawn :
        state.role().net().plan().redraw(state.weights(), redraw.names(), redraw.key())) {
      if (adam != null) {
        adam.forget(drawn);
      }
    }
  }

  private void record(Phase phase, String what, double value, SequencedMap<String, Double> values) {
    if (!Double.isFinite(value)) {
      throw new DivergedException(step, phase.name(), what, value);
    }
    values.put(phase.name() + "/" + what, value);
  }

  private void update(RoleState role, Tensor loss, Tensor norm) {
    Adam adam = requireNonNull(role.adam());
    double lr = adam.spec().lrAt(step, spec.steps());
    double decay = spec.average().decay(method.batch(), (step + 1) * method.batch());
    adam.queue(backend, lr, role.average(), decay, loss, norm);
  }

  private Nets nets(Tape tape, StepValues left) {
    Map<String, Nets.Player> players = new HashMap<>();
    roles.forEach((name, role) -> players.put(name, new Nets.Player(role.role(), role.weights())));
    return new Nets(tape, players, calibration, spec.preconditioning(), spec.compute(), left);
  }

  private RoleState state(String name) {
    RoleState state = roles.get(name);
    if (state == null) {
      throw new IllegalArgumentException("train: the method names an unknown role: " + name);
    }
    return state;
  }

  @Override
  public void close() {
    roles.values().forEach(RoleState::close);
    merged.values().forEach(Parameters::close);
  }
}
