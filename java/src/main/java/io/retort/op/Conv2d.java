package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `y[n,i,j,o] = b_o + sum_{a,b,c} x[n, i s + a - p, j s + b - p, c] w[o,c,a,b]`: cross-correlation
/// with zero padding; and, where there is a [Tail], what would otherwise be further passes over y.
///
/// Inputs x `(N, H, W, Cin)`, weight `(Cout, Cin/groups, kh, kw)` float32 and, if wanted, bias
/// `(Cout)` float32, then those of the tail; output `(N, Ho, Wo, Cout)` with `Ho = (H + 2 padding -
/// kh) / stride + 1`. Group g of the outputs sees group g of the inputs. bf16 rounds the weights
/// for the product and sums in float32; weight and bias gradients are float32. Cost: `2 N Ho Wo
/// Cout Cin/groups kh kw` FLOP; compute-bound but for a few channels.
public record Conv2d(int stride, int padding, int groups, Tail tail) implements Op {
  /// Largest stride and padding: far beyond any use, and no sum of them overflows in a kernel.
  private static final int MOST = 4096;

  private static final int SHIFT = 3;

  /// What follows the sums: `scale (y + shift[n,o] + residual[n,i,j,o])`, with inputs after the
  /// bias: shift `(N, Cout)` if `shifted`, then residual `(N, Ho, Wo, Cout)` if `joined`, both of
  /// x's type.
  public record Tail(boolean shifted, boolean joined, double scale) {
    public static final Tail NONE = new Tail(false, false, 1);

    /// Inputs that it adds.
    int inputs() {
      return (shifted ? 1 : 0) + (joined ? 1 : 0);
    }
  }

  /// Without a tail.
  public Conv2d(int stride, int padding, int groups) {
    this(stride, padding, groups, Tail.NONE);
  }

  public Conv2d {
    if (stride < 1 || stride > MOST || padding < 0 || padding > MOST || groups < 1) {
      throw new IllegalArgumentException(
          "conv2d: stride must be in [1, "
              + MOST
              + "], padding in [0, "
              + MOST
              + "] and groups >= 1, got stride "
              + stride
              + ", padding "
              + padding
              + ", groups "
              + groups);
    }
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.get(0);
    Shape weight = inputs.get(1);
    if (x.rank() != 4 || weight.rank() != 4) {
      throw wrong("x must be (N, H, W, C) and weight (Cout, Cin/groups, kh, kw)", x, weight);
    }
    requireExtents("x", x);
    requireExtents("weight", weight);
    long channels = x.last();
    if (channels % groups != 0 || weight.dim(0) % groups != 0) {
      throw wrong(
          "input and output channels must be multiples of " + groups + " groups", x, weight);
    }
    if (weight.dim(1) != channels / groups) {
      throw wrong("weight must have " + channels / groups + " input channels", x, weight);
    }
    if (inputs.size() > 2) {
      Shape bias = inputs.get(2);
      if (bias.rank() != 1 || bias.dim(0) != weight.dim(0)) {
        throw new ShapeException("conv2d: bias must be (" + weight.dim(0) + "), got " + bias);
      }
    }
    Shape y = output(x, weight);
    if (!tail.equals(Tail.NONE)) {
      requireTail(inputs, y);
    }
    return y;
  }

  private void requireTail(List<Shape> inputs, Shape y) {
    if (inputs.size() != SHIFT + tail.inputs()) {
      throw new ShapeException(
          "conv2d: its tail wants the inputs x, weight, bias%s%s, got %d inputs"
              .formatted(
                  tail.shifted ? ", shift" : "", tail.joined ? ", residual" : "", inputs.size()));
    }
    if (tail.shifted && !inputs.get(SHIFT).equals(Shape.of(y.dim(0), y.last()))) {
      throw new ShapeException(
          "conv2d: shift must be (%d, %d), got %s"
              .formatted(y.dim(0), y.last(), inputs.get(SHIFT)));
    }
    if (tail.joined && !inputs.getLast().equals(y)) {
      throw new ShapeException(
          "conv2d: residual must have the output's shape %s, got %s"
              .formatted(y, inputs.getLast()));
    }
  }

