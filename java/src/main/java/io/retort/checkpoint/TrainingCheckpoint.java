package io.retort.checkpoint;

import io.retort.data.Json;
import io.retort.diffusion.Denoiser;
import io.retort.distill.Method;
import io.retort.net.DiffusionNet;
import io.retort.tensor.Tensor;
import io.retort.train.RoleState;
import io.retort.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// The whole state of a run at one step, in one safetensors file: weights, averages, optimizer
/// moments, calibration.
///
/// Tensors: `role/name` weights, `role/average/name`, `role/adam/first` and `role/adam/second` as
/// flat arenas. Everything else a step depends on is a function of the seed and the step number, so
/// this is all that resuming needs.
public final class TrainingCheckpoint {
  private static final String FORMAT = "retort.training.1";
  private static final String TEACHER = "teacher";
  private static final String PATTERN = "step-%08d.safetensors";

  private TrainingCheckpoint() {}

  /// Writes `folder/step-N.safetensors` and removes all but the newest `keep` files.
  public static Path save(Path folder, Trainer trainer, int keep) {
    Path file = folder.resolve(PATTERN.formatted(trainer.step()));
    SafetensorsWriter writer = new SafetensorsWriter();
    writer.metadata("format", FORMAT);
    writer.metadata("method", trainer.method().name());
    writer.metadata("step", Long.toString(trainer.step()));
    writer.metadata("seed", Long.toString(trainer.spec().seed()));
    writer.metadata("calibration", Json.write(trainer.calibration()));
    teacher(trainer).ifPresent(json -> writer.metadata(TEACHER, json));
    trainer.roles().forEach((name, role) -> declare(writer, name, role));
    writer.write(file);
    prune(folder, keep);
    return file;
  }

  /// The structure of the teacher, which a student need not have.
  private static Optional<String> teacher(Trainer trainer) {
    RoleState state = trainer.roles().get(Method.TEACHER);
    return state != null && state.role().net() instanceof DiffusionNet network
        ? Optional.of(
            Json.write(ModelConfig.of(new Denoiser(network, trainer.spec().preconditioning()))))
        : Optional.empty();
  }

  /// The structure of the teacher that a checkpoint's run learns from; empty in those of earlier
  /// versions, whose students have it, too.
  ///
  /// @throws CheckpointException if the file is no checkpoint or says nonsense
  public static Optional<Denoiser> teacher(Path file) {
    try (SafetensorsReader reader = SafetensorsReader.open(file)) {
      String json = reader.metadata().get(TEACHER);
      return json == null
          ? Optional.empty()
          : Optional.of(ModelConfig.denoiser(Json.parseObject(json)));
    } catch (IllegalArgumentException | Json.JsonException wrong) {
      throw new CheckpointException(file, "", "metadata \"teacher\": " + wrong.getMessage());
    }
  }

  private static void declare(SafetensorsWriter writer, String name, RoleState role) {
    Weights.declare(writer, name + "/", role.weights());
    if (role.average() != null) {
      Weights.declare(writer, name + "/average/", role.average());
    }
    if (role.adam() != null) {
      writer.metadata(name + ".updates", Long.toString(role.adam().updates()));
      arena(writer, name + "/adam/first", role.adam().first());
      arena(writer, name + "/adam/second", role.adam().second());
    }
  }

  private static void arena(SafetensorsWriter writer, String name, Tensor tensor) {
    writer.floats(name, tensor.shape().dims(), tensor::floats);
  }

  /// Loads a checkpoint into a trainer of the same method and recipe.
  ///
  /// @throws CheckpointException if the file does not belong to it
  public static void load(Path file, Trainer trainer) {
    try (SafetensorsReader reader = SafetensorsReader.open(file)) {
      if (!FORMAT.equals(reader.metadata().get("format"))) {
        throw new CheckpointException(file, "", "is not a training checkpoint of this version");
      }
      if (number(reader, "seed") != trainer.spec().seed()) {
        throw new CheckpointException(file, "", "was made with another seed than the recipe's");
      }
      trainer.roles().forEach((name, role) -> restore(reader, name, role));
      trainer.restore(number(reader, "step"), calibration(reader));
    }
  }

  private static void restore(SafetensorsReader reader, String name, RoleState role) {
    role.weights().all().forEach(p -> Weights.copy(reader, name + "/" + p.name(), p.value()));
    if (role.average() != null) {
      role.average()
          .all()
          .forEach(p -> Weights.copy(reader, name + "/average/" + p.name(), p.value()));
    }
    if (role.adam() != null) {
      role.adam().restore(number(reader, name + ".updates"));
      Weights.copy(reader, name + "/adam/first", role.adam().first());
      Weights.copy(reader, name + "/adam/second", role.adam().second());
    }
  }

  private static long number(SafetensorsReader reader, String key) {
    String text = reader.metadata().get(key);
    try {
      if (text != null && Long.parseLong(text) >= 0) {
        return Long.parseLong(text);
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw new CheckpointException(
        reader.file(), "", "metadata \"" + key + "\" must be a number, got " + text);
  }

  private static Map<String, Double> calibration(SafetensorsReader reader) {
    Map<String, Double> numbers = new HashMap<>();
    try {
      Map<String, @Nullable Object> json =
          Json.parseObject(reader.metadata().getOrDefault("calibration", "{}"));
      json.forEach((key, value) -> {
        if (!(value instanceof Number number)) {
          throw new Json.JsonException(key + " must be a number");
        }
        numbers.put(key, number.doubleValue());
      });
    } catch (Json.JsonException malformed) {
      throw new CheckpointException(reader.file(), "", "calibration: " + malformed.getMessage());
    }
    return numbers;
  }

  /// The newest checkpoint of a folder, if it has one.
  public static Optional<Path> newest(Path folder) {
    return files(folder).stream().findFirst();
  }

  private static void prune(Path folder, int keep) {
    List<Path> files = files(folder);
    for (Path old : files.subList(Math.min(keep, files.size()), files.size())) {
      try {
        Files.deleteIfExists(old);
      } catch (IOException failure) {
        throw new CheckpointException(old, "", failure);
      }
    }
  }

  private static List<Path> files(Path folder) {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(file -> file.getFileName().toString().matches("step-\\d{8,}\\.safetensors"))
          .sorted(Comparator.comparingLong(TrainingCheckpoint::stepOf).reversed())
          .toList();
    } catch (IOException failure) {
      throw new CheckpointException(folder, "", failure);
    }
  }

  private static long stepOf(Path file) {
    return Long.parseLong(file.getFileName().toString().replaceAll("\\D", ""));
  }
}
