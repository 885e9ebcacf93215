package io.retort.checkpoint;

import io.retort.data.Json;
import io.retort.data.Printable;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/// A model in several safetensors files: `model.safetensors.index.json`, whose `weight_map` says
/// which file beside it holds which tensor.
///
/// Stricter than most readers: every tensor of the map must be in the file that the map names, no
/// shard may hold a tensor that the map does not give to it, and shards are plain file names.
public final class SafetensorsShards implements TensorFile {
  /// How an index is named: after the model that it makes whole.
  public static final String SUFFIX = ".safetensors.index.json";

  private static final long MAX_BYTES = 16 << 20;
  private static final int MAX_SHARDS = 4096;

  private final Path file;
  private final SequencedMap<String, String> metadata = new LinkedHashMap<>();
  private final SequencedMap<String, SafetensorsReader> shards = new LinkedHashMap<>();
  private final Map<String, SafetensorsReader> byTensor = new HashMap<>();
  private final List<TensorEntry> entries = new ArrayList<>();

  private SafetensorsShards(Path file) {
    this.file = file;
  }

  /// Reads an index and the header of every shard it names.
  public static SafetensorsShards open(Path file) {
    SafetensorsShards opened = new SafetensorsShards(file);
    try {
      opened.read(parse(file));
      return opened;
    } catch (RuntimeException refusal) {
      opened.close();
      throw refusal;
    }
  }

  private static Map<String, @Nullable Object> parse(Path file) {
    try {
      if (Files.isRegularFile(file) && Files.size(file) > MAX_BYTES) {
        throw new CheckpointException(file, "", "is larger than an index can be");
      }
      return Json.parseObject(Files.readString(file));
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    } catch (Json.JsonException malformed) {
      throw new CheckpointException(
          file, "", Objects.requireNonNullElse(malformed.getMessage(), "is no index"));
    }
  }

  private void read(Map<String, @Nullable Object> index) {
    if (index.get("metadata") instanceof Map<?, ?> map) {
      map.forEach((key, value) -> metadata.put(String.valueOf(key), String.valueOf(value)));
    }
    if (!(index.get("weight_map") instanceof Map<?, ?> weights)) {
      throw new CheckpointException(file, "", "an index needs a weight_map of names to files");
    }
    weights.forEach((name, shard) -> place(String.valueOf(name), shard));
    for (SafetensorsReader shard : shards.values()) {
      for (TensorEntry entry : shard.entries()) {
        if (byTensor.get(entry.name()) != shard) {
          throw new CheckpointException(
              shard.file(), entry.name(), "is not what the index says is in this shard");
        }
        entries.add(entry);
      }
    }
  }

  private void place(String name, @Nullable Object value) {
    if (!(value instanceof String shard)
        || shard.startsWith(".")
        || !shard.matches("[^/\\\\\\p{Cntrl}]{1,255}")) {
      throw new CheckpointException(
          file,
          name,
          "a shard must be the name of a file beside the index, got "
              + Printable.name(String.valueOf(value)));
    }
    SafetensorsReader reader = shards.get(shard);
    if (reader == null) {
      if (shards.size() == MAX_SHARDS) {
        throw new CheckpointException(file, "", "names more than " + MAX_SHARDS + " shards");
      }
      reader = SafetensorsReader.open(file.resolveSibling(shard));
      shards.put(shard, reader);
    }
    reader.entry(name);
    byTensor.put(name, reader);
  }

  @Override
  public Path file() {
    return file;
  }

  /// The index's own members, then those of the shards that no earlier one has.
  @Override
  public SequencedMap<String, String> metadata() {
    SequencedMap<String, String> all = new LinkedHashMap<>(metadata);
    shards.values().forEach(shard -> shard.metadata().forEach(all::putIfAbsent));
    return all;
  }

  /// Shards by name, with what each holds.
  public Map<String, Integer> shards() {
    Map<String, Integer> counts = new TreeMap<>();
    shards.forEach((name, reader) -> counts.put(name, reader.entries().size()));
    return counts;
  }

  @Override
  public List<TensorEntry> entries() {
    return List.copyOf(entries);
  }

  @Override
  public Optional<TensorEntry> find(String name) {
    return Optional.ofNullable(byTensor.get(name)).flatMap(shard -> shard.find(name));
  }

  @Override
  public MemorySegment data(String name) {
    SafetensorsReader shard = byTensor.get(name);
    if (shard == null) {
      throw new CheckpointException(file, name, "is not in this file");
    }
    return shard.data(name);
  }

  @Override
  public void close() {
    shards.values().forEach(SafetensorsReader::close);
  }
}