  private static ShapeException wrong(String sentence, Shape x, Shape weight) {
    return new ShapeException("conv2d: " + sentence + ", got " + x + " and " + weight);
  }

  private Shape output(Shape x, Shape weight) {
    return Shape.of(
        x.dim(0), extent(x.dim(1), weight.dim(2)), extent(x.dim(2), weight.dim(3)), weight.dim(0));
  }

  private long extent(long size, long kernel) {
    long room = size + 2L * padding - kernel;
    if (room < 0) {
      throw new ShapeException(
          "conv2d: kernel of %d must fit into %d pixels padded by %d"
              .formatted(kernel, size, padding));
    }
    return room / stride + 1;
  }

  private static void requireExtents(String what, Shape shape) {
    for (int axis = 0; axis < shape.rank(); axis++) {
      if (shape.dim(axis) < 1 || shape.dim(axis) > Integer.MAX_VALUE) {
        throw new ShapeException(
            "conv2d: every extent of " + what + " must be in [1, 2^31), got " + shape);
      }
    }
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    DType type = ElementTypes.floating(name(), inputs.getFirst());
    ElementTypes.weights(name(), inputs.subList(0, inputs.size() - (tail.joined ? 1 : 0)), 1);
    Tensor x = inputs.get(0);
    Tensor weight = inputs.get(1);
    Tensor shift = tail.shifted ? inputs.get(SHIFT) : null;
    Tensor residual = tail.joined ? inputs.getLast() : null;
    if (residual != null) {
      ElementTypes.require(name(), type, residual);
    }
    Tensor y = scope.allocate(output(x.shape(), weight.shape()), type);
    backend.convolutions().conv2d(this, x, weight, bias(inputs), shift, residual, y);
    return List.of(y);
  }

  private static @Nullable Tensor bias(List<Tensor> inputs) {
    return inputs.size() > 2 ? inputs.get(2) : null;
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    Tensor x = saved.input(0);
    Tensor weight = saved.input(1);
    Tensor bias = bias(saved.inputs());
    @Nullable Tensor[] gradients = new @Nullable Tensor[saved.inputs().size()];
    Tensor gradSum = tail.scale == 1 ? gradOut : Add.scaled(backend, scope, tail.scale, gradOut);
    if (saved.needs(0)) {
      Tensor gradX = scope.allocate(x.shape(), x.dtype());
      backend.convolutions().conv2dDataGradient(this, gradSum, weight, gradX);
      gradients[0] = gradX;
    }
    if (saved.needs(1) || (bias != null && saved.needs(2))) {
      Tensor gradWeight = saved.gradient(scope, 1);
      Tensor gradBias = bias == null ? null : saved.gradient(scope, 2);
      backend.convolutions().conv2dWeightGradient(this, x, gradSum, gradWeight, gradBias);
      keepWanted(scope, saved, gradients, 1, gradWeight);
      if (gradBias != null) {
        keepWanted(scope, saved, gradients, 2, gradBias);
      }
    }
    if (tail.shifted && saved.needs(SHIFT)) {
      Tensor gradShift = scope.allocate(saved.input(SHIFT).shape());
      backend.reductions().sum(perSample(gradOut.shape()), gradSum, 1, gradShift);
      gradients[SHIFT] = gradShift;
    }
    int last = gradients.length - 1;
    if (tail.joined && saved.needs(last)) {
      gradients[last] = gradSum == gradOut ? gradOut.view(scope, gradOut.shape()) : gradSum;
    } else if (gradSum != gradOut) {
      scope.release(gradSum);
    }
    return Arrays.asList(gradients);
  }

  /// How a number for each sample and channel is repeated over the pixels of images `(N, H, W, C)`.
  private AxisGroups perSample(Shape images) {
    return AxisGroups.broadcast(name(), Shape.of(images.dim(0), 1, 1, images.last()), images);
  }

