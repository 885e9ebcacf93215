package io.retort.distill;

import static java.util.Objects.requireNonNull;

import io.retort.data.Batch;
import io.retort.grad.Var;
import io.retort.tensor.Shape;
import java.util.Arrays;

/// The teacher's samples of a batch, and the noise they came from.
///
/// @param latents standard normal `(N, H, W, C)`
/// @param images what the teacher makes of them
/// @param labels a class each
record Replay(Var latents, Var images, int[] labels) {

  /// @throws NullPointerException if the method did not ask for [Method#pairs]
  static Replay of(Nets nets, Batch batch) {
    Batch.Pairs pairs = requireNonNull(batch.pairs(), "a batch without the teacher's samples");
    Shape shape = nets.images(Method.STUDENT, pairs.labels().length);
    return new Replay(
        nets.tape().constant(shape, pairs.latents()),
        nets.tape().constant(shape, pairs.images()),
        pairs.labels());
  }

  /// What the student makes of the same noise in one step from the level nearest to this one, as
  /// its sampler does.
  Var student(Nets nets, double sigma) {
    double start = nets.preconditioning().start(sigma);
    float[] top = new float[labels.length];
    Arrays.fill(top, (float) start);
    return nets.denoise(Method.STUDENT, latents.scale(start), top, labels);
  }
}
