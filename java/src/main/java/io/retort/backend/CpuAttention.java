package io.retort.backend;

import io.retort.bindings.cpu.AttentionLibrary;
import io.retort.bindings.cpu.AttentionLibrary.Layout;
import io.retort.op.AttentionKernels;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [AttentionKernels] on the CPU library.
final class CpuAttention implements AttentionKernels {

  @Override
  public void attention(Tensor q, Tensor k, Tensor v, int heads, Tensor out, Tensor lse) {
    AttentionLibrary.forward(
        q.address(), k.address(), v.address(), out.target(), lse.target(), layout(q, k, heads));
  }

  @Override
  public void attentionGradient(
      Tensor q,
      Tensor k,
      Tensor v,
      int heads,
      Tensor out,
      Tensor lse,
      Tensor gradOut,
      @Nullable Tensor dq,
      @Nullable Tensor dk,
      @Nullable Tensor dv) {
    AttentionLibrary.backward(
        q.address(),
        k.address(),
        v.address(),
        out.address(),
        lse.address(),
        gradOut.address(),
        target(dq),
        target(dk),
        target(dv),
        layout(q, k, heads));
  }

  @Override
  public void selfAttention(Tensor qkv, int heads, Tensor out, Tensor lse) {
    long block = block(qkv);
    AttentionLibrary.forward(
        qkv.address(),
        qkv.address() + block,
        qkv.address() + 2 * block,
        out.target(),
        lse.target(),
        packedLayout(qkv, heads));
  }

  @Override
  public void selfAttentionGradient(
      Tensor qkv, int heads, Tensor out, Tensor lse, Tensor gradOut, Tensor dqkv) {
    long block = block(qkv);
    AttentionLibrary.backward(
        qkv.address(),
        qkv.address() + block,
        qkv.address() + 2 * block,
        out.address(),
        lse.address(),
        gradOut.address(),
        dqkv.target(),
        dqkv.target() + block,
        dqkv.target() + 2 * block,
        packedLayout(qkv, heads));
  }

  private static Layout layout(Tensor q, Tensor k, int heads) {
    long channels = q.shape().last();
    return new Layout(
        q.shape().dim(0),
        heads,
        tokens(q),
        tokens(k),
        channels / heads,
        channels,
        channels,
        q.dtype().code());
  }

  private static Layout packedLayout(Tensor qkv, int heads) {
    long row = qkv.shape().last();
    long tokens = tokens(qkv);
    return new Layout(
        qkv.shape().dim(0), heads, tokens, tokens, row / 3 / heads, row, row, qkv.dtype().code());
  }

  /// Product of all axes but the first and the last.
  private static long tokens(Tensor x) {
    return x.elements() / x.shape().dim(0) / x.shape().last();
  }

  /// Bytes of one of the three blocks of a token.
  private static long block(Tensor qkv) {
    return qkv.shape().last() / 3 * qkv.dtype().bytes();
  }

  private static long target(@Nullable Tensor tensor) {
    return tensor == null ? 0 : tensor.target();
  }
}
