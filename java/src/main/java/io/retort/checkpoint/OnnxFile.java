package io.retort.checkpoint;

import io.retort.checkpoint.OnnxNode.Attribute;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/// Writes an [OnnxGraph] as one `.onnx` file: weights go from the network's memory to the disk one
/// tensor at a time.
///
/// Field numbers are those of `onnx.proto` (ModelProto and what it holds), IR version 8 up to opset
/// 18 and 10 from 19 on.
final class OnnxFile {
  /// A protobuf message ends at 2 GB; beyond it weights would need files of their own.
  private static final long MOST_BYTES = Integer.MAX_VALUE;

  private static final int GRAPH = 7;
  private static final int INITIALIZER = 5;
  private static final int RAW_DATA = 9;

  private OnnxFile() {}

  /// Replaces `file`.
  ///
  /// @param about what the model is, for people
  /// @param metadata the model's own
  /// @return bytes written
  /// @throws CheckpointException if it is too large for the format or cannot be written
  static long write(Path file, OnnxGraph graph, String about, Map<String, String> metadata) {
    byte[] nodes = nodes(graph, about);
    List<byte[]> heads = new ArrayList<>();
    long body = nodes.length;
    for (OnnxConstant constant : graph.constants()) {
      byte[] head = head(constant);
      heads.add(head);
      body += head.length + constant.bytes();
    }
    byte[] model = model(graph, about, metadata, body);
    long total = model.length + body;
    if (total > MOST_BYTES) {
      throw new CheckpointException(
          file,
          "",
          "the model needs %.1f GB, an .onnx file holds at most 2.1; export it with --format safetensors"
              .formatted(total / 1e9));
    }
    try {
      AtomicFile.write(
          file,
          out -> {
            AtomicFile.writeFully(out, ByteBuffer.wrap(model));
            AtomicFile.writeFully(out, ByteBuffer.wrap(nodes));
            weights(out, graph.constants(), heads);
          });
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
    return total;
  }

  private static void weights(
      WritableByteChannel out, List<OnnxConstant> constants, List<byte[]> heads)
      throws IOException {
    for (int i = 0; i < heads.size(); i++) {
      AtomicFile.writeFully(out, ByteBuffer.wrap(heads.get(i)));
      constants.get(i).writeTo(out);
    }
  }

  /// All of the model but the graph, and the graph's head.
  private static byte[] model(
      OnnxGraph graph, String about, Map<String, String> metadata, long length) {
    ProtoWriter model =
        new ProtoWriter()
            .whole(1, graph.opset() <= 18 ? 8 : 10)
            .text(2, "retort")
            .text(6, about)
            .message(8, new ProtoWriter().text(1, "").whole(2, graph.opset()));
    metadata.forEach(
        (key, value) -> model.message(14, new ProtoWriter().text(1, key).text(2, value)));
    return model.open(GRAPH, length).bytes();
  }

  /// The graph but for its constants.
  private static byte[] nodes(OnnxGraph graph, String about) {
    ProtoWriter proto = new ProtoWriter();
    graph.nodes().forEach(node -> proto.message(1, node(node)));
    proto.text(2, "retort").text(10, about);
    graph.inputs().forEach(port -> proto.message(11, port(port)));
    graph.outputs().forEach(port -> proto.message(12, port(port)));
    return proto.bytes();
  }

  private static ProtoWriter node(OnnxNode node) {
    ProtoWriter proto = new ProtoWriter();
    node.inputs().forEach(name -> proto.text(1, name));
    node.outputs().forEach(name -> proto.text(2, name));
    proto.text(3, node.name()).text(4, node.type());
    node.attributes().forEach(attribute -> proto.message(5, attribute(attribute)));
    return proto;
  }

  private static ProtoWriter attribute(Attribute attribute) {
    ProtoWriter proto = new ProtoWriter().text(1, attribute.name());
    return switch (attribute) {
      case Attribute.Real(_, float value) -> proto.real(2, value).whole(20, 1);
      case Attribute.Whole(_, long value) -> proto.whole(3, value).whole(20, 2);
      case Attribute.Text(_, String value) -> proto.text(4, value).whole(20, 3);
      case Attribute.Wholes(_, List<Long> values) -> {
        values.forEach(value -> proto.whole(8, value));
        yield proto.whole(20, 7);
      }
    };
  }

  private static ProtoWriter port(OnnxGraph.Port port) {
    ProtoWriter shape = new ProtoWriter();
    for (Object dim : port.dims()) {
      shape.message(
          1,
          dim instanceof Long extent
              ? new ProtoWriter().whole(1, extent)
              : new ProtoWriter().text(2, dim.toString()));
    }
    ProtoWriter tensor = new ProtoWriter().whole(1, port.type().code()).message(2, shape);
    return new ProtoWriter()
        .text(1, port.name())
        .message(2, new ProtoWriter().message(1, tensor))
        .text(3, port.about());
  }

  /// A constant up to its values.
  private static byte[] head(OnnxConstant constant) {
    ProtoWriter tensor = new ProtoWriter();
    constant.dims().forEach(dim -> tensor.whole(1, dim));
    tensor
        .whole(2, constant.type().code())
        .text(8, constant.name())
        .open(RAW_DATA, constant.bytes());
    ProtoWriter head = new ProtoWriter().open(INITIALIZER, tensor.size() + constant.bytes());
    return join(head.bytes(), tensor.bytes());
  }

  private static byte[] join(byte[] first, byte[] second) {
    return ByteBuffer.allocate(first.length + second.length).put(first).put(second).array();
  }
}
