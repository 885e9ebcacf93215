package io.retort.distill;

import io.retort.diffusion.Denoiser;
import io.retort.diffusion.KarrasSigmas;
import io.retort.diffusion.Preconditioning;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.AddNoise;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;

/// The random numbers of one phase of one step: every draw has its own stream, in the order the
/// loss asks for them.
///
/// A pure function of (seed, step, phase), so a resumed run draws what an uninterrupted one would
/// have.
public final class Noise {
  private static final int STREAMS_PER_PHASE = 4096;
  private static final int STREAMS_PER_DRAW = 64;

  /// In place of a phase: what all phases of a step draw alike.
  private static final int SHARED = 99;

  private final long seed;
  private final long step;
  private final int firstStream;
  private int draws;

  public Noise(long seed, long step, int phase) {
    this.seed = seed;
    this.step = step;
    this.firstStream = phase * STREAMS_PER_PHASE;
  }

  /// The training step, counted from 0.
  public long step() {
    return step;
  }

  /// The random numbers that are the same for all phases of this step, from their beginning.
  public Noise shared() {
    return new Noise(seed, step, SHARED);
  }

  /// A fresh stream for one purpose; a network may use it and the next 63 for its layers.
  public PhiloxKey key(Purpose purpose) {
    return new PhiloxKey(seed, purpose, firstStream + STREAMS_PER_DRAW * draws++, step);
  }

  /// Standard normal numbers.
  public Var normal(Tape tape, Shape shape) {
    return normal(tape, shape, 1);
  }

  /// Normal numbers of standard deviation `std`.
  public Var normal(Tape tape, Shape shape, double std) {
    Tensor values = tape.scope().allocate(shape);
    tape.backend().random().normal(values, key(Purpose.NOISE), 0, std);
    return tape.constant(values);
  }

  /// x plus fresh noise of a level per sample.
  public Var add(Var x, float[] sigma) {
    return add(x, sigma, key(Purpose.NOISE));
  }

  /// x plus the noise of a key, of a level per sample: the same noise for whoever has the key.
  public static Var add(Var x, float[] sigma, PhiloxKey key) {
    Tape tape = x.tape();
    Var level = tape.constant(Shape.of(sigma.length), sigma);
    return tape.apply(new AddNoise(key), x, level);
  }

  /// EDM's training levels: `exp(mean + std N(0, 1))`. Source: EDM, table 1.
  public float[] logNormal(int count, double mean, double std) {
    PhiloxKey key = key(Purpose.TIME);
    float[] sigma = new float[count];
    for (int i = 0; i < count; i++) {
      sigma[i] = (float) Math.exp(mean + std * Philox.normal(key, i));
    }
    return sigma;
  }

  /// Levels uniform over `bins` Karras bins, restricted to fractions `[low, high]` of them. Source:
  /// DMD2's index grid.
  public float[] bins(KarrasSigmas sigmas, int count, int bins, double low, double high) {
    PhiloxKey key = key(Purpose.TIME);
    int first = (int) Math.round(low * bins);
    int last = Math.min(bins - 1, (int) Math.round(high * bins));
    float[] levels = new float[count];
    for (int i = 0; i < count; i++) {
      int j = first + (int) (Philox.uniform(key, i) * (last - first + 1));
      levels[i] = (float) sigmas.bin(j, bins);
    }
    return levels;
  }

  /// The same over the part of the curve that a network can be asked for, each rounded to the
  /// nearest level it knows. For networks that know every level these are the numbers of the curve.
  public float[] bins(
      KarrasSigmas sigmas, Preconditioning network, int count, int bins, double low, double high) {
    return rounded(bins(sigmas.within(network), count, bins, low, high), network);
  }

  private static float[] rounded(float[] levels, Preconditioning network) {
    for (int i = 0; i < levels.length; i++) {
      levels[i] = (float) network.round(levels[i]);
    }
    return levels;
  }

  /// Places of the part of the curve that a network can be asked for, rounded likewise.
  public float[] places(KarrasSigmas sigmas, Preconditioning network, int count, double least) {
    return rounded(places(sigmas.within(network), count, least), network);
  }

  /// Levels of EDM's curve at uniform places of its upper part: place 1 is the smallest level, 0
  /// the largest. Source: SiD's time, uniform in [0, tmax] of 1000.
  ///
  /// @param least smallest place, in [0, 1)
  public float[] places(KarrasSigmas sigmas, int count, double least) {
    PhiloxKey key = key(Purpose.TIME);
    float[] levels = new float[count];
    for (int i = 0; i < count; i++) {
      levels[i] = (float) sigmas.at(least + (1 - least) * Philox.uniform(key, i));
    }
    return levels;
  }

  /// The labels, each one the null class with a probability.
  public int[] dropped(int[] labels, double probability) {
    PhiloxKey key = key(Purpose.DROPOUT);
    int[] dropped = labels.clone();
    for (int i = 0; i < dropped.length; i++) {
      if (Philox.uniform(key, i) < probability) {
        dropped[i] = Denoiser.NO_CLASS;
      }
    }
    return dropped;
  }
}
