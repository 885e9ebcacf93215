package io.retort.bench.ops;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.data.Json;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// `bench ops` on the emulator, where its rows say that they are no timings.
final class OpBenchTest {
  @TempDir private Path folder;

  @Test
  void rowsOfTheEmulatorSayThatTheyAreNoTimings() throws IOException {
    Path csv = folder.resolve("ops.csv");
    Path json = folder.resolve("ops.json");
    for (String goal : List.of("silu 64", "G8")) {
      int status =
          OpBench.run(
              "--cuda-library",
              "emulator",
              "--filter",
              goal,
              "--csv",
              csv.toString(),
              "--json",
              json.toString());
      assertThat(status).isZero();
    }

    List<String> lines = Files.readAllLines(csv);
    assertThat(lines.getFirst()).startsWith("date,commit,").contains(",p80_us,");
    assertThat(lines.subList(1, lines.size()))
        .hasSize(6)
        .allSatisfy(line -> assertThat(line).endsWith("\"emulated, not a timing\""))
        .anySatisfy(line -> assertThat(line).contains(",backward,bf16,"));
    assertThat((List<?>) Json.parseObject(Files.readString(json)).get("refused")).isEmpty();
  }

  /// More than is read back to be compared, as on a device.
  @Test
  void adamOfManyParametersIsComparedInPart() {
    Backend cpu = CpuBackend.open();
    try (Scope scope = new Scope(cpu.memory())) {
      var adam = new AdamWorkload((1 << 20) + 3);

      List<float[]> compared = adam.trials(cpu, scope, DType.F32).getFirst().results().get();

      assertThat(compared).hasSize(4).allSatisfy(part -> assertThat(part).hasSize(1 << 20));
    }
  }

  @Test
  void aPeerIsToldWhatToDo() throws IOException {
    Path list = folder.resolve("list.json");

    assertThat(OpBench.run("--list", list.toString(), "--filter", "G4a")).isZero();

    List<?> workloads = (List<?>) Json.parse(Files.readString(list));
    assertThat(workloads).hasSize(4);
    Map<?, ?> conv = (Map<?, ?>) workloads.getFirst();
    assertThat(conv.get("op")).isEqualTo("conv2d");
    assertThat(conv.get("passes")).isEqualTo(List.of("data gradient", "weight gradient"));
    assertThat(((List<?>) conv.get("inputs")).getFirst())
        .isEqualTo(Map.of("shape", List.of(64L, 32L, 32L, 256L), "dtype", "F32"));
  }

  @Test
  void wrongCallsAreRefused() {
    assertThat(OpBench.run("--device", "abacus")).isEqualTo(1);
    assertThat(OpBench.run("--filter", "telepathy")).isEqualTo(1);
    assertThat(OpBench.run("--samples", "many")).isEqualTo(2);
  }

  @Test
  void whatIsNotTheSameIsNotTimed() {
    List<float[]> expected = List.of(new float[] {3, 4}, new float[] {0});
    List<float[]> close = List.of(new float[] {3.02f, 4}, new float[] {0});
    List<float[]> poisoned = List.of(new float[] {3, Float.NaN}, new float[] {0});

    assertThat(Agreement.broken(expected, expected, DType.F32)).isEmpty();
    assertThat(Agreement.broken(close, expected, DType.BF16)).isEmpty();
    assertThat(Agreement.broken(close, expected, DType.F32).orElseThrow())
        .contains("0.00400 away", "more than 0.000100");
    assertThat(Agreement.broken(poisoned, expected, DType.BF16)).isPresent();
  }
}
