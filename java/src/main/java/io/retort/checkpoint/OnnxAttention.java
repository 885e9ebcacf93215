package io.retort.checkpoint;

import static io.retort.checkpoint.OnnxNode.whole;

import io.retort.checkpoint.OnnxLowering.Layout;
import io.retort.checkpoint.OnnxTrace.Value;
import java.util.ArrayList;
import java.util.List;

/// Attention as matrix products, in the layout its input is in: `softmax(q k^T / sqrt(d)) v` with
/// heads as an axis of their own.
///
/// Channels first, a head's channels are rows and tokens are columns, so k needs no transpose;
/// channels last it is the other way around. The scale is put on q, the smallest of its places.
final class OnnxAttention {
  private final OnnxGraph graph;
  private final OnnxLowering values;

  OnnxAttention(OnnxGraph graph, OnnxLowering values) {
    this.graph = graph;
    this.values = values;
  }

  /// q, k and v are three blocks of channels of one value.
  void self(int heads, Value packed, Value out) {
    Layout layout = values.preferred(packed);
    long width = out.shape().last() / heads;
    String x = values.in(packed, layout);
    if (layout == Layout.FIRST) {
      List<String> parts =
          graph.split(
              graph.reshape(x, List.of(0L, 3L * heads, width, -1L)), 1, heads, heads, heads);
      mixFirst(parts, width, out);
      return;
    }
    List<String> parts =
        graph.split(
            graph.transpose(
                graph.reshape(tokens(packed, x), List.of(0L, 0L, 3L * heads, width)),
                List.of(0L, 2L, 1L, 3L)),
            1,
            heads,
            heads,
            heads);
    mixLast(parts, width, out);
  }

  /// q, k and v are values of their own.
  void cross(int heads, List<Value> in, Value out) {
    long width = out.shape().last() / heads;
    Layout layout = values.preferred(in.toArray(Value[]::new));
    if (layout == Layout.FIRST) {
      mixFirst(
          in.stream()
              .map(value ->
                  graph.reshape(values.in(value, layout), List.of(0L, (long) heads, width, -1L)))
              .toList(),
          width,
          out);
      return;
    }
    mixLast(
        in.stream()
            .map(value ->
                graph.transpose(
                    graph.reshape(
                        tokens(value, values.in(value, layout)),
                        List.of(0L, 0L, (long) heads, width)),
                    List.of(0L, 2L, 1L, 3L)))
            .toList(),
        width,
        out);
  }

  /// All axes between the first and the last as one.
  private String tokens(Value value, String x) {
    return value.rank() == 3 ? x : graph.reshape(x, List.of(0L, -1L, value.shape().last()));
  }

  /// Parts `(N, heads, width, tokens)`.
  private void mixFirst(List<String> parts, long width, Value out) {
    String q = graph.transpose(scaled(parts.get(0), width), List.of(0L, 1L, 3L, 2L));
    String v = graph.transpose(parts.get(2), List.of(0L, 1L, 3L, 2L));
    String mixed = mix(q, parts.get(1), v);
    values.put(
        out,
        Layout.FIRST,
        graph.reshape(graph.transpose(mixed, List.of(0L, 1L, 3L, 2L)), dims(out, Layout.FIRST)));
  }

  /// Parts `(N, heads, tokens, width)`.
  private void mixLast(List<String> parts, long width, Value out) {
    String k = graph.transpose(parts.get(1), List.of(0L, 1L, 3L, 2L));
    String mixed = mix(scaled(parts.get(0), width), k, parts.get(2));
    values.put(
        out,
        Layout.LAST,
        graph.reshape(graph.transpose(mixed, List.of(0L, 2L, 1L, 3L)), dims(out, Layout.LAST)));
  }

  private String mix(String q, String k, String v) {
    String weights =
        graph.node("Softmax", List.of(graph.node("MatMul", List.of(q, k))), whole("axis", -1));
    return graph.node("MatMul", List.of(weights, v));
  }

  private String scaled(String q, long width) {
    return graph.times(q, 1 / Math.sqrt(width));
  }

  private List<Long> dims(Value out, Layout layout) {
    List<Long> dims = new ArrayList<>(values.dims(out, layout));
    dims.set(0, 0L);
    return dims;
  }
}
