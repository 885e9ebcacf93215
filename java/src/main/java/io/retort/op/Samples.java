package io.retort.op;

import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;

/// Batches with one number a sample: the shape rule and the indexing that such ops share.
final class Samples {

  private Samples() {}

  /// The images' shape, checked against a `(N)` tensor.
  static Shape check(String op, Shape images, Shape perSample) {
    if (images.rank() < 1 || images.elements() == 0) {
      throw new ShapeException(op + ": images must be (N, ...) and not empty, got " + images);
    }
    if (!perSample.equals(Shape.of(images.dim(0)))) {
      throw new ShapeException(
          op
              + ": sigma must be ("
              + images.dim(0)
              + "), got "
              + perSample
              + " (images "
              + images
              + ")");
    }
    return images;
  }

  /// Checks that all images have one shape and returns it.
  static Shape same(String op, Iterable<Shape> images, Shape expected) {
    for (Shape shape : images) {
      if (!shape.equals(expected)) {
        throw new ShapeException(op + ": all images must be " + expected + ", got " + shape);
      }
    }
    return expected;
  }

  /// A loss's saved unit gradient times the scalar that flows in.
  static Tensor scaled(Backend backend, Scope scope, Tensor unitGradient, Tensor gradOut) {
    Tensor scaled = scope.allocate(unitGradient.shape());
    AxisGroups axes = AxisGroups.broadcast("loss", gradOut.shape(), unitGradient.shape());
    backend.elementwise().broadcast(Broadcast.Kind.MULTIPLY, axes, unitGradient, gradOut, scaled);
    return scaled;
  }

  /// The number that belongs to element `index` of a batch of `elements` elements.
  static double of(double[] perSample, int index, int elements) {
    return perSample[index / (elements / perSample.length)];
  }
}
