package io.retort.op;

import io.retort.op.AugmentSpec.Family;
import io.retort.op.Case.Input;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// One random augmentation for the whole batch: siamese, so two batches under one key are
/// transformed alike.
///
/// x `(N, H, W, C)` float32 or bfloat16; the result has its shape. What is done depends on the key
/// and on H and W only. Differentiable with respect to x: bilinear samples, image means, holes.
/// Cost: one read and one write. Source: Zhao & Bilen 2021, "Dataset condensation with
/// differentiable siamese augmentation".
public record Augment(AugmentSpec spec, PhiloxKey key) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.getFirst();
    if (x.rank() != 4 || x.elements() == 0) {
      throw new ShapeException("augment: x must be (N, H, W, C) and not empty, got " + x);
    }
    return x;
  }

  private Augmentation draw(Shape shape) {
    return spec.draw(key, shape.dim(1), shape.dim(2));
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    Tensor y = scope.allocate(x.shape(), ElementTypes.floating(name(), x));
    AugmentKernels kernels = backend.augmentations();
    switch (draw(x.shape())) {
      case Augmentation.Color color -> kernels.color(color, x, y);
      case Augmentation.Warp warp -> kernels.warp(warp, spec.fill(), x, y);
      case Augmentation.Cutout cutout -> kernels.cutout(cutout, spec.fill(), x, y);
    }
    return List.of(y);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor gradient = scope.allocate(gradOut.shape(), gradOut.dtype());
    AugmentKernels kernels = backend.augmentations();
    switch (draw(gradOut.shape())) {
      case Augmentation.Color(_, double saturation, double contrast) ->
          kernels.color(new Augmentation.Color(0, saturation, contrast), gradOut, gradient);
      case Augmentation.Warp warp -> kernels.warpGradient(warp, gradOut, gradient);
      case Augmentation.Cutout cutout -> kernels.cutout(cutout, 0, gradOut, gradient);
    }
    return List.of(gradient);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    var images = new Images(inputs.getFirst(), shapes.getFirst(), spec.fill());
    return switch (draw(shapes.getFirst())) {
      case Augmentation.Color color -> images.recoloured(color);
      case Augmentation.Warp warp -> images.warped(warp);
      case Augmentation.Cutout cutout -> images.cut(cutout);
    };
  }

  /// Float64 images and the three transformations, step by step as they are defined.
  private record Images(double[] x, int n, int height, int width, int channels, double fill) {

    Images(double[] x, Shape shape, double fill) {
      this(x, (int) shape.dim(0), (int) shape.dim(1), (int) shape.dim(2), (int) shape.dim(3), fill);
    }

    int at(int image, int row, int column, int c) {
      return ((image * height + row) * width + column) * channels + c;
    }

    /// Brightness, then saturation about the pixel's grey, then contrast about the image's mean.
    double[] recoloured(Augmentation.Color color) {
      double[] y = x.clone();
      for (int i = 0; i < y.length; i++) {
        y[i] += color.brightness();
      }
      stretch(y, channels, color.saturation());
      stretch(y, height * width * channels, color.contrast());
      return y;
    }

    /// Multiplies the distance from the mean of each run of `length` numbers.
    private static void stretch(double[] values, int length, double factor) {
      for (int first = 0; first < values.length; first += length) {
        double sum = 0;
        for (int i = first; i < first + length; i++) {
          sum += values[i];
        }
        double mean = sum / length;
        for (int i = first; i < first + length; i++) {
          values[i] = (values[i] - mean) * factor + mean;
        }
      }
    }

    double[] warped(Augmentation.Warp warp) {
      double[] y = new double[x.length];
      for (int image = 0; image < n; image++) {
        for (int v = 0; v < height; v++) {
          for (int u = 0; u < width; u++) {
            double gridX = (2 * u + 1.0) / width - 1;
            double gridY = (2 * v + 1.0) / height - 1;
            double sourceX = warp.a00() * gridX + warp.a01() * gridY + warp.a02();
            double sourceY = warp.a10() * gridX + warp.a11() * gridY + warp.a12();
            double column = ((sourceX + 1) * width - 1) / 2;
            double row = ((sourceY + 1) * height - 1) / 2;
            for (int c = 0; c < channels; c++) {
              y[at(image, v, u, c)] = sample(image, row, column, c);
            }
          }
        }
      }
      return y;
    }

    private double sample(int image, double row, double column, int c) {
      int top = (int) Math.floor(row);
      int left = (int) Math.floor(column);
      double down = row - top;
      double right = column - left;
      return (1 - down) * (1 - right) * pixel(image, top, left, c)
          + (1 - down) * right * pixel(image, top, left + 1, c)
          + down * (1 - right) * pixel(image, top + 1, left, c)
          + down * right * pixel(image, top + 1, left + 1, c);
    }

    private double pixel(int image, int row, int column, int c) {
      boolean inside = row >= 0 && column >= 0 && row < height && column < width;
      return inside ? x[at(image, row, column, c)] : fill;
    }

    double[] cut(Augmentation.Cutout cutout) {
      double[] y = x.clone();
      for (int image = 0; image < n; image++) {
        for (int row = (int) cutout.top(); row < cutout.bottom(); row++) {
          for (int column = (int) cutout.left(); column < cutout.right(); column++) {
            for (int c = 0; c < channels; c++) {
              y[at(image, row, column, c)] = fill;
            }
          }
        }
      }
      return y;
    }
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(8 * elements, 8 * elements);
  }

  public static List<Case> cases() {
    List<Case> cases = new ArrayList<>();
    for (Family family : Family.values()) {
      for (int step = 1; step <= 2; step++) {
        cases.add(of(family + " rgb, draw " + step, family, step, 0, Input.normal(2, 6, 6, 3)));
      }
      cases.add(of(family + " grey, filled", family, 3, -1, Input.normal(2, 7, 5, 1)));
      cases.add(of(family + " one pixel", family, 4, 0, Input.normal(1, 1, 1, 1)));
      cases.add(of(family + " parallel", family, 5, 0, Input.normal(12, 32, 32, 3)));
      cases.add(
          of(family + " bf16", family, 6, 0.5, Input.normal(2, 5, 8, 3).bf16())
              .within(1e-2, 1e-2, "output and gradient are rounded to 2^-8"));
    }
    return cases;
  }

  private static Case of(String name, Family family, int step, double fill, Input x) {
    var spec = AugmentSpec.standard().with(List.of(family)).fill(fill);
    return Case.of(name, new Augment(spec, new PhiloxKey(11, Purpose.AUGMENT, 0, step)), x);
  }
}
