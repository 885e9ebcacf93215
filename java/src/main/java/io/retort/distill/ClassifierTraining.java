package io.retort.distill;

import io.retort.data.Batch;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.LeNet;
import io.retort.op.CrossEntropy;
import io.retort.tensor.Shape;
import java.util.List;
import java.util.Set;

/// Trains the classifier whose features measure image sets. Never used in a loss of a distillation.
public record ClassifierTraining(LeNet network, Settings settings) implements Method {

  /// The one role.
  public static final String CLASSIFIER = "classifier";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "classifier",
          MethodKind.Goal.METRIC_NET,
          "metric net: LeNet whose features measure image sets, in no loss",
          "LeCun et al. 1998",
          List.of("fashion-mnist-metric-net"),
          "recipes/evidence/",
          Settings.DEFAULT,
          (settings, inputs) ->
              new ClassifierTraining(
                  new LeNet(
                      inputs.data().height(),
                      inputs.data().channels(),
                      inputs.data().classes().size()),
                  settings),
          MethodKind.Ablations.none());

  /// The method's numbers.
  ///
  /// @param batch images a step
  public record Settings(int batch, AdamSpec optimizer) {
    public static final Settings DEFAULT =
        new Settings(100, new AdamSpec(1e-3, 0.9, 0.999, 1e-8, 0, 0, 50, 500));

    public Settings {
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
    }
  }

  @Override
  public String name() {
    return KIND.name();
  }

  @Override
  public int batch() {
    return settings.batch;
  }

  @Override
  public List<Role> roles() {
    return List.of(Role.drawn(CLASSIFIER, network, settings.optimizer, true));
  }

  @Override
  public List<Phase> phases() {
    return List.of(new Phase("classify", 1, Set.of(CLASSIFIER), this::classify));
  }

  private Terms classify(Nets nets, Batch batch, Noise noise) {
    Tape tape = nets.tape();
    long[] labels = new long[batch.count()];
    for (int i = 0; i < labels.length; i++) {
      labels[i] = batch.labels()[i];
    }
    Var images = nets.input(nets.images(batch, batch.count()));
    Var features = network.features(tape, nets.parameters(CLASSIFIER), images);
    Var logits = nets.output(network.logits(tape, nets.parameters(CLASSIFIER), features));
    Var loss =
        tape.apply(new CrossEntropy(), logits, tape.constant(Shape.of(labels.length), labels));
    return WeightedSum.single("cross_entropy", loss);
  }
}
