package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `a + b` or `a b`, with b repeated to the shape of a by NumPy's rules.
///
/// A bias `(C)`, one number a sample `(N, 1, 1, 1)` or a vector a sample `(N, 1, 1, C)` on images
/// `(N, H, W, C)` are each one pass. b may be float32 where a is bfloat16. The gradient of b is
/// summed over what it was repeated along.
public record Broadcast(Kind kind) implements Op {

  /// What is done; the order is that of the native contract (`retort/elementwise.h`).
  public enum Kind {
    ADD,
    MULTIPLY;

    /// The number the native contract uses.
    public int code() {
      return ordinal();
    }
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    AxisGroups.broadcast(name(), inputs.get(1), inputs.getFirst());
    return inputs.getFirst();
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    ElementTypes.floating(name(), inputs.getFirst());
    ElementTypes.floating(name(), inputs.get(1));
    return List.of(apply(backend, scope, inputs.getFirst(), inputs.get(1), kind));
  }

  private Tensor apply(Backend backend, Scope scope, Tensor a, Tensor b, Kind applied) {
    Tensor out = scope.allocate(a.shape(), a.dtype());
    backend.elementwise().broadcast(applied, axes(a, b), a, b, out);
    return out;
  }

  private AxisGroups axes(Tensor a, Tensor b) {
    return AxisGroups.broadcast(name(), b.shape(), a.shape());
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    Tensor a = saved.input(0);
    Tensor b = saved.input(1);
    List<@Nullable Tensor> gradients = new ArrayList<>();
    if (!saved.needs(0)) {
      gradients.add(null);
    } else if (kind == Kind.ADD) {
      gradients.add(gradOut.view(scope, gradOut.shape()));
    } else {
      gradients.add(apply(backend, scope, gradOut, b, Kind.MULTIPLY));
    }
    if (!saved.needs(1)) {
      gradients.add(null);
    } else {
      Tensor gradient = scope.allocate(b.shape(), b.dtype());
      if (kind == Kind.ADD) {
        backend.reductions().sum(axes(a, b), gradOut, 1, gradient);
      } else {
        backend.reductions().sumOfProducts(axes(a, b), gradOut, a, 1, gradient);
      }
      gradients.add(gradient);
    }
    return gradients;
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] out = inputs.getFirst().clone();
    double[] b = inputs.get(1);
    for (int i = 0; i < out.length; i++) {
      double other = b[indexOfSmall(i, shapes.getFirst(), shapes.get(1))];
      out[i] = kind == Kind.ADD ? out[i] + other : out[i] * other;
    }
    return out;
  }

  /// The element of `small` that meets element `index` of `large`: coordinates are matched from the
  /// last axis.
  private static int indexOfSmall(int index, Shape large, Shape small) {
    long rest = index;
    long stride = 1;
    long target = 0;
    for (int back = 1; back <= small.rank(); back++) {
      long coordinate = rest % large.dim(-back);
      rest /= large.dim(-back);
      target += (small.dim(-back) == 1 ? 0 : coordinate) * stride;
      stride *= small.dim(-back);
    }
    return Math.toIntExact(target);
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(elements, 8 * elements + 4.0 * inputs.get(1).elements());
  }

  public static List<Case> cases() {
    List<Case> cases = new ArrayList<>();
    for (Kind kind : Kind.values()) {
      var op = new Broadcast(kind);
      Input images = Input.normal(3, 5, 4, 7);
      cases.add(Case.of(kind + " channel", op, images, Input.normal(7)));
      cases.add(Case.of(kind + " sample", op, images, Input.normal(3, 1, 1, 1)));
      cases.add(Case.of(kind + " sample and channel", op, images, Input.normal(3, 1, 1, 7)));
      cases.add(Case.of(kind + " pixel", op, images, Input.normal(5, 4, 1)));
      cases.add(Case.of(kind + " scalar", op, images, Input.normal()));
      cases.add(Case.of(kind + " same shape", op, images, images));
      cases.add(
          Case.of(
              kind + " five groups", op, Input.normal(2, 3, 2, 3, 2), Input.normal(2, 1, 2, 1, 2)));
      cases.add(Case.of(kind + " one element", op, Input.normal(1), Input.normal(1)));
      cases.add(
          Case.of(kind + " parallel", op, Input.normal(17, 131, 128), Input.normal(17, 1, 128)));
      cases.add(
          Case.of(kind + " mean 1000", op, Input.normal(1000, 1, Shape.of(6, 17)), Input.normal(17))
              .within(1e-3, 1e-5, "products of 1000 are rounded at 2^-14, six of them are summed"));
      cases.add(
          Case.of(kind + " bf16 with f32 bias", op, images.bf16(), Input.normal(7))
              .within(
                  3e-2,
                  1e-2,
                  "out and incoming gradient are rounded to 2^-8, 60 of them are summed"));
      cases.add(
          Case.of(kind + " bf16", op, images.bf16(), Input.normal(3, 1, 1, 7).bf16())
              .within(
                  3e-2,
                  1e-2,
                  "out and incoming gradient are rounded to 2^-8, 20 of them are summed"));
    }
    return cases;
  }
}
