package io.retort.op;

import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// One differentiable operation. The permits list is the registry; [OpCatalog] lists the test cases
/// of each.
public sealed interface Op
    permits Activation,
        Add,
        AddNoise,
        Affine,
        Attention,
        Augment,
        Broadcast,
        Cast,
        Concat,
        Conv2d,
        CrossEntropy,
        Dropout,
        EdmInput,
        EdmLoss,
        EdmOutput,
        Fourier,
        GroupNorm,
        LayerNorm,
        Linear,
        Lookup,
        MatMul,
        Mmd,
        Multiply,
        Pad,
        Permute,
        Pool,
        Reduce,
        Resample,
        Reshape,
        ScoreDifference,
        SelfAttention,
        SidLoss,
        Sinusoid,
        Slice,
        Softmax {

  /// Lower-case name with underscores, as shown in tables and errors.
  default String name() {
    return OpCatalog.name(getClass());
  }

  /// Shape of the output.
  ///
  /// @throws io.retort.tensor.ShapeException if the inputs do not fit
  Shape infer(List<Shape> inputs);

  /// Element type of the output: that of the first input unless the op says otherwise.
  default DType dtype(List<Tensor> inputs) {
    return inputs.getFirst().dtype();
  }

  /// Computes the output first, then whatever [#vjp] wants saved; all allocated in `scope`. Inputs
  /// are valid (checked by [#infer]).
  List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs);

  /// Vector-Jacobian product: one gradient per input, in order; null where `saved.needs(i)` is
  /// false or the input is not differentiable. A returned tensor is new, from [Saved#gradient], or
  /// a view of `gradOut`, never `gradOut` itself.
  List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut);

  /// Float64 reference of the output, slow and obvious, written from the paper.
  double[] reference(List<double[]> inputs, List<Shape> shapes);

  /// Float64 reference of the gradient where it is by definition not the derivative of [#reference]
  /// (a stop-gradient inside); null means "finite differences of the reference are the truth".
  default @Nullable List<double @Nullable []> referenceVjp(
      List<double[]> inputs, List<Shape> shapes, double[] gradOut) {
    return null;
  }

  /// The same op at no particular step: two ops that are equal then have gradients made by the same
  /// kernels with the same arguments, but for the step of a random stream.
  default Op timeless() {
    return this;
  }

  /// Whether a gradient flows to input `index` (labels, indices and detached inputs have none).
  default boolean differentiable(int index) {
    return true;
  }

  /// Work of one forward run.
  Cost cost(List<Shape> inputs);

  /// What the backward pass sees: inputs, output, extra saved tensors, which input gradients are
  /// wanted, and for each input where its gradient is kept, if that is known.
  record Saved(
      List<Tensor> inputs,
      Tensor output,
      List<Tensor> extras,
      boolean[] wanted,
      @Nullable Tensor[] sinks) {

    public Saved(List<Tensor> inputs, Tensor output, List<Tensor> extras, boolean[] wanted) {
      this(inputs, output, extras, wanted, new @Nullable Tensor[inputs.size()]);
    }

    /// The same with gradients kept there.
    public Saved into(@Nullable Tensor[] sinks) {
      return new Saved(inputs, output, extras, wanted, sinks);
    }

    /// A tensor for the gradient of input `index`, which [#vjp] writes completely and returns: new,
    /// or a view of where the gradient is kept.
    public Tensor gradient(Scope scope, int index) {
      Tensor sink = sinks[index];
      Tensor input = inputs.get(index);
      return sink == null
          ? scope.allocate(input.shape(), input.dtype())
          : sink.view(scope, input.shape());
    }

    public boolean needs(int index) {
      return wanted[index];
    }

    public Tensor input(int index) {
      return inputs.get(index);
    }

    public Tensor extra(int index) {
      return extras.get(index);
    }
  }

  /// Floating-point operations (a multiply-add counts 2) and bytes that must at least be moved.
  record Cost(double flops, double bytes) {}
}
