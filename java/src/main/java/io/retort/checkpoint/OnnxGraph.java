package io.retort.checkpoint;

import io.retort.checkpoint.OnnxConstant.Type;
import io.retort.checkpoint.OnnxNode.Attribute;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/// An ONNX graph while it grows: every method that makes a value returns its name.
///
/// Small constants are stored once. Nodes are named after the part of the network they belong to,
/// which is what viewers show.
final class OnnxGraph {

  /// An input or output: axes of the batch are named, the others numbers.
  record Port(String name, Type type, List<Object> dims, String about) {
    Port {
      dims = List.copyOf(dims);
    }
  }

  private final int opset;
  private final List<OnnxNode> nodes = new ArrayList<>();
  private final SequencedMap<String, OnnxConstant> constants = new LinkedHashMap<>();
  private final Map<String, String> shared = new HashMap<>();
  private final List<Port> inputs = new ArrayList<>();
  private final List<Port> outputs = new ArrayList<>();
  private final Set<String> names = new HashSet<>();
  private final Map<String, Integer> counts = new HashMap<>();
  private String part = "";

  OnnxGraph(int opset) {
    this.opset = opset;
  }

  int opset() {
    return opset;
  }

  List<OnnxNode> nodes() {
    return Collections.unmodifiableList(nodes);
  }

  List<OnnxConstant> constants() {
    return List.copyOf(constants.values());
  }

  List<Port> inputs() {
    return Collections.unmodifiableList(inputs);
  }

  List<Port> outputs() {
    return Collections.unmodifiableList(outputs);
  }

  /// Declares an input and returns its name.
  String input(Port port) {
    inputs.add(port);
    names.add(port.name());
    return port.name();
  }

  /// Declares an output, which a node made by [#last] computes.
  void output(Port port) {
    outputs.add(port);
  }

  /// What the nodes to come belong to.
  void enter(String path) {
    part = path;
  }

  /// A node with one output.
  String node(String type, List<String> from, Attribute... attributes) {
    String name = fresh(part.isEmpty() ? type : part + "/" + type);
    nodes.add(new OnnxNode(type, name, from, List.of(name), Arrays.asList(attributes)));
    return name;
  }

  /// A node whose output is an output of the graph.
  void last(String output, String type, List<String> from, Attribute... attributes) {
    names.add(output);
    nodes.add(new OnnxNode(type, fresh(type), from, List.of(output), Arrays.asList(attributes)));
  }

  /// `x` cut along an axis into parts of these lengths.
  List<String> split(String x, int axis, long... lengths) {
    String name = fresh(part.isEmpty() ? "Split" : part + "/Split");
    List<String> parts =
        IntStream.range(0, lengths.length).mapToObj(i -> fresh(name + ":" + i)).toList();
    nodes.add(
        new OnnxNode(
            "Split",
            name,
            List.of(x, longs(lengths)),
            parts,
            List.of(OnnxNode.whole("axis", axis))));
    return parts;
  }

  /// `x` under another shape; 0 keeps an extent, -1 follows from the others.
  String reshape(String x, List<Long> dims) {
    return node("Reshape", List.of(x, longs(dims.stream().mapToLong(Long::longValue).toArray())));
  }

  String transpose(String x, List<Long> axes) {
    return node("Transpose", List.of(x), OnnxNode.wholes("perm", axes));
  }

  String cast(String x, Type type) {
    return node("Cast", List.of(x), OnnxNode.whole("to", type.code()));
  }

  /// `x * factor`, x itself where the factor is 1.
  String times(String x, double factor) {
    return factor == 1 ? x : node("Mul", List.of(x, number(factor)));
  }

  /// `x + shift`, x itself where the shift is 0.
  String plus(String x, double shift) {
    return shift == 0 ? x : node("Add", List.of(x, number(shift)));
  }

  /// A float32 scalar.
  String number(double value) {
    float rounded = (float) value;
    return shared.computeIfAbsent(
        "f" + rounded,
        _ -> add(OnnxConstant.floats(fresh("number"), List.of(), () -> new float[] {rounded})));
  }

  /// A float64 scalar.
  String exact(double value) {
    return shared.computeIfAbsent(
        "d" + value,
        _ -> add(OnnxConstant.doubles(fresh("exact"), List.of(), new double[] {value})));
  }

  /// An int64 scalar.
  String index(long value) {
    return shared.computeIfAbsent(
        "i" + value, _ -> add(OnnxConstant.longs(fresh("index"), List.of(), new long[] {value})));
  }

  /// A list of integers: shapes, axes, starts.
  String longs(long... values) {
    return shared.computeIfAbsent(
        "l" + LongStream.of(values).boxed().toList(),
        _ -> add(OnnxConstant.longs(fresh("list"), List.of((long) values.length), values)));
  }

  /// A float32 tensor all of whose values are computed here, shared under `key`.
  String table(String key, List<Long> dims, Supplier<float[]> values) {
    return shared.computeIfAbsent(
        "t" + key + dims, _ -> add(OnnxConstant.floats(fresh(key), dims, values)));
  }

  /// A row of float64 numbers `(1, K)`.
  String row(double... values) {
    return add(OnnxConstant.doubles(fresh("row"), List.of(1L, (long) values.length), values));
  }

  /// A weight, under this name or the next free one.
  String weight(String name, List<Long> dims, Supplier<float[]> values) {
    return add(OnnxConstant.floats(fresh(name), dims, values));
  }

  /// Integers under a name of their own.
  String indices(String name, List<Long> dims, long[] values) {
    return add(OnnxConstant.longs(fresh(name), dims, values));
  }

  private String add(OnnxConstant constant) {
    constants.put(constant.name(), constant);
    return constant.name();
  }

  private String fresh(String wanted) {
    String name = wanted;
    while (!names.add(name)) {
      name = wanted + "_" + counts.merge(wanted, 1, Integer::sum);
    }
    return name;
  }
}
