package io.retort.distill;

import io.retort.diffusion.KarrasSigmas;
import io.retort.diffusion.Preconditioning;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// How a student makes images: `x = D(sigma_0 z; sigma_0)`, and of more than one level `x_i =
/// D(x_{i-1} + sigma_i n; sigma_i)` with fresh noise n.
///
/// In training a student of several levels is asked for the images of one of them, drawn for the
/// whole batch. Its input is what sampling would have given it there, made without gradients
/// ("backward simulation"), or noised real images. Source: DMD2, Yin et al. 2024 (arXiv
/// 2405.14867), section 4.5.
///
/// @param levels descending
/// @param simulated whether inputs of later levels are the student's own images
record Generator(List<Double> levels, boolean simulated) {

  Generator {
    levels = List.copyOf(levels);
  }

  /// Of one level.
  static Generator oneStep(double sigma) {
    return new Generator(List.of(sigma), true);
  }

  /// `steps` levels from `sigmaMax`, evenly spaced in the bins of EDM's curve: 80, 17.5, 2.5, 0.17
  /// for four from 80.
  static List<Double> levels(double sigmaMax, int steps) {
    KarrasSigmas edm = KarrasSigmas.EDM;
    KarrasSigmas sigmas = new KarrasSigmas(edm.min(), sigmaMax, edm.rho());
    List<Double> levels = new ArrayList<>();
    for (int i = 0; i < steps; i++) {
      levels.add(i == 0 ? sigmaMax : sigmas.at(i / (double) steps));
    }
    return levels;
  }

  /// Images of the student, with gradients through its last call only.
  ///
  /// @param labels a class each
  /// @param real what later levels start from unless simulated
  Var images(Nets nets, int[] labels, Var real, Noise noise) {
    if (levels.size() == 1) {
      return fromNoise(nets, labels, noise);
    }
    int level = (int) (Philox.uniform(noise.key(Purpose.TIME), 0) * levels.size());
    return images(nets, labels, real, level, noise);
  }

  /// Images of one level, with gradients through the student's call there only.
  Var images(Nets nets, int[] labels, Var real, int level, Noise noise) {
    if (level == 0) {
      return fromNoise(nets, labels, noise);
    }
    Var clean = simulated ? simulate(nets, labels, level, noise) : real;
    float[] sigma = sigma(level, labels.length);
    return nets.denoise(Method.STUDENT, noise.add(clean.detach(), sigma), sigma, labels);
  }

  private Var fromNoise(Nets nets, int[] labels, Noise noise) {
    Shape shape = nets.images(Method.STUDENT, labels.length);
    double start = start(nets.preconditioning());
    float[] sigma = new float[labels.length];
    Arrays.fill(sigma, (float) start);
    Var latents = noise.normal(nets.tape(), shape, start);
    return nets.denoise(Method.STUDENT, latents, sigma, labels);
  }

  /// Where the sampler starts: a student of one level from the nearest one that its network knows.
  double start(Preconditioning network) {
    double first = levels.getFirst();
    return levels.size() == 1 ? network.start(first) : first;
  }

  /// What sampling gives after the levels before `level`.
  private Var simulate(Nets nets, int[] labels, int level, Noise noise) {
    Tape tape = nets.tape();
    Nets untaught = nets.on(Tape.inference(tape.backend(), tape.scope()));
    Var x = fromNoise(untaught, labels, noise);
    for (int i = 1; i < level; i++) {
      float[] sigma = sigma(i, labels.length);
      x = untaught.denoise(Method.STUDENT, noise.add(x, sigma), sigma, labels);
    }
    return tape.constant(x.value());
  }

  private float[] sigma(int level, int count) {
    float[] sigma = new float[count];
    Arrays.fill(sigma, levels.get(level).floatValue());
    return sigma;
  }
}
