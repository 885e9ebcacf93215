package io.retort.bench.libtorch;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.GenericList;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.OperatorHandle;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorList;
import org.bytedeco.pytorch.TensorVector;

/// Adam as `torch.optim.Adam(fused=True)` runs it: one kernel over all weights, which the C++
/// optimizers do not use.
final class FusedAdam {
  private static final double BETA1 = 0.9;
  private static final double BETA2 = 0.999;
  private static final double EPS = 1e-8;

  private final List<Tensor> weights;
  private final double lr;
  private final OperatorHandle kernel;
  private final List<Tensor> first;
  private final List<Tensor> second;
  private final List<Tensor> counts;

  FusedAdam(List<Tensor> weights, double lr) {
    this.weights = weights;
    this.lr = lr;
    kernel = Dispatcher.singleton().findSchemaOrThrow("aten::_fused_adam_", "");
    first = weights.stream().map(FusedAdam::zeros).toList();
    second = weights.stream().map(FusedAdam::zeros).toList();
    counts = weights.stream().map(weight -> Tensor.create(0f)).toList();
  }

  private static Tensor zeros(Tensor weight) {
    return weight.detach().clone().zero_();
  }

  /// Applies the gradients and forgets them.
  void step() {
    try (PointerScope _ = new PointerScope()) {
      List<Tensor> gradients = new ArrayList<>();
      for (Tensor weight : weights) {
        gradients.add(weight.grad());
      }
      Scalar one = new Scalar(1.0);
      counts.forEach(count -> count.add_(one));
      IValueVector arguments =
          new IValueVector(
              list(weights),
              list(gradients),
              list(first),
              list(second),
              list(List.of()),
              list(counts),
              new IValue(lr),
              new IValue(BETA1),
              new IValue(BETA2),
              new IValue(0.0),
              new IValue(EPS),
              new IValue(false),
              new IValue(false),
              new IValue(),
              new IValue());
      kernel.callBoxed(arguments);
      for (Tensor weight : weights) {
        weight.mutable_grad().reset();
      }
    }
  }

  /// A list of tensors as an operator takes it. `IValue` has no constructor for one; a list of
  /// anything has the same layout, so a pointer to one serves.
  private static IValue list(List<Tensor> tensors) {
    TensorVector vector = new TensorVector(tensors.toArray(Tensor[]::new));
    return new IValue(new GenericList(new TensorList(vector)));
  }
}
