package io.retort.backend;

import io.retort.bindings.cpu.EmbeddingLibrary;
import io.retort.op.EmbeddingKernels;
import io.retort.op.Sinusoid;
import io.retort.tensor.Tensor;

/// [EmbeddingKernels] on the CPU library.
final class CpuEmbedding implements EmbeddingKernels {

  @Override
  public void sinusoid(Sinusoid op, Tensor c, Tensor out) {
    EmbeddingLibrary.sinusoidForward(
        c.address(),
        out.target(),
        c.elements(),
        op.half(),
        op.maxPositions(),
        op.endpoint() ? 1 : 0,
        op.sinFirst() ? 1 : 0);
  }

  @Override
  public void sinusoidGradient(Sinusoid op, Tensor c, Tensor gradOut, Tensor gradC) {
    EmbeddingLibrary.sinusoidBackward(
        c.address(),
        gradOut.address(),
        gradC.target(),
        c.elements(),
        op.half(),
        op.maxPositions(),
        op.endpoint() ? 1 : 0,
        op.sinFirst() ? 1 : 0);
  }

  @Override
  public void fourier(Tensor c, Tensor frequencies, Tensor out) {
    EmbeddingLibrary.fourierForward(
        c.address(), frequencies.address(), out.target(), c.elements(), frequencies.elements());
  }

  @Override
  public void fourierGradient(Tensor c, Tensor frequencies, Tensor gradOut, Tensor gradC) {
    EmbeddingLibrary.fourierBackward(
        c.address(),
        frequencies.address(),
        gradOut.address(),
        gradC.target(),
        c.elements(),
        frequencies.elements());
  }

  @Override
  public void lookup(Tensor table, Tensor ids, Tensor out) {
    EmbeddingLibrary.lookupForward(
        table.address(),
        ids.address(),
        out.target(),
        table.shape().dim(0),
        table.shape().dim(1),
        ids.elements());
  }

  @Override
  public void lookupGradient(Tensor ids, Tensor gradOut, Tensor gradTable) {
    EmbeddingLibrary.lookupBackward(
        ids.address(),
        gradOut.address(),
        gradTable.target(),
        gradTable.shape().dim(0),
        gradTable.shape().dim(1),
        ids.elements());
  }
}
