package io.retort.cli;

import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.TensorEntry;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// `retort inspect`: what a tensor file holds, without trusting it or loading its data.
@Command(
    description =
        "Lists the tensors and metadata of a .safetensors file, or the array of a .npy file.",
    footer =
        "%nNothing in the file is trusted: a damaged or hostile one is refused in one sentence.")
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class InspectCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(paramLabel = "FILE", description = "A .safetensors or .npy file.")
  private Path file;

  @Mixin private CommonOptions common;

  InspectCommand(Console console) {
    this.console = console;
  }

  /// One tensor as it is listed.
  private record Listed(String name, String type, long[] shape, long elements, long bytes) {
    static Listed of(TensorEntry entry) {
      return new Listed(
          entry.name(), entry.type().name(), entry.shape(), entry.elements(), entry.bytes());
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

  @Override
  public Integer call() {
    if (file.toString().endsWith(".npy")) {
      show(List.of(array()), Map.of());
    } else {
      try (SafetensorsReader reader = SafetensorsReader.open(file)) {
        show(reader.entries().stream().map(Listed::of).toList(), reader.metadata());
      }
    }
    return ExitStatus.SUCCESS;
  }

  private Listed array() {
    NpyFile array = NpyFile.read(file);
    long elements = 1;
    for (long dimension : array.shape()) {
      elements *= dimension;
    }
    long itemBytes = Long.parseLong(array.typeName().substring(1));
    return new Listed("array", array.typeName(), array.shape(), elements, elements * itemBytes);
  }

  private void show(List<Listed> tensors, Map<String, String> metadata) {
    long elements = tensors.stream().mapToLong(Listed::elements).sum();
    long bytes = tensors.stream().mapToLong(Listed::bytes).sum();
    if (common.json()) {
      var json = new LinkedHashMap<String, Object>();
      json.put("file", file.toString());
      json.put("metadata", metadata);
      json.put("tensors", new ArrayList<>(tensors.stream().map(Listed::json).toList()));
      json.put("elements", elements);
      json.put("bytes", bytes);
      console.json(json);
      return;
    }
    var table = new TextTable("tensor", "dtype", ">shape", ">bytes");
    tensors.forEach(t -> table.row(t.name(), t.type(), ImageArrays.text(t.shape()), t.bytes()));
    var text = new StringBuilder(table.text());
    if (!metadata.isEmpty()) {
      var pairs = new TextTable("metadata", "value");
      metadata.forEach(pairs::row);
      text.append('\n').append(pairs.text());
    }
    text.append(
        "%n%d tensors, %,d elements, %s%n"
            .formatted(tensors.size(), elements, TextTable.bytes(bytes)));
    console.print(text.toString());
  }
}