  private static void keepWanted(
      Scope scope, Saved saved, @Nullable Tensor[] gradients, int index, Tensor gradient) {
    if (saved.needs(index)) {
      gradients[index] = gradient;
    } else {
      scope.release(gradient);
    }
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.get(0);
    double[] weight = inputs.get(1);
    int[] in = ints(shapes.get(0));
    int[] kernel = ints(shapes.get(1));
    int[] out = ints(infer(shapes));
    int perGroup = kernel[0] / groups;
    double[] y = new double[out[0] * out[1] * out[2] * out[3]];
    for (int at = 0; at < y.length; at++) {
      int o = at % out[3];
      int j = at / out[3] % out[2];
      int i = at / out[3] / out[2] % out[1];
      int n = at / out[3] / out[2] / out[1];
      double sum = inputs.size() > 2 ? inputs.get(2)[o] : 0;
      for (int c = 0; c < kernel[1]; c++) {
        for (int a = 0; a < kernel[2]; a++) {
          for (int b = 0; b < kernel[3]; b++) {
            int row = i * stride + a - padding;
            int column = j * stride + b - padding;
            if (row >= 0 && row < in[1] && column >= 0 && column < in[2]) {
              int channel = o / perGroup * kernel[1] + c;
              sum +=
                  x[((n * in[1] + row) * in[2] + column) * in[3] + channel]
                      * weight[((o * kernel[1] + c) * kernel[2] + a) * kernel[3] + b];
            }
          }
        }
      }
      double shift = tail.shifted ? inputs.get(SHIFT)[n * out[3] + o] : 0;
      double residual = tail.joined ? inputs.getLast()[at] : 0;
      y[at] = tail.scale * (sum + shift + residual);
    }
    return y;
  }

  private static int[] ints(Shape shape) {
    return Arrays.stream(shape.dims()).mapToInt(Math::toIntExact).toArray();
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    Shape weight = inputs.get(1);
    double outputs = infer(inputs).elements();
    double products = outputs * weight.elements() / weight.dim(0);
    double added = tail.shifted ? inputs.get(SHIFT).elements() : 0;
    added += tail.joined ? outputs : 0;
    double moved = inputs.get(0).elements() + weight.elements() + outputs + added;
    return new Cost(2 * products, 4 * moved);
  }

  public static List<Case> cases() {
    List<Case> cases = new ArrayList<>(plain());
    cases.addAll(tailed());
    return cases;
  }

