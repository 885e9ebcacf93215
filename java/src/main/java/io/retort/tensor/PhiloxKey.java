package io.retort.tensor;

/// Names one stream of random numbers: the same key gives the same words on every backend and in
/// Java.
///
/// @param seed the run's seed
/// @param purpose what the numbers are for
/// @param stream distinguishes several draws for one purpose in one step, 0 to 2^24 - 1
/// @param step the training step, or any other counter
public record PhiloxKey(long seed, Purpose purpose, int stream, long step) {

  public PhiloxKey {
    if (stream < 0 || stream >= 1 << 24) {
      throw new IllegalArgumentException("philox: stream must be in [0, 2^24), got " + stream);
    }
  }

  /// What random numbers are for; the ordinal is part of the counter, so the order is fixed.
  public enum Purpose {
    INIT,
    DATA,
    NOISE,
    TIME,
    DROPOUT,
    AUGMENT,
    EMBEDDING
  }

  /// Counter word 1: purpose in the low 8 bits, stream above.
  public int tag() {
    return purpose.ordinal() | stream << 8;
  }

  /// The same key at another step.
  public PhiloxKey step(long other) {
    return new PhiloxKey(seed, purpose, stream, other);
  }

  /// The same key on another stream.
  public PhiloxKey stream(int other) {
    return new PhiloxKey(seed, purpose, other, step);
  }
}
