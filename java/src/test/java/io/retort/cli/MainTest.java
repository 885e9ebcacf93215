package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.data.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/// What a call answers before anything is computed: help, and refusals of wrong calls.
class MainTest {

  static Stream<String> commands() {
    return Commands.ALL.stream().map(Commands.Entry::name);
  }

  @Test
  void withoutArgumentsItTeaches() {
    Call overview = Call.of().succeeded();
    assertThat(overview.out()).contains("retort distill\n", "retort sample ");
    assertThat(overview.out().lines()).allMatch(line -> line.length() <= 100);
    assertThat(Call.of("--help").out()).isEqualTo(overview.out());
    commands().forEach(name -> assertThat(overview.out()).contains("\n  " + name + " "));
  }

  @ParameterizedTest
  @MethodSource("commands")
  void everyCommandHelpsAndTakesTheCommonOptions(String command) {
    Call help = Call.of(command, "--help").succeeded();
    assertThat(help.out()).contains("retort " + command, "--json", "--debug");
    assertThat(help.err()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      textBlock =
          """
          distil                                      | no command 'distil'
          sample                                      | Missing required
          sample m                                    | --out=FILE
          sample m --out x.jpg                        | must end in .png or .npy
          sample m --out x.png --count 0              | --count must be at least 1, got 0
          sample m --out x.png --count many           | 'many' is not an int
          sample m --out x.png --steps 0              | --steps must be at least 1, got 0
          sample m --out x.png --steps 2000000000     | --steps must be at most 10000
          sample m --out x.png --count 2000000000     | --count for a .png must be at most 10000
          sample m --out x.png --seed -1              | --seed must be at least 0, got -1
          sample m --out x.png --sed 1                | did you mean
          sample m --out x.png --device gpu           | must be cpu, cuda or auto, got 'gpu'
          sample m --out x.png --cuda-library x       | goes with --device cuda
          ops --device cuda --cuda-binding jni        | must be panama or jcuda, got 'jni'
          ops --device cuda --cuda-graphs yes         | must be on or off, got 'yes'
          ops --device cuda --cuda-gemm fast          | must be auto, own or cublas, got 'fast'
          sample m --out x.png --cuda-gemm cublas     | goes with --device cuda
          sample m extra --out x.png                  | extra
          denoise m --x a.npy --out d.npy             | --sigma
          export m                                    | --out=FILE
          export m --out x.onnx --opset 9             | --opset must be from 17 to 21, got 9
          eval m                                      | --data
          eval m --data d --metrics fid,unknown       | 'unknown' is unknown; known are frechet
          data                                        | Missing required
          data drop                                   | must be list, fetch or show, got 'drop'
          data show fashion-mnist-embedded            | needs --out
          data fetch                                  | needs a data set's NAME
          train recipe                                | --out=DIR
          distill --steps 0                           | --steps must be at least 1, got 0
          distill --seed -1                           | --seed must be at least 0, got -1
          distill --set                               | --set
          ops --filter no_such_op                     | no op has that in its name
          inspect                                     | Missing required
          """)
  void wrongCallsExitWith2(String call, String words) {
    Call.of((Object[]) call.split(" ")).refused(ExitStatus.USAGE, words);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          sample no/such/model --out x.png            | no/such/model: does not exist
          sample m --out no/such/folder/x.png         | its folder does not exist
          ops --check --device cuda --cuda-library x  | CUDA library x: there is no such file
          inspect no-such-file.safetensors            | no such file
          inspect no-such-file.npy                    | no such file
          data show cifar --out x.png                 | is not a known data set
          data fetch fashion-mnist-embedded           | need not be fetched
          eval m --data no-such-set                   | is not a known data set
          train no-such-recipe --out runs/x           | no-such-recipe
          resume no-such-run                          | holds no run
          """)
  void failuresExitWith1(String call, String words) {
    Call.of((Object[]) call.split(" ")).refused(ExitStatus.FAILURE, words);
  }

  @Test
  void debugShowsTheStackTraceAndKeepsTheSentence() {
    Call failed = Call.of("--debug", "sample", "no-model", "--out", "x.png");
    assertThat(failed.status()).isEqualTo(ExitStatus.FAILURE);
    assertThat(failed.err()).contains("\tat io.retort").endsWith("no-model: does not exist\n");
  }

  @Test
  void commonOptionsMayComeFirst() {
    assertThat(Json.parse(Call.of("--json", "methods").succeeded().out()))
        .isEqualTo(Json.parse(Call.of("methods", "--json").out()));
  }

  @Test
  void anArgumentIsNeverReadAsAFile() {
    Call.of("inspect", "@pom.xml").refused(ExitStatus.FAILURE, "@pom.xml");
  }

  @Test
  void theVersionIsThePoms() throws IOException {
    assertThat(Files.readString(Path.of("pom.xml")))
        .contains("<version>%s</version>".formatted(Main.VERSION));
    assertThat(Call.of("--version").succeeded().out()).isEqualTo("retort " + Main.VERSION + "\n");
  }

  @Test
  void machinesCanReadWhatNeedsNoModel() {
    for (List<String> call :
        List.of(List.of("doctor"), List.of("data", "list"), List.of("methods"), List.of("ops"))) {
      var arguments = Stream.concat(call.stream(), Stream.of("--json")).toArray();
      assertThat(Json.parse(Call.of(arguments).succeeded().out())).isNotNull();
    }
  }
}