  private static List<Case> plain() {
    return List.of(
        with("one pixel, one channel", new Conv2d(1, 0, 1), Input.normal(1, 1, 1, 1), 1, 1, 1),
        with("1x1, odd channels", new Conv2d(1, 0, 1), Input.normal(2, 3, 5, 7), 9, 1, 1),
        with(
            "1x1, images that cannot be shared out among two threads",
            new Conv2d(1, 0, 1),
            Input.normal(3, 8, 8, 64),
            192,
            1,
            1),
        with("3x3, prime extents", new Conv2d(1, 1, 1), Input.normal(2, 5, 7, 5), 6, 3, 3),
        with("3x3, a vector of channels", new Conv2d(1, 1, 1), Input.normal(2, 4, 4, 16), 16, 3, 3),
        with(
            "3x3, one more than a vector",
            new Conv2d(1, 1, 1),
            Input.normal(1, 3, 3, 17),
            17,
            3,
            3),
        with("5x5 in small images", new Conv2d(1, 2, 1), Input.normal(2, 4, 3, 5), 6, 5, 5),
        with("few input channels", new Conv2d(1, 1, 1), Input.normal(3, 5, 4, 1), 8, 3, 3),
        with("few output channels", new Conv2d(1, 1, 1), Input.normal(3, 4, 5, 8), 3, 3, 3),
        with(
            "few channels, oblong kernel, no padding",
            new Conv2d(1, 0, 1),
            Input.normal(2, 6, 5, 6),
            2,
            3,
            2),
        with("few channels, wide padding", new Conv2d(1, 3, 1), Input.normal(1, 3, 4, 2), 6, 3, 3),
        with("3x3, whole vectors", new Conv2d(1, 1, 1), Input.normal(2, 9, 6, 32), 48, 3, 3)
            .within(5e-4, 1e-5, "sums of 300 products of size 1, transforms that cost a digit"),
        unbiased("no bias, whole vectors", new Conv2d(1, 1, 1), Input.normal(1, 4, 9, 48), 32, 3, 3)
            .within(5e-4, 1e-5, "sums of 300 products of size 1, transforms that cost a digit"),
        halved(
                with(
                    "bf16, whole vectors",
                    new Conv2d(1, 1, 1),
                    Input.normal(1, 5, 4, 32).bf16(),
                    32,
                    3,
                    3))
            .within(2e-1, 1e-2, "weights and result rounded to 2^-8 in sums of 288 products")
            .gradientsWithin(1),
        with("stride 2", new Conv2d(2, 1, 1), Input.normal(2, 7, 6, 5), 6, 3, 3),
        with(
            "stride 2 leaves a row unread", new Conv2d(2, 0, 1), Input.normal(2, 6, 6, 5), 6, 3, 3),
        with("stride 3, 1x1", new Conv2d(3, 0, 1), Input.normal(1, 8, 7, 5), 6, 1, 1),
        with("stride 2, few channels", new Conv2d(2, 1, 1), Input.normal(2, 6, 6, 1), 6, 4, 4),
        with("groups", new Conv2d(1, 1, 2), Input.normal(2, 4, 5, 6), 10, 3, 3),
        with("depthwise", new Conv2d(1, 1, 5), Input.normal(2, 4, 5, 5), 5, 3, 3),
        unbiased("no bias", new Conv2d(1, 1, 1), Input.normal(2, 4, 4, 5), 6, 3, 3),
        unbiased("no bias, few channels", new Conv2d(1, 1, 1), Input.normal(2, 4, 4, 5), 1, 3, 3),
        with("mean 1000", new Conv2d(1, 1, 1), Input.normal(1000, 1, Shape.of(1, 4, 4, 5)), 6, 3, 3)
            .within(2e-2, 1e-5, "products of 1000 cancel: 45 roundings of about 6e-5 each"),
        halved(with("bf16", new Conv2d(1, 1, 1), Input.normal(2, 4, 5, 9).bf16(), 8, 3, 3)),
        halved(with("bf16, 1x1", new Conv2d(1, 0, 1), Input.normal(2, 3, 5, 7).bf16(), 9, 1, 1)),
        halved(
            with(
                "bf16, few input channels",
                new Conv2d(1, 1, 1),
                Input.normal(2, 5, 4, 1).bf16(),
                8,
                3,
                3)),
        halved(
            with(
                "bf16, few output channels",
                new Conv2d(1, 1, 1),
                Input.normal(2, 4, 5, 8).bf16(),
                1,
                3,
                3)),
        halved(
            with(
                "bf16, stride 2, groups",
                new Conv2d(2, 1, 2),
                Input.normal(2, 6, 5, 6).bf16(),
                4,
                3,
                3)));
  }

