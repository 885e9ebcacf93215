package io.retort.op;

import io.retort.tensor.Tensor;

/// Kernels that compute each element from the elements in the same place.
///
/// Tensors of one call have the same number of elements and, unless said otherwise, the same
/// floating type; an output may be one of the inputs. Memory-bound: one read of each input and one
/// write of the output.
public interface ElementwiseKernels {

  /// `out = alpha x + beta y`.
  void axpby(double alpha, Tensor x, double beta, Tensor y, Tensor out);

  /// `into += x`; `into` is float32, x float32 or bfloat16.
  void accumulate(Tensor x, Tensor into);

  /// `out = scale x + shift`.
  void affine(Tensor x, double scale, double shift, Tensor out);

  /// `out = a b`.
  void multiply(Tensor a, Tensor b, Tensor out);

  /// `out = f(x)` with f of [Activation.Kind]; `slope` matters to LEAKY_RELU only.
  void activation(Activation.Kind kind, double slope, Tensor x, Tensor out);

  /// `out = gradOut f'(x)`.
  void activationGradient(Activation.Kind kind, double slope, Tensor x, Tensor gradOut, Tensor out);

  /// `out = x` rounded to out's floating type.
  void cast(Tensor x, Tensor out);

  /// `out = a + b` or `a b`, with b repeated along the dropped axes of `axes`; b may be of another
  /// type than a and out.
  void broadcast(Broadcast.Kind kind, AxisGroups axes, Tensor a, Tensor b, Tensor out);
}
