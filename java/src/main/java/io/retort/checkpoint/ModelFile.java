package io.retort.checkpoint;

import io.retort.data.Json;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.KarrasSigmas;
import io.retort.grad.Parameters;
import io.retort.nn.Plan;
import io.retort.tensor.DType;
import io.retort.tensor.Memory;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.stream.Stream;

/// A model on disk: `model.safetensors` with `config.json` beside it, in a folder of its own or of
/// a run.
///
/// Owns the loaded weights.
public record ModelFile(
    Path file, Denoiser denoiser, Parameters parameters, SequencedMap<String, String> metadata)
    implements AutoCloseable {

  public static final String WEIGHTS = "model.safetensors";
  public static final String CONFIG = "config.json";

  /// What the weights of a folder may be called, the first that is there counts.
  private static final List<String> FOLDER =
      List.of(
          WEIGHTS,
          "model" + SafetensorsShards.SUFFIX,
          "model.pt",
          "model.pth",
          "diffusion_pytorch_model.safetensors",
          "diffusion_pytorch_model" + SafetensorsShards.SUFFIX,
          "diffusion_pytorch_model.bin");

  /// Where a diffusers pipeline keeps its network.
  private static final List<String> NETWORKS = List.of("unet", "transformer");

  /// Metadata key: network evaluations the model is meant to be sampled with.
  public static final String EVALUATIONS = "retort.evaluations";

  /// Metadata key: noise level that sampling starts from.
  public static final String SIGMA_MAX = "retort.sigma_max";

  /// Metadata key: all noise levels of a student of several steps, descending, with commas between.
  public static final String LEVELS = "retort.levels";

  private static final double MOST_SIGMA = 1e6;
  private static final int MOST_LEVELS = 64;

  /// Loads a model.
  ///
  /// @param model a folder holding `model.safetensors` (or its index of shards, or `model.pt`, or
  ///   these under the names of diffusers), a diffusers pipeline whose `unet` or `transformer`
  ///   does, or a file that [TensorFile#open] takes with `config.json` beside it
  /// @throws CheckpointException with the reason in one sentence
  public static ModelFile load(Path model, Memory memory) {
    Path file = weights(model);
    if (!Files.exists(TorchFile.container(file))) {
      throw new CheckpointException(
          model,
          "",
          Files.isDirectory(model)
              ? "holds no " + WEIGHTS + " (has the run saved yet?)"
              : "does not exist");
    }
    PickledModule.refuse(file);
    Denoiser denoiser = ModelConfig.read(TorchFile.container(file).resolveSibling(CONFIG));
    try (TensorFile reader = TensorFile.open(file)) {
      Plan plan = denoiser.network().plan();
      Weights.requireFit(reader, "", plan.shapes());
      Parameters parameters = plan.allocate(memory);
      try {
        Weights.load(reader, "", parameters);
      } catch (RuntimeException failure) {
        parameters.close();
        throw failure;
      }
      return new ModelFile(file, denoiser, parameters, reader.metadata());
    }
  }

  /// The file that holds the weights of `model`: itself, or the first known one of a folder, else
  /// `model.safetensors`, which is not there.
  public static Path weights(Path model) {
    if (!Files.isDirectory(model)) {
      return model;
    }
    for (Path folder :
        Stream.concat(Stream.of(model), NETWORKS.stream().map(model::resolve)).toList()) {
      for (String name : FOLDER) {
        if (Files.exists(folder.resolve(name))) {
          return folder.resolve(name);
        }
      }
    }
    return model.resolve(WEIGHTS);
  }

  /// The same model, its weights shared, with activations of another type.
  public ModelFile in(DType compute) {
    return new ModelFile(file, denoiser.in(compute), parameters, metadata);
  }

  /// Saves weights and configuration into `folder`; each file appears whole or not at all.
  public static void save(
      Path folder, Denoiser denoiser, Parameters parameters, Map<String, String> metadata) {
    write(folder.resolve(WEIGHTS), denoiser, parameters, metadata);
  }

  /// Writes the same model to another `.safetensors` file, with `config.json` beside it.
  ///
  /// @throws CheckpointException if the configuration of another network is already there
  public void copyTo(Path target) {
    Path config = target.resolveSibling(CONFIG);
    if (Files.exists(config)
        && !ModelConfig.of(ModelConfig.read(config)).equals(ModelConfig.of(denoiser))) {
      throw new CheckpointException(
          config, "", "describes another network; export into a folder of its own");
    }
    write(target, denoiser, parameters, metadata);
  }

  private static void write(
      Path file, Denoiser denoiser, Parameters parameters, Map<String, String> metadata) {
    Path config = file.resolveSibling(CONFIG);
    try {
      String json = Json.writeIndented(ModelConfig.of(denoiser));
      AtomicFile.write(config, json.getBytes(StandardCharsets.UTF_8));
    } catch (IOException failure) {
      throw new CheckpointException(config, "", failure);
    }
    SafetensorsWriter writer = new SafetensorsWriter();
    metadata.forEach(writer::metadata);
    Weights.declare(writer, "", parameters);
    writer.write(file);
  }

  /// Whether the model was made to draw in one step.
  public boolean oneStep() {
    return "1".equals(metadata.get(EVALUATIONS));
  }

  /// The noise level that sampling starts from: the model's own, else EDM's.
  ///
  /// @throws CheckpointException if the metadata gives none that can be
  public double sigmaMax() {
    String text = metadata.get(SIGMA_MAX);
    try {
      double sigma = text == null ? KarrasSigmas.EDM.max() : Double.parseDouble(text);
      if (sigma > 0 && sigma <= MOST_SIGMA) {
        return sigma;
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw new CheckpointException(
        file, "", "metadata %s must be a number above 0, got %s".formatted(SIGMA_MAX, text));
  }

  /// The noise levels of a student of several steps, descending; empty for other models.
  ///
  /// @throws CheckpointException if the metadata say something else
  public List<Double> levels() {
    String text = metadata.get(LEVELS);
    if (text == null) {
      return List.of();
    }
    try {
      List<Double> levels = Stream.of(text.split(",", -1)).map(Double::valueOf).toList();
      if (levels.size() <= MOST_LEVELS
          && levels.stream().allMatch(level -> level > 0 && level <= MOST_SIGMA)) {
        return levels;
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw new CheckpointException(
        file,
        "",
        "metadata %s must be up to %d numbers above 0 with commas between, got %s"
            .formatted(LEVELS, MOST_LEVELS, text));
  }

  @Override
  public void close() {
    parameters.close();
  }
}
