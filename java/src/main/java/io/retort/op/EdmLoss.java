package io.retort.op;

import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `sum_n w(sigma_n) |d_n - y_n|^2 / divisor`, `w = 1/sigma^2 + 1/sigmaData^2`.
///
/// Inputs: denoised d `(N, ...)`, target y as d (no gradient), sigma `(N)` (no gradient). Output:
/// scalar. The divisor is N times the pixels (`MEAN`, as DMD2's critic) or N alone (`SUM`, as EDM
/// sums over pixels). Source: EDM, Karras et al. 2022, eq. 2 and table 1; `w = (sigma^2 + sd^2) /
/// (sigma sd)^2` is the same number.
public record EdmLoss(double sigmaData, Pixels pixels) implements Op {

  /// What happens to the pixels of one sample.
  public enum Pixels {
    SUM,
    MEAN
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    Samples.same(name(), inputs.subList(0, 2), inputs.getFirst());
    Samples.check(name(), inputs.getFirst(), inputs.get(2));
    return Shape.of();
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor loss = scope.allocate(Shape.of());
    Tensor gradient = scope.allocate(inputs.getFirst().shape(), DType.F32);
    boolean mean = pixels == Pixels.MEAN;
    backend
        .scores()
        .edmLoss(inputs.get(0), inputs.get(1), inputs.get(2), sigmaData, mean, loss, gradient);
    return List.of(loss, gradient);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    return Arrays.asList(Samples.scaled(backend, scope, saved.extra(0), gradOut), null, null);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] d = inputs.get(0);
    double samples = inputs.get(2).length;
    double sum = 0;
    for (int i = 0; i < d.length; i++) {
      double sigma = Samples.of(inputs.get(2), i, d.length);
      double weight = (sigma * sigma + sigmaData * sigmaData) / Math.pow(sigma * sigmaData, 2);
      sum += weight * Math.pow(d[i] - inputs.get(1)[i], 2);
    }
    return new double[] {sum / (pixels == Pixels.MEAN ? d.length : samples)};
  }

  @Override
  public boolean differentiable(int index) {
    return index == 0;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    long elements = inputs.getFirst().elements();
    return new Cost(5.0 * elements, 12.0 * elements);
  }

  public static List<Case> cases() {
    return Arrays.stream(Pixels.values())
        .flatMap(pixels -> cases(new EdmLoss(0.5, pixels)).stream())
        .toList();
  }

  private static List<Case> cases(EdmLoss op) {
    String why = "the loss is a sum of terms up to 1/sigma^2";
    return List.of(
        Case.of(
                "one element",
                op,
                Case.Input.normal(1, 1),
                Case.Input.normal(1, 1),
                Case.Input.uniform(0.2, 80, 1))
            .within(1e-5, 1e-5, why),
        Case.of(
                "prime",
                op,
                Case.Input.normal(3, 7, 5, 1),
                Case.Input.normal(3, 7, 5, 1),
                Case.Input.uniform(0.2, 3, 3))
            .within(1e-4, 1e-5, why),
        Case.of(
                "mean 1000",
                op,
                Case.Input.normal(1000, 1, Shape.of(2, 9)),
                Case.Input.normal(1000, 1, Shape.of(2, 9)),
                Case.Input.uniform(0.5, 2, 2))
            .within(
                1e-3,
                1e-5,
                "inputs near 1000 are rounded to 6e-5 before the difference is formed, exactly after"));
  }
}
