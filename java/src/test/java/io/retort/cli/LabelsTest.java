package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.NpyFile;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LabelsTest {
  @TempDir private Path folder;

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          0,1,2 | 3 | 0 1 2
          2     | 4 | 2 2 2 2
          1, 0  | 3 | 1 0 1
          """)
  void listsAreRepeated(String text, int count, String expected) {
    assertThat(Labels.parse(text, 3, count)).containsExactly(numbers(expected));
  }

  @Test
  void byDefaultOneClassAfterTheOther() {
    assertThat(Labels.parse(null, 3, 5)).containsExactly(0, 1, 2, 0, 1);
    assertThat(Labels.parse(null, 0, 5)).isNull();
    assertThat(Labels.parse("none", 3, 5)).isNull();
  }

  @ParameterizedTest
  @ValueSource(strings = {"3", "-1", "", "0,", "one", "1.0", "99999999999", "0,1,2,0,1,2"})
  void otherListsAreWrongCalls(String text) {
    assertThatThrownBy(() -> Labels.parse(text, 3, 5)).isInstanceOf(UsageException.class);
  }

  @Test
  void anUnconditionalModelTakesNone() {
    assertThatThrownBy(() -> Labels.parse("0", 0, 5)).isInstanceOf(UsageException.class);
    assertThatThrownBy(() -> Labels.read(folder.resolve("l.npy"), 0, false, 5))
        .hasMessageContaining("unconditional");
  }

  @Test
  void filesHoldIntegersOrOneHotRows() {
    Path file = folder.resolve("l.npy");
    NpyFile.write(file, new long[] {2, 0}, 2);
    assertThat(Labels.read(file, 3, false, 2)).containsExactly(2, 0);
    NpyFile.write(file, new float[] {0, 0, 1, 0, 0, 0}, 2, 3);
    assertThat(Labels.read(file, 3, false, 2)).containsExactly(2, Labels.NONE);
  }

  @Test
  void otherFilesAreRefused() {
    Path file = folder.resolve("l.npy");
    NpyFile.write(file, new long[] {2, 3}, 2);
    refused(file, "must be in [0, 3), got 3");
    NpyFile.write(file, new long[] {2}, 1);
    refused(file, "must have shape (2) or (2, 3), got (1)");
    NpyFile.write(file, new float[] {0, 1}, 2);
    refused(file, "integer");
    NpyFile.write(file, new float[] {0, 1, 1, 0, 0, 0}, 2, 3);
    refused(file, "at most one 1");
    NpyFile.write(file, new float[] {0, 0.5f, 0, 0, 0, 0}, 2, 3);
    refused(file, "at most one 1");
  }

  private static void refused(Path file, String words) {
    assertThatThrownBy(() -> Labels.read(file, 3, false, 2))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(words);
  }

  private static int[] numbers(String text) {
    return Arrays.stream(text.split(" ")).mapToInt(Integer::parseInt).toArray();
  }
}
