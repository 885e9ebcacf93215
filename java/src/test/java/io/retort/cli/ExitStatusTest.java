package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import io.retort.bindings.NativeLinkError;
import io.retort.recipe.RecipeException;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.NoSuchFileException;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// Every kind of failure becomes one sentence.
class ExitStatusTest {

  static Stream<Arguments> failures() {
    var noSpace = new IOException("No space left on device");
    return Stream.of(
        arguments(new UsageException("wrong"), 2, "wrong"),
        arguments(new RecipeException("a.yaml:3", "key", "why"), 1, "a.yaml:3: key: why"),
        arguments(new NativeLinkError("no library"), 1, "no library"),
        arguments(noSpace, 1, "no space left on device"),
        arguments(new UncheckedIOException(noSpace), 1, "no space left on device"),
        arguments(new UncheckedIOException("f: full", noSpace), 1, "f: full"),
        arguments(new NoSuchFileException("f"), 1, "f: no such file or directory"),
        arguments(
            new ExceptionInInitializerError(new NativeLinkError("no library")), 1, "no library"),
        arguments(thrownByShape(), 1, "shape: every extent must be >= 0, got (-1)"));
  }

  private static Throwable thrownByShape() {
    try {
      throw new AssertionError(Shape.of(-1));
    } catch (ShapeException expected) {
      return expected;
    }
  }

  @ParameterizedTest
  @MethodSource("failures")
  void knownFailuresSayWhatIsWrong(Throwable failure, int code, String sentence) {
    assertThat(ExitStatus.of(failure)).isEqualTo(new ExitStatus(code, sentence, ""));
  }

  @ParameterizedTest
  @MethodSource("surprises")
  void surprisesAreCalledInternalErrors(Throwable failure) {
    ExitStatus status = ExitStatus.of(failure);
    assertThat(status.code()).isEqualTo(ExitStatus.FAILURE);
    assertThat(status.sentence()).startsWith("internal error: ").contains("--debug");
    assertThat(status.sentence()).hasLineCount(1);
  }

  static Stream<Throwable> surprises() {
    return Stream.of(
        new IllegalStateException("two\nlines"), new NullPointerException(), notOurs());
  }

  private static Throwable notOurs() {
    try {
      throw new AssertionError(Integer.parseInt("x"));
    } catch (NumberFormatException expected) {
      return expected;
    }
  }

  @ParameterizedTest
  @MethodSource("memory")
  void exhaustionSaysWhatToDo(Error failure, String words) {
    assertThat(ExitStatus.of(failure).sentence()).contains(words);
  }

  static Stream<Arguments> memory() {
    return Stream.of(
        arguments(new OutOfMemoryError("Java heap space"), "RETORT_JVM_OPTS"),
        arguments(new StackOverflowError(), "nested too deeply"));
  }
}
