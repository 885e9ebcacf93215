package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Dense;
import io.retort.nn.Init;
import io.retort.nn.Plan;
import org.jspecify.annotations.Nullable;

/// What EDM's U-Nets are conditioned on: `silu(layer1(silu(layer0(e + augmentation))))` of features
/// e of the noise level, with the class added before the layers or after them.
///
/// @param classes projects a one-hot class, null without classes
/// @param told projects the augmentation condition, null without one
/// @param layer0 from the width of the features
/// @param layer1 to the conditioning vector
/// @param classesFirst whether the class, times the root of the number of classes, is added to the
///   features; otherwise as it is to what comes out of the last layer
record EdmEmbedding(
    @Nullable Dense classes,
    @Nullable Dense told,
    Dense layer0,
    Dense layer1,
    boolean classesFirst) {
  private static final String CLASSES = "model.map_label";
  private static final String TOLD = "model.map_augment";
  private static final String LAYER = "model.map_layer";

  /// SongUNet's.
  static EdmEmbedding of(SongUNet.Config config) {
    int features = config.noiseChannels();
    int width = config.embeddingChannels();
    return new EdmEmbedding(
        config.classes() > 0 ? Dense.xavier(CLASSES, config.classes(), features) : null,
        config.augmentation() > 0
            ? Dense.xavier(TOLD, config.augmentation(), features).withoutBias()
            : null,
        Dense.xavier(LAYER + 0, features, width),
        Dense.xavier(LAYER + 1, width, width),
        true);
  }

  /// DhariwalUNet's.
  static EdmEmbedding of(DhariwalUNet.Config config) {
    int features = config.channels();
    int width = config.embeddingChannels();
    Init zero = new Init.Constant(0);
    return new EdmEmbedding(
        config.classes() > 0
            ? new Dense(CLASSES, config.classes(), width, false, new Init.Normal(0, 1), zero)
            : null,
        config.augmentation() > 0
            ? new Dense(TOLD, config.augmentation(), features, false, zero, zero)
            : null,
        Dense.plain(LAYER + 0, features, width),
        Dense.plain(LAYER + 1, width, width),
        false);
  }

  /// In the order of EDM's checkpoints.
  void declare(Plan plan) {
    if (classes != null && classesFirst) {
      classes.declare(plan);
    }
    if (told != null) {
      told.declare(plan);
    }
    layer0.declare(plan);
    layer1.declare(plan);
    if (classes != null && !classesFirst) {
      classes.declare(plan);
    }
  }

  /// The conditioning vector `(N, width)`.
  ///
  /// @param features of the noise level `(N, layer0's)`
  /// @param labels one-hot `(N, classes)`, null for none
  /// @param augmentation what was done to each image, null for nothing
  Var apply(
      Tape tape,
      Parameters parameters,
      Var features,
      @Nullable Var labels,
      @Nullable Var augmentation) {
    Var emb = features;
    if (classes != null && labels != null && classesFirst) {
      Var scaled = labels.affine(Math.sqrt(classes.in()), 0);
      emb = emb.add(classes.apply(tape, parameters, scaled));
    }
    if (told != null && augmentation != null) {
      emb = emb.add(told.apply(tape, parameters, augmentation));
    }
    emb = layer0.apply(tape, parameters, emb).silu();
    emb = layer1.apply(tape, parameters, emb);
    if (classes != null && labels != null && !classesFirst) {
      emb = emb.add(classes.apply(tape, parameters, labels));
    }
    return emb.silu();
  }
}
