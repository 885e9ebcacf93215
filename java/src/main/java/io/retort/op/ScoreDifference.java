package io.retort.op;

import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The gradient of distribution matching as a loss: `g` from two denoised images of the same noised
/// sample.
///
/// Inputs: generated x `(N, ...)`, denoised by the teacher ("real") and by the critic ("fake"),
/// both without gradient. `DMD`: `g = (fake - real) / max(mean |x - real|, floor)` per sample,
/// gradient of x is `g / elements`, the value is `mean(g^2) / 2`. `DI`: `g = fake - real`, gradient
/// `g / N`, value `sum(g^2) / (2 N)`. The gradient is not the derivative of the value: the score
/// difference is held constant. Sources: DMD, Yin et al. 2023, eq. 7-8; Diff-Instruct, Luo et al.
/// 2023, eq. 8.
public record ScoreDifference(Form form, double floor) implements Op {

  /// Which normaliser; the ordinal is the number in `retort/score_difference.h`.
  public enum Form {
    DMD,
    DI
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    Samples.same(name(), inputs, inputs.getFirst());
    return Shape.of();
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor loss = scope.allocate(Shape.of());
    Tensor gradient = scope.allocate(inputs.getFirst().shape());
    backend
        .scores()
        .scoreDifference(inputs.get(0), inputs.get(1), inputs.get(2), form, floor, loss, gradient);
    return List.of(loss, gradient);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    return Arrays.asList(Samples.scaled(backend, scope, saved.extra(0), gradOut), null, null);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] g = difference(inputs, shapes);
    double divisor = form == Form.DMD ? g.length : shapes.getFirst().dim(0);
    return new double[] {Arrays.stream(g).map(v -> v * v).sum() / (2 * divisor)};
  }

  @Override
  public List<double @Nullable []> referenceVjp(
      List<double[]> inputs, List<Shape> shapes, double[] gradOut) {
    double[] g = difference(inputs, shapes);
    double divisor = form == Form.DMD ? g.length : shapes.getFirst().dim(0);
    List<double @Nullable []> gradients = new ArrayList<>();
    gradients.add(Arrays.stream(g).map(v -> gradOut[0] * v / divisor).toArray());
    gradients.add(null);
    gradients.add(null);
    return gradients;
  }

  private double[] difference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.get(0);
    double[] real = inputs.get(1);
    double[] fake = inputs.get(2);
    int pixels = (int) (x.length / shapes.getFirst().dim(0));
    double[] g = new double[x.length];
    for (int sample = 0; sample < x.length; sample += pixels) {
      double distance = 0;
      for (int i = sample; i < sample + pixels; i++) {
        distance += Math.abs(x[i] - real[i]) / pixels;
      }
      for (int i = sample; i < sample + pixels; i++) {
        g[i] = (fake[i] - real[i]) / (form == Form.DMD ? Math.max(distance, floor) : 1);
      }
    }
    return g;
  }

  @Override
  public boolean differentiable(int index) {
    return index == 0;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    long elements = inputs.getFirst().elements();
    return new Cost(7.0 * elements, 16.0 * elements);
  }

  public static List<Case> cases() {
    return Arrays.stream(Form.values())
        .map(form -> new ScoreDifference(form, 1e-6))
        .flatMap(op ->
            List.of(
                Case.of("prime", op, images(3, 35), images(3, 35), images(3, 35)),
                Case.of("one pixel", op, images(5, 1), images(5, 1), images(5, 1))
                    .within(1e-4, 1e-4, "one pixel's distance can be small against its rounding"),
                Case.of("several threads", op, images(4, 9000), images(4, 9000), images(4, 9000))
                    .within(1e-4, 1e-5, "a sum of 36,000 squares"),
                Case.of(
                        "sample of several blocks",
                        op,
                        images(1, 16390),
                        images(1, 16390),
                        images(1, 16390))
                    .within(1e-4, 1e-5, "a sum of 16,390 squares"))
                .stream())
        .toList();
  }

  private static Case.Input images(long n, long pixels) {
    return Case.Input.normal(n, pixels);
  }
}
