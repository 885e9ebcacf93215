package io.retort.op;

import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// Multi-head scaled dot-product attention that never holds the matrix of scores.
///
/// Axis 0 is the sample, the last axis the channels, all between are tokens. Head h owns the
/// channels `[h C / heads, (h + 1) C / heads)`. All tensors but `lse` share one floating type; `lse
/// (N, heads, Tq)` is float32.
public interface AttentionKernels {

  /// `out = softmax(q k^T / sqrt(C / heads)) v` for each head, and the logarithm of each softmax's
  /// denominator.
  void attention(Tensor q, Tensor k, Tensor v, int heads, Tensor out, Tensor lse);

  /// Gradients of [#attention]; one that is null is skipped.
  void attentionGradient(
      Tensor q,
      Tensor k,
      Tensor v,
      int heads,
      Tensor out,
      Tensor lse,
      Tensor gradOut,
      @Nullable Tensor dq,
      @Nullable Tensor dk,
      @Nullable Tensor dv);

  /// [#attention] with q, k, v packed as three blocks of channels `[q | k | v]`.
  void selfAttention(Tensor qkv, int heads, Tensor out, Tensor lse);

  /// Gradient of [#selfAttention], packed in the same way.
  void selfAttentionGradient(
      Tensor qkv, int heads, Tensor out, Tensor lse, Tensor gradOut, Tensor dqkv);
}
