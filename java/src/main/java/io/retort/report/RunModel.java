package io.retort.report;

import io.retort.checkpoint.ModelFile;
import io.retort.data.Dataset;
import io.retort.diffusion.HeunSampler;
import io.retort.diffusion.ImageSampler;
import io.retort.diffusion.LcmSampler;
import io.retort.distill.ClassifierTraining;
import io.retort.grad.Parameters;
import io.retort.metrics.LeNetFeatures;
import io.retort.net.LeNet;
import io.retort.op.Backend;
import io.retort.recipe.BuiltIn;
import io.retort.recipe.Recipe;
import io.retort.train.RoleState;
import io.retort.train.Trainer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What a run trains, as others load it: averaged weights with what they need to be used.
final class RunModel {

  private RunModel() {}

  /// Replaces the run's model: `model.safetensors` and `config.json`, or the metric net's one file.
  static void save(
      Recipe recipe, Dataset data, RunDirectory directory, Trainer trainer, Backend backend) {
    Optional<ImageSampler> sampler = Generators.shown(Generators.of(recipe, trainer, backend));
    if (sampler.isPresent()) {
      ImageSampler model = sampler.get();
      ModelFile.save(
          directory.path(), model.denoiser(), model.parameters(), metadata(recipe, trainer, model));
    } else {
      try (LeNetFeatures net = metricNet(data, trainer, backend)) {
        net.save(
            directory.file(BuiltIn.metricNetFile(recipe.data())),
            "trained on %s for %d steps, seed %d"
                .formatted(recipe.data(), trainer.step(), recipe.seed()));
      }
    }
  }

  private static Map<String, String> metadata(Recipe recipe, Trainer trainer, ImageSampler model) {
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put(ModelFile.EVALUATIONS, Integer.toString(model.evaluations()));
    if (model.sampler() instanceof HeunSampler heun) {
      metadata.put(ModelFile.SIGMA_MAX, Double.toString(heun.sigmas().max()));
    }
    if (model.sampler() instanceof LcmSampler several) {
      List<String> levels =
          several.trajectory().steps().stream()
              .map(step -> Double.toString(step.from().noise()))
              .toList();
      metadata.put(ModelFile.SIGMA_MAX, levels.getFirst());
      metadata.put(ModelFile.LEVELS, String.join(",", levels));
    }
    metadata.put("retort.method", trainer.method().name());
    metadata.put("retort.data", recipe.data());
    metadata.put("retort.seed", Long.toString(recipe.seed()));
    metadata.put("retort.steps", Long.toString(trainer.step()));
    return metadata;
  }

  /// The classifier of a run as a feature extractor, around a copy of its weights; closed by the
  /// caller.
  static LeNetFeatures metricNet(Dataset data, Trainer trainer, Backend backend) {
    RoleState role = trainer.roles().get(ClassifierTraining.CLASSIFIER);
    if (role == null || !(role.role().net() instanceof LeNet net)) {
      throw new IllegalStateException("metric net: the run trains no classifier");
    }
    Parameters copy = net.plan().allocate(backend.memory());
    copy.copyFrom(role.best());
    String file = BuiltIn.metricNetFile(data.name());
    return LeNetFeatures.trained(
        backend, net, copy, file.substring(0, file.lastIndexOf('.')), data.train());
  }
}
