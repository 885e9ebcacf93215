package io.retort.distill;

import io.retort.data.Batch;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.LeNet;
import io.retort.op.CrossEntropy;
import io.retort.tensor.Shape;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;

/// Trains the classifier whose features measure image sets. Never used in a loss of a distillation.
public record ClassifierTraining(LeNet network, int batch) implements Method {

  /// The one role.
  public static final String CLASSIFIER = "classifier";

  @Override
  public String name() {
    return "classifier";
  }

  @Override
  public List<Role> roles() {
    return List.of(new Role(CLASSIFIER, network, true, Optional.empty(), true));
  }

  @Override
  public List<Phase> phases() {
    return List.of(new Phase("classify", 1, Set.of(CLASSIFIER), this::classify));
  }

  private Terms classify(Nets nets, Batch batch, Noise noise) {
    Tape tape = nets.tape();
    Shape shape = Shape.of(batch.count(), batch.height(), batch.width(), batch.channels());
    long[] labels = new long[batch.count()];
    for (int i = 0; i < labels.length; i++) {
      labels[i] = batch.labels()[i];
    }
    Var images = nets.input(tape.constant(shape, batch.images()));
    Var features = network.features(tape, nets.parameters(CLASSIFIER), images);
    Var logits = nets.output(network.logits(tape, nets.parameters(CLASSIFIER), features));
    Var loss =
        tape.apply(new CrossEntropy(), logits, tape.constant(Shape.of(labels.length), labels));
    SequencedMap<String, Var> parts = new LinkedHashMap<>();
    parts.put("cross_entropy", loss);
    return new Terms(loss, parts);
  }
}
