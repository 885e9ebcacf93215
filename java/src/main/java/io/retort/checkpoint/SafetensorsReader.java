package io.retort.checkpoint;

import io.retort.data.MappedFile;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;

/// Reads a safetensors file: checks the whole header on opening, shows the data of a tensor where
/// the file is mapped into memory.
///
/// Nothing in the file is trusted: lengths are compared with the file's before anything is
/// allocated, tensors must cover the data without hole or overlap, and names are only ever keys,
/// never paths. The only exception is [CheckpointException]. Reads may come from several threads.
///
/// Source: the safetensors format description, version 0.8 of its reference reader.
public final class SafetensorsReader implements TensorFile {
  private static final ValueLayout.OfLong LENGTH =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final MappedFile mapped;
  private final long dataStart;
  private final SafetensorsHeader header;

  private SafetensorsReader(MappedFile mapped, long dataStart, SafetensorsHeader header) {
    this.mapped = mapped;
    this.dataStart = dataStart;
    this.header = header;
  }

  /// Opens `file` and checks its header.
  public static SafetensorsReader open(Path file) {
    MappedFile mapped;
    try {
      mapped = MappedFile.open(file);
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
    try {
      return read(file, mapped);
    } catch (RuntimeException | Error refusal) {
      mapped.close();
      throw refusal;
    }
  }

  private static SafetensorsReader read(Path file, MappedFile mapped) {
    if (mapped.size() < Long.BYTES) {
      throw new CheckpointException(
          file, "", "a safetensors file has at least 8 bytes, this has " + mapped.size());
    }
    long headerBytes = mapped.bytes().get(LENGTH, 0);
    if (headerBytes < 0 || headerBytes > SafetensorsHeader.MAX_BYTES) {
      throw new CheckpointException(
          file,
          "",
          "a header of %s bytes is more than %d"
              .formatted(Long.toUnsignedString(headerBytes), SafetensorsHeader.MAX_BYTES));
    }
    long dataStart = Long.BYTES + headerBytes;
    if (dataStart > mapped.size()) {
      throw new CheckpointException(
          file,
          "",
          "the header should have %d bytes, the file ends after %d"
              .formatted(headerBytes, mapped.size() - Long.BYTES));
    }
    byte[] json = mapped.bytes().asSlice(Long.BYTES, headerBytes).toArray(ValueLayout.JAVA_BYTE);
    return new SafetensorsReader(
        mapped, dataStart, SafetensorsHeader.parse(file, json, mapped.size() - dataStart));
  }

  @Override
  public Path file() {
    return mapped.path();
  }

  /// The `__metadata__` strings in file order, empty if there are none.
  @Override
  public SequencedMap<String, String> metadata() {
    return header.metadata();
  }

  /// Every tensor, in the order of its data.
  @Override
  public List<TensorEntry> entries() {
    return header.entries();
  }

  @Override
  public Optional<TensorEntry> find(String name) {
    return header.find(name);
  }

  @Override
  public MemorySegment data(String name) {
    TensorEntry entry = entry(name);
    return mapped.bytes().asSlice(dataStart + entry.begin(), entry.bytes());
  }

  @Override
  public void close() {
    mapped.close();
  }
}
