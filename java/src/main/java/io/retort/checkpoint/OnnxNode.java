package io.retort.checkpoint;

import java.util.ArrayList;
import java.util.List;

/// One operator of an ONNX graph with its attributes.
///
/// @param type operator of the default domain, `Conv`
/// @param inputs names of values, empty for an optional input that is left out
record OnnxNode(
    String type,
    String name,
    List<String> inputs,
    List<String> outputs,
    List<Attribute> attributes) {

  OnnxNode {
    inputs = List.copyOf(inputs);
    outputs = List.copyOf(outputs);
    attributes = List.copyOf(attributes);
  }

  /// A number or a text that is fixed when the graph is made.
  sealed interface Attribute {

    String name();

    record Whole(String name, long value) implements Attribute {}

    record Real(String name, float value) implements Attribute {}

    record Text(String name, String value) implements Attribute {}

    record Wholes(String name, List<Long> values) implements Attribute {
      public Wholes {
        values = List.copyOf(values);
      }
    }
  }

  static Attribute whole(String name, long value) {
    return new Attribute.Whole(name, value);
  }

  static Attribute real(String name, double value) {
    return new Attribute.Real(name, (float) value);
  }

  static Attribute text(String name, String value) {
    return new Attribute.Text(name, value);
  }

  static Attribute wholes(String name, List<Long> values) {
    return new Attribute.Wholes(name, values);
  }

  static Attribute wholes(String name, long first, long... others) {
    var values = new ArrayList<Long>(List.of(first));
    for (long other : others) {
      values.add(other);
    }
    return new Attribute.Wholes(name, values);
  }
}
