package io.retort.bench.libtorch;

import static org.bytedeco.pytorch.global.torch.group_norm;
import static org.bytedeco.pytorch.global.torch.linear;

import io.retort.bench.StepSpec;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.MemoryFormat;

/// The weights of a network in the order of their declaration, and the layers made of them.
final class TorchWeights {
  private static final double EPS = 1e-6;

  private final MemoryFormat format;
  private final List<Tensor> all = new ArrayList<>();

  /// @param format of the convolutions' weights
  TorchWeights(MemoryFormat format) {
    this.format = format;
  }

  List<Tensor> all() {
    return all;
  }

  long count() {
    return all.stream().mapToLong(Tensor::numel).sum();
  }

  /// `x W^T + b`.
  record Dense(Tensor weight, TensorOptional bias) {
    Tensor apply(Tensor x) {
      return linear(x, weight, bias);
    }
  }

  Dense dense(int in, int out) {
    return new Dense(add(false, out, in), new TensorOptional(add(false, out)));
  }

  /// Odd kernel, stride 1, size kept.
  record Conv(Tensor weight, TensorOptional bias, long padding) {
    private static final long[] ONE = {1, 1};

    Tensor apply(Tensor x) {
      return torch.conv2d(x, weight, bias, ONE, new long[] {padding, padding}, ONE, 1);
    }
  }

  Conv conv(int in, int out, int kernel) {
    Tensor weight = add(false, out, in, kernel, kernel);
    return new Conv(weight, new TensorOptional(add(false, out)), kernel / 2);
  }

  /// The 1x1 convolution before attention, its outputs ordered q, k, v, where EDM has all three of
  /// a channel together.
  Conv separated(int channels) {
    int index = all.size();
    float[] stored = StepSpec.parameter(index, false, 3L * channels, channels, 1, 1);
    float[] ordered = new float[stored.length];
    float[] storedBias = StepSpec.parameter(index + 1, false, 3L * channels);
    float[] orderedBias = new float[storedBias.length];
    for (int part = 0; part < 3; part++) {
      for (int c = 0; c < channels; c++) {
        int from = 3 * c + part;
        int to = part * channels + c;
        System.arraycopy(stored, from * channels, ordered, to * channels, channels);
        orderedBias[to] = storedBias[from];
      }
    }
    Tensor weight = add(ordered, 3L * channels, channels, 1, 1);
    return new Conv(weight, new TensorOptional(add(orderedBias, 3L * channels)), 0);
  }

  /// Group normalisation with EDM's choice of groups.
  record Norm(int groups, TensorOptional weight, TensorOptional bias) {
    Tensor apply(Tensor x) {
      return group_norm(x, groups, weight, bias, EPS, false);
    }

    Tensor silu(Tensor x) {
      return torch.silu(apply(x));
    }
  }

  Norm norm(int channels) {
    return new Norm(
        Math.min(32, channels / 4),
        new TensorOptional(add(true, channels)),
        new TensorOptional(add(false, channels)));
  }

  private Tensor add(boolean norm, long... extents) {
    return add(StepSpec.parameter(all.size(), norm, extents), extents);
  }

  private Tensor add(float[] values, long... extents) {
    Tensor tensor = Tensor.create(values, extents);
    Tensor laidOut = extents.length == 4 ? tensor.contiguous(format) : tensor;
    laidOut.set_requires_grad(true);
    all.add(laidOut);
    return laidOut;
  }
}
