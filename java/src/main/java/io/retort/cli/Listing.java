package io.retort.cli;

import io.retort.checkpoint.ArrayEntry;
import io.retort.checkpoint.OnnxListing;
import io.retort.checkpoint.TensorEntry;
import io.retort.checkpoint.TensorFile;
import io.retort.cli.Console.Printed;
import io.retort.data.DataCard;
import io.retort.data.Dataset;
import io.retort.data.PictureHeader;
import io.retort.report.EventsReader.Events;
import io.retort.report.EventsReader.Kind;
import io.retort.report.EventsReader.Value;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;

/// What `inspect` shows of one file: text for people, members for machines.
///
/// A listing is made while it is printed and never held as a whole, so that it takes no memory of
/// its own for a file of a million tensors; it lasts as long as the file is open.
record Listing(Printed text, SequencedMap<String, Object> json) {

  /// A named array of numbers.
  private record Row(String name, String type, long[] shape, long elements, long bytes) {
    static Row of(TensorEntry tensor) {
      return new Row(
          tensor.name(), tensor.type().name(), tensor.shape(), tensor.elements(), tensor.bytes());
    }

    static Row of(ArrayEntry array) {
      String name = array.name().isEmpty() ? "array" : array.name();
      return new Row(name, array.type(), array.shape(), array.elements(), array.bytes());
    }

    List<Object> cells() {
      return List.of(name, type, ImageArrays.text(shape), bytes);
    }

    Map<String, Object> json() {
      var json = new LinkedHashMap<String, Object>();
      json.put("name", name);
      json.put("dtype", type);
      json.put("shape", shape);
      json.put("bytes", bytes);
      return json;
    }
  }

  static Listing of(TensorFile file) {
    return tensors(() -> file.entries().stream().map(Row::of), file.metadata());
  }

  static Listing of(List<ArrayEntry> arrays) {
    return tensors(() -> arrays.stream().map(Row::of), Map.of());
  }

  private static Listing tensors(Supplier<Stream<Row>> rows, Map<String, String> metadata) {
    long elements = rows.get().mapToLong(Row::elements).sum();
    long bytes = rows.get().mapToLong(Row::bytes).sum();
    var json = new LinkedHashMap<String, Object>();
    json.put("metadata", metadata);
    json.put("tensors", each(rows, Row::json));
    json.put("elements", elements);
    json.put("bytes", bytes);
    String end =
        "%n%d tensors, %,d elements, %s%n"
            .formatted(rows.get().count(), elements, TextTable.bytes(bytes));
    return new Listing(
        out -> {
          new TextTable("tensor", "dtype", ">shape", ">bytes")
              .rows(each(rows, Row::cells))
              .print(out);
          if (!metadata.isEmpty()) {
            out.append('\n');
            pairs("metadata", metadata).print(out);
          }
          out.append(end);
        },
        json);
  }

  /// A form of every row, made when it is asked for.
  private static <T> Iterable<T> each(Supplier<Stream<Row>> rows, Function<Row, T> form) {
    return () -> rows.get().map(form).iterator();
  }

  private static TextTable pairs(String heading, Map<String, ?> values) {
    return new TextTable(heading, "value")
        .rows(() ->
            values.entrySet().stream()
                .map(pair -> List.<Object>of(pair.getKey(), pair.getValue()))
                .iterator());
  }

  /// Names and values alone.
  private static Listing facts(String heading, SequencedMap<String, Object> facts) {
    return new Listing(pairs(heading, facts)::print, facts);
  }

  static Listing of(Dataset set) {
    DataCard card = set.card();
    var facts = new LinkedHashMap<String, Object>();
    facts.put("images", "%dx%dx%d".formatted(card.height(), card.width(), card.channels()));
    facts.put("contents", card.source());
    facts.put("classes", card.classes().size());
    facts.put("names", String.join(", ", card.classes().stream().limit(20).toList()));
    facts.put("mirrored", card.flipAllowed());
    return facts("data set", facts);
  }

  static Listing idx(int[] sizes) {
    var facts = new LinkedHashMap<String, Object>();
    facts.put("type", "u8");
    facts.put("sizes", sizes);
    var text = new LinkedHashMap<String, Object>();
    text.put("type", "u8");
    text.put("sizes", ImageArrays.text(Arrays.stream(sizes).asLongStream().toArray()));
    return new Listing(pairs("IDX", text)::print, facts);
  }

  static Listing of(PictureHeader picture) {
    var facts = new LinkedHashMap<String, Object>();
    facts.put("format", picture.kind().name());
    facts.put("height", picture.height());
    facts.put("width", picture.width());
    facts.put("channels", picture.channels());
    return facts("picture", facts);
  }

  /// One row a tag.
  static Listing of(Events events) {
    Map<String, List<Value>> tags = new LinkedHashMap<>();
    for (Value value : events.values()) {
      tags.computeIfAbsent(value.tag(), tag -> new ArrayList<>()).add(value);
    }
    var table = new TextTable("tag", "kind", ">values", ">first step", ">last step", ">last value");
    var rows = new ArrayList<Map<String, Object>>();
    tags.forEach((tag, values) -> {
      Value last = values.getLast();
      String kind = last.kind().name().toLowerCase(Locale.ROOT);
      Object shown = last.kind() == Kind.SCALAR ? last.scalar() : "";
      table.row(tag, kind, values.size(), values.getFirst().step(), last.step(), shown);
      var row = new LinkedHashMap<String, Object>();
      row.put("tag", tag);
      row.put("kind", kind);
      row.put("values", values.size());
      row.put("first_step", values.getFirst().step());
      row.put("last_step", last.step());
      if (last.kind() == Kind.SCALAR) {
        row.put("last_value", last.scalar());
      }
      rows.add(row);
    });
    var json = new LinkedHashMap<String, Object>();
    json.put("version", events.version());
    json.put("torn", events.torn());
    json.put("tags", rows);
    String end =
        "%n%d tags, %,d values%s%n"
            .formatted(
                tags.size(),
                events.values().size(),
                events.torn() ? "; the last record is torn" : "");
    return new Listing(
        out -> {
          table.print(out);
          out.append(end);
        },
        json);
  }

  static Listing of(OnnxListing model) {
    var facts = new LinkedHashMap<String, Object>();
    facts.put("ir_version", model.irVersion());
    facts.put("opset", model.opset());
    facts.put("producer", model.producer());
    facts.put("inputs", model.inputs());
    facts.put("outputs", model.outputs());
    facts.put("weights", model.weights());
    facts.put("weight_bytes", model.weightBytes());
    facts.put("nodes", model.nodes());
    facts.put("metadata", model.metadata());
    return facts("ONNX", facts);
  }
}
