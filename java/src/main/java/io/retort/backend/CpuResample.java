package io.retort.backend;

import io.retort.bindings.cpu.PoolLibrary;
import io.retort.bindings.cpu.ResampleLibrary;
import io.retort.op.Pool;
import io.retort.op.Resample;
import io.retort.op.ResampleKernels;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;

/// [ResampleKernels] on the CPU library.
final class CpuResample implements ResampleKernels {

  @Override
  public void pool(Pool.Kind kind, int kernel, int stride, Tensor x, Tensor y) {
    long from = x.address();
    long to = y.target();
    Shape s = x.shape();
    int dtype = x.dtype().code();
    switch (kind) {
      case AVG ->
          PoolLibrary.avgForward(
              from, to, s.dim(0), s.dim(1), s.dim(2), s.dim(3), kernel, stride, dtype);
      case MAX ->
          PoolLibrary.maxForward(
              from, to, s.dim(0), s.dim(1), s.dim(2), s.dim(3), kernel, stride, dtype);
    }
  }

  @Override
  public void poolGradient(
      Pool.Kind kind, int kernel, int stride, Tensor x, Tensor gradOut, Tensor gradX) {
    long from = gradOut.address();
    long to = gradX.target();
    Shape s = gradX.shape();
    int dtype = gradX.dtype().code();
    switch (kind) {
      case AVG ->
          PoolLibrary.avgBackward(
              from, to, s.dim(0), s.dim(1), s.dim(2), s.dim(3), kernel, stride, dtype);
      case MAX ->
          PoolLibrary.maxBackward(
              x.address(), from, to, s.dim(0), s.dim(1), s.dim(2), s.dim(3), kernel, stride, dtype);
    }
  }

  @Override
  public void resample(Resample.Direction direction, List<Double> filter, Tensor x, Tensor y) {
    Shape s = x.shape();
    ResampleLibrary.forward(
        x.address(),
        y.target(),
        filter,
        up(direction),
        s.dim(0),
        s.dim(1),
        s.dim(2),
        s.dim(3),
        x.dtype().code());
  }

  @Override
  public void resampleGradient(
      Resample.Direction direction, List<Double> filter, Tensor gradOut, Tensor gradX) {
    Shape s = gradX.shape();
    ResampleLibrary.backward(
        gradOut.address(),
        gradX.target(),
        filter,
        up(direction),
        s.dim(0),
        s.dim(1),
        s.dim(2),
        s.dim(3),
        gradX.dtype().code());
  }

  private static int up(Resample.Direction direction) {
    return switch (direction) {
      case DOWN -> 0;
      case UP -> 1;
    };
  }
}
