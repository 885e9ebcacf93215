package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Init;
import io.retort.nn.Plan;
import io.retort.tensor.Shape;
import org.jspecify.annotations.Nullable;

/// What a [DiT] is conditioned on: `mlp(sines and cosines of the timestep) + table[class]`.
///
/// @param mlp of the timestep
/// @param table name of the classes' embedding
/// @param rows classes, and one more where there is a row for none
/// @param classes number of classes
/// @param endpoint whether the lowest frequency is 1/10000 exactly
record DiTEmbedding(TimestepMlp mlp, String table, int rows, int classes, boolean endpoint) {
  private static final int FREQUENCIES = 256;
  private static final double DEVIATION = 0.02;

  /// facebook's, shared by all blocks.
  static DiTEmbedding original(int width, int classes, boolean nullClass) {
    return new DiTEmbedding(
        new TimestepMlp("t_embedder.mlp.0", "t_embedder.mlp.2", FREQUENCIES, width),
        "y_embedder.embedding_table.weight",
        nullClass ? classes + 1 : classes,
        classes,
        false);
  }

  /// diffusers', one for each block.
  static DiTEmbedding diffusers(String name, int width, int classes, boolean nullClass) {
    return new DiTEmbedding(
        TimestepMlp.diffusers(name + ".timestep_embedder", FREQUENCIES, width),
        name + ".class_embedder.embedding_table.weight",
        nullClass ? classes + 1 : classes,
        classes,
        true);
  }

  void declare(Plan plan) {
    mlp.declare(plan);
    plan.add(table, Shape.of(rows, mlp.out()), new Init.Normal(0, DEVIATION));
  }

  /// Sines and cosines `(N, 256)` of timesteps `(N)`.
  Var waves(Tape tape, Var timesteps) {
    return new TimestepWaves(FREQUENCIES, endpoint ? 1 : 0, true).apply(tape, timesteps);
  }

  /// One row a sample that picks the rows of the table: the one-hot label, or the last row where
  /// the label is a row of zeros.
  Var choice(Tape tape, long samples, @Nullable Var labels) {
    if (labels == null) {
      Var none = tape.constant(Shape.of(samples, classes), new float[(int) samples * classes]);
      return choice(tape, samples, none);
    }
    if (rows == classes) {
      return labels;
    }
    return Var.concat(1, labels, labels.sum(1).affine(-1, 1).reshape(samples, 1));
  }

  /// The condition `(N, width)`.
  Var apply(Tape tape, Parameters parameters, Var waves, Var choice) {
    Var time = mlp.apply(tape, parameters, waves);
    return time.add(choice.matmul(tape.use(parameters.get(table))));
  }
}
