package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.SafetensorsWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class InspectCommandTest {
  @TempDir private Path folder;

  static Stream<Path> crafted() throws IOException {
    try (Stream<Path> files = Files.list(Call.resource("/golden/safetensors_cases"))) {
      return files.filter(file -> file.toString().endsWith(".safetensors")).toList().stream();
    }
  }

  @ParameterizedTest
  @MethodSource("crafted")
  void craftedFilesAreListedOrRefusedInOneSentence(Path file) {
    Call call = Call.of("inspect", file);
    if (call.status() == ExitStatus.SUCCESS) {
      assertThat(call.out()).contains(" tensors, ");
    } else {
      call.refused(ExitStatus.FAILURE, file.getFileName().toString());
    }
  }

  @Test
  void tensorsAndMetadataAreListed() {
    Path file = folder.resolve("m.safetensors");
    new SafetensorsWriter()
        .metadata("note", "hello")
        .floats("layer.weight", new long[] {2, 3}, () -> new float[6])
        .longs("step", new long[] {}, () -> new long[] {7})
        .write(file);
    Map<?, ?> json = Call.of("inspect", file, "--json").json();
    assertThat(json.get("metadata")).isEqualTo(Map.of("note", "hello"));
    assertThat(json.get("bytes")).isEqualTo(32L);
    assertThat((List<?>) json.get("tensors")).hasSize(2);
    assertThat(json.get("tensors").toString())
        .contains("{name=layer.weight, dtype=F32, shape=[2, 3], bytes=24}");
    assertThat(Call.of("inspect", file).out())
        .contains("layer.weight  F32    (2, 3)", "note", "hello", "2 tensors, 7 elements, 32 B");
  }

  @Test
  void namesCannotReachTheTerminal() {
    Path file = folder.resolve("m.safetensors");
    new SafetensorsWriter()
        .metadata("\033[2J", "a\nb\u202e")
        .floats("x\033]0;t\007", new long[] {1}, () -> new float[1])
        .write(file);
    assertThat(Call.of("inspect", file).succeeded().out())
        .doesNotContain("\033", "\007", "\u202e")
        .contains("x?]0;t?");
  }

  @Test
  void arraysAreListed() {
    Path file = folder.resolve("a.npy");
    NpyFile.write(file, new double[6], 2, 3);
    assertThat(Call.of("inspect", file).succeeded().out()).contains("f8", "(2, 3)", "48");
  }
}
