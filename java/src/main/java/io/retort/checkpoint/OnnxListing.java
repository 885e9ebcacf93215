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
import java.util.stream.Collectors;

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
      var builder = new Builder();
      builder.model(new ProtoReader(file, mapped.bytes()));
      if (!builder.graph) {
        throw new CheckpointException(file, "", "is no ONNX file: it has no graph");
      }
      return builder.built();
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  private static final class Builder {
    private long irVersion;
    private String producer = "";
    private long opset;
    private boolean graph;
    private final SequencedMap<String, String> metadata = new LinkedHashMap<>();
    private final List<String> inputs = new ArrayList<>();
    private final List<String> outputs = new ArrayList<>();
    private final SortedMap<String, Integer> nodes = new TreeMap<>();
    private int weights;
    private long weightBytes;

    OnnxListing built() {
      return new OnnxListing(
          irVersion, producer, opset, metadata, inputs, outputs, nodes, weights, weightBytes);
    }

    void model(ProtoReader model) {
      while (model.next()) {
        switch (model.field()) {
          case 1 -> irVersion = model.varint();
          case 2 -> producer = model.text();
          case 7 -> graph(model.message());
          case 8 -> opset(model.message());
          case 14 -> property(model.message());
          default -> model.skip();
        }
      }
    }

    private void opset(ProtoReader id) {
      String domain = "";
      long version = 0;
      while (id.next()) {
        switch (id.field()) {
          case 1 -> domain = id.text();
          case 2 -> version = id.varint();
          default -> id.skip();
        }
      }
      if (domain.isEmpty()) {
        opset = version;
      }
    }

    private void property(ProtoReader pair) {
      String key = "";
      String value = "";
      while (pair.next()) {
        switch (pair.field()) {
          case 1 -> key = pair.text();
          case 2 -> value = pair.text();
          default -> pair.skip();
        }
      }
      metadata.put(key, value);
    }

    private void graph(ProtoReader reader) {
      graph = true;
      while (reader.next()) {
        switch (reader.field()) {
          case 1 -> node(reader.message());
          case 5 -> initializer(reader.message());
          case 11 -> inputs.add(value(reader.message()));
          case 12 -> outputs.add(value(reader.message()));
          default -> reader.skip();
        }
      }
    }

    private void node(ProtoReader node) {
      while (node.next()) {
        if (node.field() == 4) {
          nodes.merge(node.text(), 1, Integer::sum);
        } else {
          node.skip();
        }
      }
    }

    private void initializer(ProtoReader tensor) {
      weights++;
      while (tensor.next()) {
        if (tensor.field() == 9) {
          MemorySegment raw = tensor.bytes();
          weightBytes += raw.byteSize();
        } else {
          tensor.skip();
        }
      }
    }

    private static String value(ProtoReader info) {
      String name = "";
      String type = "";
      while (info.next()) {
        switch (info.field()) {
          case 1 -> name = info.text();
          case 2 -> type = type(info.message());
          default -> info.skip();
        }
      }
      return (name + " " + type).strip();
    }

    private static String type(ProtoReader type) {
      String text = "";
      while (type.next()) {
        if (type.field() == 1) {
          text = tensor(type.message());
        } else {
          type.skip();
        }
      }
      return text;
    }

    private static String tensor(ProtoReader tensor) {
      String element = "";
      List<String> shape = new ArrayList<>();
      while (tensor.next()) {
        switch (tensor.field()) {
          case 1 -> {
            long code = tensor.varint();
            element = code > 0 && code < TYPES.size() ? TYPES.get((int) code) : "type " + code;
          }
          case 2 -> {
            ProtoReader dimensions = tensor.message();
            while (dimensions.next()) {
              if (dimensions.field() == 1) {
                shape.add(dimension(dimensions.message()));
              } else {
                dimensions.skip();
              }
            }
          }
          default -> tensor.skip();
        }
      }
      return element + " " + shape.stream().collect(Collectors.joining(", ", "[", "]"));
    }

    private static String dimension(ProtoReader dimension) {
      String text = "?";
      while (dimension.next()) {
        switch (dimension.field()) {
          case 1 -> text = Long.toString(dimension.varint());
          case 2 -> text = dimension.text();
          default -> dimension.skip();
        }
      }
      return text;
    }
  }
}
