package io.retort.distill;

import static java.util.Map.entry;

import io.retort.MethodStepTest;
import java.util.List;
import java.util.SequencedMap;

/// The metric net's training, on the embedded images.
class ClassifierTrainingTest implements MethodStepTest {
  @Override
  public MethodKind<?> kind() {
    return ClassifierTraining.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of("batch=8", "optimizer.warmup=0", "optimizer.cooldown=0", "optimizer.eps=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("classify/cross_entropy", 2.229820),
        entry("classify/classifier_gradient_norm", 1.193428));
  }
}
