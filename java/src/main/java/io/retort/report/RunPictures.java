package io.retort.report;

import io.retort.data.PngGrid;
import io.retort.diffusion.ImageSampler;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.train.Trainer;
import java.util.Optional;

/// `samples/step-N.png`: what the averaged weights draw from the same latents, step after step.
final class RunPictures {
  /// Images on a sheet.
  static final int COUNT = 64;

  /// How they are laid out.
  static final PngGrid SHEET = new PngGrid(8, 1, 1);

  private final RunDirectory directory;
  private final StepLog log;
  private final Optional<ImageSampler> sampler;

  RunPictures(
      Recipe recipe, RunDirectory directory, Backend backend, Trainer trainer, StepLog log) {
    this.directory = directory;
    this.log = log;
    sampler = Generators.shown(Generators.of(recipe, trainer, backend));
  }

  /// Draws the sheet of a step; nothing for a method without images.
  void draw(long step) {
    sampler.ifPresent(from -> {
      byte[] png = SHEET.png(Generators.draw(from, COUNT, done -> {}));
      directory.write(directory.samples(step), png);
      log.picture("samples", step, png);
    });
  }
}
