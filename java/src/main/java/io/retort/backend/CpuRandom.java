package io.retort.backend;

import io.retort.bindings.cpu.RandomLibrary;
import io.retort.op.RandomKernels;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Tensor;

/// [RandomKernels] on the CPU library.
final class CpuRandom implements RandomKernels {

  @Override
  public void normal(Tensor out, PhiloxKey key, long first, double mean, double std) {
    RandomLibrary.normal(
        out.target(), out.elements(), mean, std, key.seed(), key.tag(), key.step(), first);
  }

  @Override
  public void uniform(Tensor out, PhiloxKey key, long first, double low, double high) {
    RandomLibrary.uniform(
        out.target(), out.elements(), low, high, key.seed(), key.tag(), key.step(), first);
  }

  @Override
  public void dropout(Tensor x, PhiloxKey key, double p, Tensor out) {
    RandomLibrary.dropout(
        x.address(),
        out.target(),
        x.elements(),
        p,
        key.seed(),
        key.tag(),
        key.step(),
        0,
        x.dtype().code());
  }
}
