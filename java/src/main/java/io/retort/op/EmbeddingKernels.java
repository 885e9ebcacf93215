package io.retort.op;

import io.retort.tensor.Tensor;

/// Kernels that turn numbers and indices into vectors; float32, ids int64.
public interface EmbeddingKernels {

  /// `out (N, channels)` from c `(N)`, as [Sinusoid] says.
  void sinusoid(Sinusoid op, Tensor c, Tensor out);

  /// `gradC (N)` of [#sinusoid].
  void sinusoidGradient(Sinusoid op, Tensor c, Tensor gradOut, Tensor gradC);

  /// `out (N, 2 half)` from c `(N)` and frequencies `(half)`, as [Fourier] says.
  void fourier(Tensor c, Tensor frequencies, Tensor out);

  /// `gradC (N)` of [#fourier].
  void fourierGradient(Tensor c, Tensor frequencies, Tensor gradOut, Tensor gradC);

  /// `out_i = table[ids_i]`.
  ///
  /// @throws RuntimeException naming the id if one is outside the table; where kernels are queued,
  ///   its row is NaN and the next read throws
  void lookup(Tensor table, Tensor ids, Tensor out);

  /// `gradTable_j = sum of gradOut_i over ids_i = j`, in the order of i.
  void lookupGradient(Tensor ids, Tensor gradOut, Tensor gradTable);
}