  private static List<Case> tailed() {
    Tail shifted = new Tail(true, false, 1);
    Tail joined = new Tail(false, true, 1);
    Tail halfway = new Tail(false, true, Math.sqrt(0.5));
    Tail whole = new Tail(true, true, 0.7);
    String digits = "sums of 300 products of size 1, transforms that cost a digit";
    String rounded = "weights and sums rounded to 2^-8, before and after the tail";
    return List.of(
        with("shift", new Conv2d(1, 1, 1, shifted), Input.normal(3, 5, 7, 5), 6, 3, 3),
        with("residual", new Conv2d(1, 1, 1, joined), Input.normal(3, 5, 7, 5), 19, 3, 3),
        with(
            "residual, 1x1, scaled",
            new Conv2d(1, 0, 1, halfway),
            Input.normal(3, 3, 5, 7),
            9,
            1,
            1),
        with(
            "scale alone",
            new Conv2d(1, 1, 1, new Tail(false, false, -2)),
            Input.normal(2, 4, 3, 5),
            6,
            3,
            3),
        with("whole tail", new Conv2d(1, 1, 1, whole), Input.normal(2, 4, 4, 16), 16, 3, 3),
        with(
            "whole tail, 1x1, images that cannot be shared out",
            new Conv2d(1, 0, 1, whole),
            Input.normal(3, 4, 4, 48),
            64,
            1,
            1),
        with(
            "whole tail, one pixel", new Conv2d(1, 0, 1, whole), Input.normal(1, 1, 1, 1), 1, 1, 1),
        with(
            "whole tail, few input channels",
            new Conv2d(1, 1, 1, whole),
            Input.normal(3, 5, 4, 1),
            8,
            3,
            3),
        with(
            "whole tail, few output channels",
            new Conv2d(1, 1, 1, whole),
            Input.normal(3, 4, 5, 8),
            3,
            3,
            3),
        with("whole tail, stride 2", new Conv2d(2, 1, 1, whole), Input.normal(2, 7, 6, 5), 6, 3, 3),
        with("whole tail, groups", new Conv2d(1, 1, 2, whole), Input.normal(2, 4, 5, 6), 10, 3, 3),
        with(
                "shift, whole vectors",
                new Conv2d(1, 1, 1, shifted),
                Input.normal(2, 9, 6, 32),
                48,
                3,
                3)
            .within(5e-4, 1e-5, digits),
        with(
                "whole tail, whole vectors",
                new Conv2d(1, 1, 1, whole),
                Input.normal(2, 6, 9, 32),
                32,
                3,
                3)
            .within(5e-4, 1e-5, digits),
        with(
                "whole tail, bf16, whole vectors",
                new Conv2d(1, 1, 1, whole),
                Input.normal(2, 5, 4, 32).bf16(),
                32,
                3,
                3)
            .within(2e-1, 2e-2, rounded)
            .gradientsWithin(1),
        with(
                "whole tail, bf16",
                new Conv2d(1, 1, 1, whole),
                Input.normal(2, 4, 5, 9).bf16(),
                8,
                3,
                3)
            .within(1e-1, 2e-2, rounded)
            .gradientsWithin(1),
        with(
                "whole tail, bf16, 1x1",
                new Conv2d(1, 0, 1, whole),
                Input.normal(2, 3, 5, 7).bf16(),
                9,
                1,
                1)
            .within(1e-1, 2e-2, rounded)
            .gradientsWithin(1),
        with(
                "residual, bf16, few output channels",
                new Conv2d(1, 1, 1, halfway),
                Input.normal(2, 4, 5, 8).bf16(),
                1,
                3,
                3)
            .within(1e-1, 2e-2, rounded)
            .gradientsWithin(1),
        with(
                "shift, bf16, stride 2, groups",
                new Conv2d(2, 1, 2, shifted),
                Input.normal(2, 6, 5, 6).bf16(),
                4,
                3,
                3)
            .within(1e-1, 2e-2, rounded)
            .gradientsWithin(1));
  }

  private static Case with(String name, Conv2d conv, Input x, long outputs, long kh, long kw) {
    Shape weight = Shape.of(outputs, x.shape().last() / conv.groups, kh, kw);
    Shape y = conv.output(x.shape(), weight);
    List<Input> inputs =
        new ArrayList<>(List.of(x, Input.normal(weight.dims()), Input.normal(outputs)));
    if (conv.tail.shifted) {
      inputs.add(Input.normal(y.dim(0), outputs));
    }
    if (conv.tail.joined) {
      Input residual = Input.normal(y.dims());
      inputs.add(x.dtype() == DType.BF16 ? residual.bf16() : residual);
    }
    return Case.of(name, conv, inputs.toArray(Input[]::new));
  }

  private static Case unbiased(String name, Conv2d conv, Input x, long outputs, long kh, long kw) {
    return Case.of(name, conv, x, Input.normal(outputs, x.shape().last() / conv.groups, kh, kw));
  }

  private static Case halved(Case contract) {
    return contract
        .within(
            6e-2, 1e-2, "weights and result rounded to 2^-8 in sums of up to 81 products of size 1")
        .gradientsWithin(1);
  }
}
