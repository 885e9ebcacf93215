package io.retort.checkpoint;

import io.retort.data.MappedFile;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;

/// A file of named tensors, whatever its format: listed when it is opened, read tensor by tensor.
///
/// Nothing in such a file is trusted or executed; what is wrong with it is a [CheckpointException].
/// Reads may come from several threads.
public sealed interface TensorFile extends AutoCloseable
    permits SafetensorsReader, SafetensorsShards, TorchFile {
  /// How a PyTorch zip begins.
  int ZIP_MAGIC = 0x04034b50;

  /// The opcode every pickle of protocol 2 or later begins with.
  int PICKLE_PROTOCOL = 0x80;

  /// Opens a file of any of these formats, told apart by content: safetensors, the index of
  /// safetensors shards, a PyTorch state dict (`FILE#NAME` names one of several in it).
  static TensorFile open(Path file) {
    Path container = TorchFile.container(file);
    if (file.toString().endsWith(".json")) {
      return SafetensorsShards.open(file);
    }
    return !container.equals(file) || isTorch(file)
        ? TorchFile.open(file)
        : SafetensorsReader.open(file);
  }

  private static boolean isTorch(Path file) {
    if (!Files.isRegularFile(file)) {
      return false;
    }
    try (MappedFile mapped = MappedFile.open(file)) {
      MemorySegment bytes = mapped.bytes();
      long size = mapped.size();
      if (size > Long.BYTES && bytes.get(ValueLayout.JAVA_BYTE, Long.BYTES) == '{') {
        return false;
      }
      boolean pickle = size > 0 && (bytes.get(ValueLayout.JAVA_BYTE, 0) & 0xff) == PICKLE_PROTOCOL;
      return pickle
          || (size >= Integer.BYTES && bytes.get(ValueLayout.JAVA_INT_UNALIGNED, 0) == ZIP_MAGIC);
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  Path file();

  /// Strings about the whole file, empty if the format has none.
  SequencedMap<String, String> metadata();

  /// Every tensor, in the order of the file.
  List<TensorEntry> entries();

  Optional<TensorEntry> find(String name);

  /// The bytes of a tensor, little-endian in C order, valid until this is closed: a view of the
  /// mapped file wherever it holds them so.
  MemorySegment data(String name);

  default boolean contains(String name) {
    return find(name).isPresent();
  }

  /// The entry of a tensor that must be there.
  default TensorEntry entry(String name) {
    return find(name)
        .orElseThrow(() -> new CheckpointException(file(), name, "is not in this file"));
  }

  /// The values of an F32, F16, BF16 or F64 tensor; F64 is rounded.
  default float[] floats(String name) {
    return TensorValues.of(this, entry(name)).floats();
  }

  /// The values of an F64, F32, F16 or BF16 tensor, exactly.
  default double[] doubles(String name) {
    return TensorValues.of(this, entry(name)).doubles();
  }

  /// The values of an integer tensor; BOOL gives 0 and 1, any other byte counting as 1.
  default long[] longs(String name) {
    return TensorValues.of(this, entry(name)).longs();
  }

  /// The raw bytes of a tensor of any type.
  default byte[] bytes(String name) {
    return TensorValues.of(this, entry(name)).raw();
  }

  @Override
  void close();
}
