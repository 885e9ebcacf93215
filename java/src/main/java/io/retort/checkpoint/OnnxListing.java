package io.retort.checkpoint;

import io.retort.data.MappedFile;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.ThreadLocalRandom;

/// What an ONNX file says of itself, without loading its weights.
///
/// Source: onnx.proto of ONNX 1.18 (ModelProto, GraphProto, ValueInfoProto).
///
/// @param metadata its `metadata_props`
/// @param inputs what it is fed with, such as `x FLOAT [batch, 3, 32, 32]`
/// @param outputs what it computes
/// @param nodes how many nodes of each operator there are
/// @param weights number of initializers
/// @param weightBytes bytes of the initializers' raw data
public record OnnxListing(
    long irVersion,
    String producer,
    long opset,
    SequencedMap<String, String> metadata,
    List<String> inputs,
    List<String> outputs,
    SortedMap<String, Integer> nodes,
    int weights,
    long weightBytes) {
  private static final List<String> TYPES =
      List.of(
          "UNDEFINED",
          "FLOAT",
          "UINT8",
          "INT8",
          "UINT16",
          "INT16",
          "INT32",
          "INT64",
          "STRING",
          "BOOL",
          "FLOAT16",
          "DOUBLE",
          "UINT32",
          "UINT64",
          "COMPLEX64",
          "COMPLEX128",
          "BFLOAT16");

  /// Reads a file.
  ///
  /// @throws CheckpointException if it is damaged
  public static OnnxListing read(Path file) {
    try (MappedFile mapped = MappedFile.open(file)) {
      return new Builder(file, mapped.bytes()).built();
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  private static final class Builder {
    /// More inputs, operators or metadata than any graph has: a listing must stay short.
    private static final int MOST = 4096;

    private static final int MOST_DIMENSIONS = 64;

    private final Path file;
    private final ProtoReader in;
    private long irVersion;
    private String producer = "";
    private long opset;
    private boolean graph;
    private final SequencedMap<String, String> metadata = new LinkedHashMap<>();
    private final List<String> inputs = new ArrayList<>();
    private final List<String> outputs = new ArrayList<>();
    private final OperatorCounts nodes = new OperatorCounts();
    private int weights;
    private long weightBytes;

    Builder(Path file, MemorySegment bytes) {
      this.file = file;
      in = new ProtoReader(file, bytes);
    }

    OnnxListing built() {
      model();
      if (!graph) {
        throw new CheckpointException(file, "", "is no ONNX file: it has no graph");
      }
      return new OnnxListing(
          irVersion,
          producer,
          opset,
          metadata,
          inputs,
          outputs,
          nodes.byName(),
          weights,
          weightBytes);
    }

    private void model() {
      while (in.next()) {
        switch (in.field()) {
          case 1 -> irVersion = in.varint();
          case 2 -> producer = in.text();
          case 7 -> inside(this::graph);
          case 8 -> inside(this::opset);
          case 14 -> inside(this::property);
          default -> in.skip();
        }
      }
    }

    private void inside(Runnable message) {
      long outer = in.enter();
      message.run();
      in.leave(outer);
    }

    private void opset() {
      boolean standard = true;
      long version = 0;
      while (in.next()) {
        switch (in.field()) {
          case 1 -> standard = in.length() == 0;
          case 2 -> version = in.varint();
          default -> in.skip();
        }
      }
      if (standard) {
        opset = version;
      }
    }

    private void property() {
      String key = "";
      String value = "";
      while (in.next()) {
        switch (in.field()) {
          case 1 -> key = in.text();
          case 2 -> value = in.text();
          default -> in.skip();
        }
      }
      metadata.put(key, value);
      requireFew(metadata.size(), "metadata");
    }

    private void graph() {
      graph = true;
      while (in.next()) {
        switch (in.field()) {
          case 1 -> inside(this::node);
          case 5 -> inside(this::initializer);
          case 11 -> add(inputs, "inputs");
          case 12 -> add(outputs, "outputs");
          default -> in.skip();
        }
      }
    }

    private void add(List<String> values, String what) {
      requireFew(values.size() + 1, what);
      inside(() -> values.add(value()));
    }

    private void requireFew(int count, String what) {
      if (count > MOST) {
        throw new CheckpointException(
            file, "", "lists more than %d %s, which no graph has".formatted(MOST, what));
      }
    }

    private void node() {
      while (in.next()) {
        if (in.field() == 4) {
          nodes.add(in);
          requireFew(nodes.size(), "operators");
        } else {
          in.skip();
        }
      }
    }

    private void initializer() {
      weights++;
      while (in.next()) {
        if (in.field() == 9) {
          weightBytes += in.length();
        } else {
          in.skip();
        }
      }
    }

    private String value() {
      String name = "";
      var type = new StringBuilder();
      while (in.next()) {
        switch (in.field()) {
          case 1 -> name = in.text();
          case 2 -> {
            type.setLength(0);
            inside(() -> type(type));
          }
          default -> in.skip();
        }
      }
      return (name + " " + type).strip();
    }

    private void type(StringBuilder text) {
      while (in.next()) {
        if (in.field() == 1) {
          text.setLength(0);
          inside(() -> tensor(text));
        } else {
          in.skip();
        }
      }
    }

    private void tensor(StringBuilder text) {
      String element = "";
      List<String> shape = new ArrayList<>();
      while (in.next()) {
        switch (in.field()) {
          case 1 -> {
            long code = in.varint();
            element = code > 0 && code < TYPES.size() ? TYPES.get((int) code) : "type " + code;
          }
          case 2 -> inside(() -> shape(shape));
          default -> in.skip();
        }
      }
      text.append(element).append(' ').append('[').append(String.join(", ", shape)).append(']');
    }

    private void shape(List<String> shape) {
      while (in.next()) {
        if (in.field() == 1) {
          if (shape.size() == MOST_DIMENSIONS) {
            throw new CheckpointException(
                file, "", "has an array of more than %d dimensions".formatted(MOST_DIMENSIONS));
          }
          inside(() -> shape.add(dimension()));
        } else {
          in.skip();
        }
      }
    }

    private String dimension() {
      String text = "?";
      while (in.next()) {
        switch (in.field()) {
          case 1 -> text = Long.toString(in.varint());
          case 2 -> text = in.text();
          default -> in.skip();
        }
      }
      return text;
    }
  }

  /// How many nodes of each operator there are, without a string for every node: a table by the
  /// hash of the operator's name.
  private static final class OperatorCounts {
    private static final int SLOTS = 2 * Builder.MOST;

    private final long seed = ThreadLocalRandom.current().nextLong();
    private final long[] hashes = new long[SLOTS];
    private final int[] counts = new int[SLOTS];
    private final SequencedMap<String, Integer> names = new LinkedHashMap<>();

    /// Counts the text that the field is.
    void add(ProtoReader field) {
      long start = field.position();
      long hash = field.textHash(seed);
      int slot = (int) (hash >>> 32) & SLOTS - 1;
      while (counts[slot] != 0 && hashes[slot] != hash) {
        slot = slot + 1 & SLOTS - 1;
      }
      if (counts[slot]++ == 0) {
        hashes[slot] = hash;
        names.putIfAbsent(field.textAt(start), slot);
      }
    }

    int size() {
      return names.size();
    }

    SortedMap<String, Integer> byName() {
      SortedMap<String, Integer> sorted = new TreeMap<>();
      names.forEach((name, slot) -> sorted.put(name, counts[slot]));
      return sorted;
    }
  }
}
