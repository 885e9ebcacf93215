package io.retort.checkpoint;

import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;

/// Moves [Parameters] into and out of safetensors files, tensor by tensor, by name.
public final class Weights {
  /// Constant buffers in EDM's checkpoints, not in ours: the filters of its resampling layers and
  /// the noise levels of its iDDPM preconditioner.
  private static final String FILTER = "resample_filter";

  private static final String LEVELS = "u";

  /// And in diffusers': positions that it once stored, and a second name for the frequencies of the
  /// time embedding.
  private static final List<String> STORED_TWICE = List.of("pos_embed.pos_embed", "time_proj.W");

  /// How the names of what EDM's preconditioners wrap begin.
  private static final String WRAPPED = "model.";

  private Weights() {}

  /// Declares every parameter as `prefix + name`.
  public static void declare(SafetensorsWriter writer, String prefix, Parameters parameters) {
    for (Parameter parameter : parameters.all()) {
      writer.floats(
          prefix + parameter.name(), parameter.shape().dims(), () -> parameter.value().floats());
    }
  }

  /// Loads every parameter from `prefix + name`; other tensors of that prefix are refused.
  ///
  /// @throws CheckpointException if a tensor is missing, unknown, of another shape, or not finite
  public static void load(TensorFile reader, String prefix, Parameters parameters) {
    SequencedMap<String, Shape> shapes = new LinkedHashMap<>();
    parameters.all().forEach(parameter -> shapes.put(parameter.name(), parameter.shape()));
    requireFit(reader, prefix, shapes);
    parameters.all().parallelStream()
        .forEach(p -> copy(reader, stored(reader, prefix + p.name()), p.value()));
  }

  /// Checks names and shapes of the tensors of a prefix before anything is allocated for them.
  ///
  /// @param shapes of the network's parameters, by their names without the prefix
  /// @throws CheckpointException if a tensor is missing, unknown, or of another shape
  static void requireFit(TensorFile reader, String prefix, Map<String, Shape> shapes) {
    Set<String> wanted = new HashSet<>();
    shapes.forEach((name, shape) -> {
      String stored = stored(reader, prefix + name);
      if (!reader.contains(stored)) {
        throw missing(reader, stored);
      }
      wanted.add(fitting(reader, stored, shape).name());
    });
    for (TensorEntry entry : reader.entries()) {
      String name = entry.name();
      if (name.startsWith(prefix) && !wanted.contains(name) && !isBuffer(name)) {
        throw new CheckpointException(reader.file(), name, "does not belong to this network");
      }
    }
  }

  private static CheckpointException missing(TensorFile reader, String name) {
    String inner = name.startsWith(WRAPPED) ? name.substring(WRAPPED.length()) : "";
    return new CheckpointException(
        reader.file(),
        name,
        reader.contains(inner)
            ? "is called \"%s\" in this file; save the state dict of the preconditioner around the"
                    .formatted(inner)
                + " network, whose names begin with \"model.\""
            : "is not in this file; the configuration beside it must describe the network of these"
                + " weights");
  }

  private static boolean isBuffer(String name) {
    return name.endsWith(FILTER) || name.equals(LEVELS) || STORED_TWICE.contains(name);
  }

  /// The name of a tensor in this file: its own, or the one that diffusers' attention had before.
  private static String stored(TensorFile reader, String name) {
    String older = OlderNames.of(name);
    return !reader.contains(name) && reader.contains(older) ? older : name;
  }

  /// Copies one tensor of the file into memory.
  ///
  /// @throws CheckpointException if it is missing, of another shape, or not finite
  public static void copy(TensorFile reader, String name, Tensor target) {
    TensorValues.of(reader, fitting(reader, name, target.shape())).copyTo(target);
  }

  /// The entry of a tensor that must be there, of this shape.
  public static TensorEntry fitting(TensorFile reader, String name, Shape shape) {
    TensorEntry entry = reader.entry(name);
    if (!Arrays.equals(entry.shape(), shape.dims())) {
      throw new CheckpointException(
          reader.file(), name, "must be " + shape + ", got " + Arrays.toString(entry.shape()));
    }
    return entry;
  }
}
