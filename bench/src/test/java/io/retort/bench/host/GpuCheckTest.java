package io.retort.bench.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.data.Json;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// `gpu-check` on the emulator, over links to what a bundle would unpack, and what `bundle`
/// refuses.
@Timeout(300)
final class GpuCheckTest {
  private static final Path HOME = Path.of("..").toAbsolutePath().normalize();
  private static final Path HOST = HOME.resolve("bench/host");

  @TempDir private Path folder;

  /// An exit status and what was printed.
  private record Ended(int status, String text) {}

  @BeforeEach
  void unpack() throws IOException {
    Path bundle = Files.createDirectory(folder.resolve("bundle"));
    Files.copy(HOST.resolve("gpu-check"), bundle.resolve("gpu-check"));
    Files.writeString(
        bundle.resolve("bundle.properties"),
        """
        commit=0123456
        java=25
        kernels=emulator
        sha256.runtime.tar.xz=1
        sha256.retort.tar.xz=2
        """);
    Path unpacked = Files.createDirectory(folder.resolve("unpacked"));
    Files.writeString(unpacked.resolve(".runtime.tar.xz"), "1\n");
    Files.writeString(unpacked.resolve(".retort.tar.xz"), "2\n");
    Files.createSymbolicLink(unpacked.resolve("jre"), Path.of(System.getProperty("java.home")));
    for (String module : List.of("bindings", "java", "bench")) {
      Files.createSymbolicLink(
          unpacked.resolve(module + "-classes"), HOME.resolve(module).resolve("target/classes"));
    }
    Path libraries = Files.createDirectory(unpacked.resolve("lib"));
    for (String path : System.getProperty("java.class.path").split(":")) {
      if (path.endsWith(".jar")) {
        Path jar = Path.of(path);
        Files.createSymbolicLink(libraries.resolve(jar.getFileName()), jar);
      }
    }
  }

  private Ended check(String... arguments) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(folder.resolve("bundle/gpu-check").toString()));
    command.addAll(List.of(arguments));
    return ended(command);
  }

  private Ended onTheEmulator(String... arguments) throws IOException, InterruptedException {
    List<String> all =
        new ArrayList<>(
            List.of(
                "--out",
                folder.resolve("out").toString(),
                "--unpacked",
                folder.resolve("unpacked").toString(),
                "--cuda-library",
                "emulator"));
    all.addAll(List.of(arguments));
    return check(all.toArray(String[]::new));
  }

  private static Ended ended(List<String> command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new Ended(process.waitFor(), text);
  }

  @Test
  void everyStepWritesWhatItFound() throws IOException, InterruptedException {
    Ended run = onTheEmulator("--only", "doctor,parity,ops,torch", "--ops", "silu");
    assertThat(run.text()).contains("doctor             ok", "Retort 0123456");
    assertThat(run.text()).contains("no op has that in its name").contains("RED");
    assertThat(run.status()).as("there is no op silu, so parity is not proven").isEqualTo(1);

    Ended second = onTheEmulator("--quick", "--only", "parity,ops", "--ops", "add");
    assertThat(second.text()).contains("parity-panama      ok", "parity-jcuda       ok");
    assertThat(second.text()).containsPattern("[0-9]+ of [0-9]+ cases");
    assertThat(second.status()).as(second.text()).isZero();
    Map<String, ?> results = Json.parseObject(Files.readString(folder.resolve("out/results.json")));
    assertThat(results.get("emulated")).isEqualTo(true);
    assertThat(results.get("parity")).isEqualTo("green");
    assertThat((List<?>) results.get("steps")).hasSize(3);
    assertThat(folder.resolve("out/ops.csv")).content().contains("emulated, not a timing");
    assertThat(folder.resolve("out/details.tar.gz")).isNotEmptyFile();
    try (var files = Files.list(folder.resolve("out"))) {
      assertThat(files.count()).isLessThanOrEqualTo(8);
    }
  }

  @Test
  void productsAreComparedWithCublas() throws IOException, InterruptedException {
    Ended run = onTheEmulator("--quick", "--only", "gemm");

    assertThat(run.text()).contains("gemm-parity        ok", "gemm               ok");
    assertThat(run.status()).as(run.text()).isZero();
    assertThat(folder.resolve("out/gemm.csv")).content().contains("products by cuBLASLt");
  }

  @Test
  void withoutADriverNothingIsGreen() throws IOException, InterruptedException {
    Path none = folder.resolve("libcuda.so.1");
    Ended run =
        check(
            "--out",
            folder.resolve("out").toString(),
            "--unpacked",
            folder.resolve("unpacked").toString(),
            "--only",
            "doctor",
            "--cuda-library",
            none.toString());

    assertThat(run.text()).contains("doctor             failed", "there is no such file");
    assertThat(run.status()).isEqualTo(1);
  }

  @Test
  void wrongCallsAreRefused() throws IOException, InterruptedException {
    assertThat(check("--only", "telepathy"))
        .satisfies(run -> assertThat(run.text()).contains("no step 'telepathy'"))
        .satisfies(run -> assertThat(run.status()).isEqualTo(2));
    assertThat(check("--out").status()).isEqualTo(2);
    assertThat(check("--help").text()).contains("--cuda-library").contains("Exit status");
    Path properties = folder.resolve("bundle/bundle.properties");
    Files.writeString(properties, Files.readString(properties) + "data=no\n");
    Ended lean = check("--only", "doctor");
    assertThat(lean.text()).contains("--data must name");
    assertThat(lean.status()).isEqualTo(2);
    String bundle = HOST.resolve("bundle").toString();
    assertThat(ended(List.of(bundle, "--validate")).status()).isEqualTo(2);
    Ended full = ended(List.of(bundle, "--validate", "--out", folder.toString()));
    assertThat(full.text()).contains("is not empty and no bundle");
    assertThat(full.status()).isEqualTo(1);
    Ended again =
        ended(List.of(bundle, "--validate", "--out", folder.resolve("bundle").toString()));
    assertThat(again.status()).as(again.text()).isZero();
  }
}
