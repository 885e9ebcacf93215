package io.retort.net;

import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.tensor.Shape;

/// Sines and cosines of timesteps: `sin t f_k` and `cos t f_k` with `f_k = 10000^(-k / (half -
/// shift))` for every k below half.
///
/// Frequencies and angles are rounded to float32 as the public implementations do, because the
/// networks were trained with them: at timestep 1000 exact ones differ by 6e-5, which some networks
/// enlarge. Source: Vaswani et al. 2017, section 3.5; Ho et al. 2020.
///
/// @param channels twice the number of frequencies
/// @param shift 1 makes the lowest frequency 1/10000 exactly
/// @param cosinesFirst whether the cosines are the first half of a row
record TimestepWaves(int channels, double shift, boolean cosinesFirst) {
  private static final double MAX_PERIOD = 10000;

  /// Timesteps `(N)` to `(N, channels)`.
  Var apply(Tape tape, Var timesteps) {
    int samples = Math.toIntExact(timesteps.shape().dim(0));
    int half = channels / 2;
    float[] repeated = new float[samples * half];
    for (int i = 0; i < repeated.length; i++) {
      repeated[i] = frequency(i % half, half);
    }
    Var angles =
        tape.constant(Shape.of(samples, half), repeated)
            .mulBroadcast(timesteps.reshape(samples, 1));
    return angles
        .reshape((long) samples * half)
        .sinusoid(2, MAX_PERIOD, false, !cosinesFirst)
        .reshape(samples, half, 2)
        .permute(0, 2, 1)
        .reshape(samples, channels);
  }

  private float frequency(int k, int half) {
    float exponent = (float) -Math.log(MAX_PERIOD) * k / (float) (half - shift);
    return (float) Math.exp(exponent);
  }
}
