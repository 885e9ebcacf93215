package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `(cos c f_k, sin c f_k)` with `f_k = maxPositions^(-k / (half - endpoint))` for every k below
/// half.
///
/// Input c `(N)`, output `(N, channels)`, float32. Source: Vaswani et al. 2017, section 3.5; with
/// `endpoint` and `sinFirst` it is the noise embedding of EDM's SongUNet (Karras et al. 2022).
///
/// @param channels twice the number of frequencies
/// @param maxPositions inverse of the lowest frequency (with endpoint), e.g. 10000
/// @param endpoint whether the lowest frequency is exactly 1 / maxPositions
/// @param sinFirst whether the sines are the first half of a row
public record Sinusoid(int channels, double maxPositions, boolean endpoint, boolean sinFirst)
    implements Op {

  public Sinusoid {
    if (channels < (endpoint ? 4 : 2) || channels % 2 != 0 || !(maxPositions > 0)) {
      throw new IllegalArgumentException(
          "sinusoid: channels must be even and at least 2 (4 with endpoint) and maxPositions"
              + " positive, got "
              + channels
              + " and "
              + maxPositions);
    }
  }

  /// Number of frequencies.
  public int half() {
    return channels / 2;
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    if (inputs.getFirst().rank() != 1) {
      throw new ShapeException(name() + ": input must be (N), got " + inputs.getFirst());
    }
    return Shape.of(inputs.getFirst().dim(0), channels);
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor c = inputs.getFirst();
    ElementTypes.require(name(), DType.F32, c);
    Tensor out = scope.allocate(infer(List.of(c.shape())));
    backend.embeddings().sinusoid(this, c, out);
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor gradient = scope.allocate(saved.input(0).shape());
    backend.embeddings().sinusoidGradient(this, saved.input(0), gradOut, gradient);
    return List.of(gradient);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] c = inputs.getFirst();
    double[] out = new double[c.length * channels];
    for (int n = 0; n < c.length; n++) {
      for (int k = 0; k < half(); k++) {
        double frequency = Math.pow(1 / maxPositions, (double) k / (half() - (endpoint ? 1 : 0)));
        int cosine = n * channels + k + (sinFirst ? half() : 0);
        int sine = n * channels + k + (sinFirst ? 0 : half());
        out[cosine] = Math.cos(c[n] * frequency);
        out[sine] = Math.sin(c[n] * frequency);
      }
    }
    return out;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements() * (double) channels;
    return new Cost(20 * elements, 4 * elements);
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("one", new Sinusoid(4, 10000, true, true), Input.normal(1)),
        Case.of("edm", new Sinusoid(64, 10000, true, true), Input.normal(5)),
        Case.of("cosines first", new Sinusoid(14, 10000, false, false), Input.normal(7)),
        Case.of("timesteps", new Sinusoid(32, 10000, false, false), Input.uniform(0, 1000, 3)),
        Case.of("parallel", new Sinusoid(256, 10000, true, true), Input.normal(33)));
  }
}
