package io.retort.nn;

import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;

/// How a parameter starts, as a function of its shape and a random stream.
///
/// Fans follow the convention of linear `(out, in)` and convolution `(out, in, kh, kw)` weights.
public sealed interface Init
    permits Init.Constant, Init.XavierUniform, Init.FanIn, Init.Normal, SinCosPositions {

  /// The initial values, row-major.
  float[] values(Shape shape, PhiloxKey key);

  /// All elements `value`.
  record Constant(double value) implements Init {
    @Override
    public float[] values(Shape shape, PhiloxKey key) {
      float[] values = new float[Math.toIntExact(shape.elements())];
      java.util.Arrays.fill(values, (float) value);
      return values;
    }
  }

  /// `scale * U(-1, 1) * sqrt(6 / (fan_in + fan_out))`. Source: Glorot & Bengio 2010, eq. 16; EDM
  /// scales it per layer.
  record XavierUniform(double scale) implements Init {
    @Override
    public float[] values(Shape shape, PhiloxKey key) {
      double fanIn = shape.elements() / (double) shape.dim(0);
      double fanOut = shape.elements() / (double) shape.dim(1);
      return uniform(shape, key, scale * Math.sqrt(6 / (fanIn + fanOut)));
    }
  }

  /// `U(-1, 1) * bound / sqrt(fanIn)`: what PyTorch gives convolutions and linear layers (bound 1),
  /// weight and bias.
  record FanIn(double bound, long fanIn) implements Init {
    @Override
    public float[] values(Shape shape, PhiloxKey key) {
      return uniform(shape, key, bound / Math.sqrt(fanIn));
    }
  }

  /// `mean + std * N(0, 1)`.
  record Normal(double mean, double std) implements Init {
    @Override
    public float[] values(Shape shape, PhiloxKey key) {
      float[] values = new float[Math.toIntExact(shape.elements())];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (mean + std * Philox.normal(key, i));
      }
      return values;
    }
  }

  private static float[] uniform(Shape shape, PhiloxKey key, double bound) {
    float[] values = new float[Math.toIntExact(shape.elements())];
    int[] words = {};
    for (int i = 0; i < values.length; i++) {
      if ((i & 3) == 0) {
        words = Philox.words(key, i >>> 2);
      }
      values[i] = (float) (bound * (2 * Philox.unit(words[i & 3]) - 1));
    }
    return values;
  }
}
