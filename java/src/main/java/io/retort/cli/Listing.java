package io.retort.cli;

import io.retort.checkpoint.ArrayEntry;
import io.retort.checkpoint.OnnxListing;
import io.retort.checkpoint.TensorEntry;
import io.retort.checkpoint.TensorFile;
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

/// What `inspect` shows of one file: text for people, members for machines.
record Listing(String text, SequencedMap<String, Object> json) {

  /// Named arrays of numbers.
  private record Row(String name, String type, long[] shape, long elements, long bytes) {}

  static Listing of(TensorFile file) {
    return tensors(file.entries().stream().map(Listing::row).toList(), file.metadata());
  }

  private static Row row(TensorEntry entry) {
    return new Row(
        entry.name(), entry.type().name(), entry.shape(), entry.elements(), entry.bytes());
  }

  static Listing of(List<ArrayEntry> arrays) {
    return tensors(
        arrays.stream()
            .map(a ->
                new Row(
                    a.name().isEmpty() ? "array" : a.name(),
                    a.type(),
                    a.shape(),
                    a.elements(),
                    a.bytes()))
            .toList(),
        Map.of());
  }

  private static Listing tensors(List<Row> rows, Map<String, String> metadata) {
    long elements = rows.stream().mapToLong(Row::elements).sum();
    long bytes = rows.stream().mapToLong(Row::bytes).sum();
    var json = new LinkedHashMap<String, Object>();
    json.put("metadata", metadata);
    json.put("tensors", rows.stream().map(Listing::json).toList());
    json.put("elements", elements);
    json.put("bytes", bytes);
    var table = new TextTable("tensor", "dtype", ">shape", ">bytes");
    rows.forEach(r -> table.row(r.name, r.type, ImageArrays.text(r.shape), r.bytes));
    var text = new StringBuilder(table.text());
    if (!metadata.isEmpty()) {
      text.append('\n').append(pairs("metadata", metadata));
    }
    text.append(
        "%n%d tensors, %,d elements, %s%n"
            .formatted(rows.size(), elements, TextTable.bytes(bytes)));
    return new Listing(text.toString(), json);
  }

  private static Map<String, Object> json(Row row) {
    var json = new LinkedHashMap<String, Object>();
    json.put("name", row.name);
    json.put("dtype", row.type);
    json.put("shape", row.shape);
    json.put("bytes", row.bytes);
    return json;
  }

  private static String pairs(String heading, Map<String, ?> values) {
    var table = new TextTable(heading, "value");
    values.forEach(table::row);
    return table.text();
  }

  /// Names and values alone.
  private static Listing facts(String heading, SequencedMap<String, Object> facts) {
    return new Listing(pairs(heading, facts), facts);
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
    return new Listing(pairs("IDX", text), facts);
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
    return new Listing(table.text() + end, json);
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
