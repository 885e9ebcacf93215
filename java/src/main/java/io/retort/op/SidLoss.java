package io.retort.op;

import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `sum (r - f) ((r - x) - alpha (r - f)) / w / N`, `w = max(mean |x - r|, floor)` per sample held
/// constant.
///
/// Inputs: generated x `(N, ...)`, denoised by the teacher r and by the critic f; gradients for all
/// three, because SiD differentiates through both networks into the sample. Source: SiD, Zhou et
/// al. 2024, eq. 23 and algorithm 1.
public record SidLoss(double alpha, double floor) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Samples.same(name(), inputs, inputs.getFirst());
    return Shape.of();
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Shape shape = inputs.getFirst().shape();
    Tensor loss = scope.allocate(Shape.of());
    List<Tensor> gradients =
        List.of(scope.allocate(shape), scope.allocate(shape), scope.allocate(shape));
    backend
        .scores()
        .sid(
            inputs.get(0),
            inputs.get(1),
            inputs.get(2),
            alpha,
            floor,
            loss,
            gradients.get(0),
            gradients.get(1),
            gradients.get(2));
    return List.of(loss, gradients.get(0), gradients.get(1), gradients.get(2));
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    List<@Nullable Tensor> gradients = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      gradients.add(
          saved.needs(i) ? Samples.scaled(backend, scope, saved.extra(i), gradOut) : null);
    }
    return gradients;
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] weight = weights(inputs, shapes);
    double samples = shapes.getFirst().dim(0);
    double sum = 0;
    for (int i = 0; i < weight.length; i++) {
      double gap = inputs.get(1)[i] - inputs.get(2)[i];
      sum += gap * (inputs.get(1)[i] - inputs.get(0)[i] - alpha * gap) / weight[i] / samples;
    }
    return new double[] {sum};
  }

  @Override
  public List<double @Nullable []> referenceVjp(
      List<double[]> inputs, List<Shape> shapes, double[] gradOut) {
    double[] weight = weights(inputs, shapes);
    double samples = shapes.getFirst().dim(0);
    double[][] gradients = new double[3][weight.length];
    for (int i = 0; i < weight.length; i++) {
      double gap = inputs.get(1)[i] - inputs.get(2)[i];
      double pull = inputs.get(1)[i] - inputs.get(0)[i];
      double scale = gradOut[0] / weight[i] / samples;
      gradients[0][i] = -scale * gap;
      gradients[1][i] = scale * (pull + gap - 2 * alpha * gap);
      gradients[2][i] = scale * (2 * alpha * gap - pull);
    }
    return Arrays.asList(gradients);
  }

  private double[] weights(List<double[]> inputs, List<Shape> shapes) {
    int elements = inputs.getFirst().length;
    int pixels = (int) (elements / shapes.getFirst().dim(0));
    double[] weights = new double[elements];
    for (int sample = 0; sample < elements; sample += pixels) {
      double distance = 0;
      for (int i = sample; i < sample + pixels; i++) {
        distance += Math.abs(inputs.get(0)[i] - inputs.get(1)[i]) / pixels;
      }
      Arrays.fill(weights, sample, sample + pixels, Math.max(distance, floor));
    }
    return weights;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    long elements = inputs.getFirst().elements();
    return new Cost(12.0 * elements, 24.0 * elements);
  }

  public static List<Case> cases() {
    return List.of(
        Case.of(
                "alpha 1",
                new SidLoss(1, 1e-5),
                Case.Input.normal(3, 35),
                Case.Input.normal(3, 35),
                Case.Input.normal(3, 35))
            .within(1e-4, 1e-5, "a sum of 105 products over a distance near 1"),
        Case.of(
                "alpha 1.2",
                new SidLoss(1.2, 1e-5),
                Case.Input.normal(2, 4, 4, 3),
                Case.Input.normal(2, 4, 4, 3),
                Case.Input.normal(2, 4, 4, 3))
            .within(1e-4, 1e-5, "a sum of 96 products over a distance near 1"),
        Case.of(
                "sample of several blocks",
                new SidLoss(1.2, 1e-5),
                Case.Input.normal(1, 16388),
                Case.Input.normal(1, 16388),
                Case.Input.normal(1, 16388))
            .within(1e-4, 1e-5, "a sum of 16,388 products over a distance near 1"));
  }
}
