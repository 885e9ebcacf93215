package io.retort.bindings.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.bindings.NativeCallException;
import io.retort.bindings.NativeLinkError;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class NativeLibraryTest {
  @Test
  void theBestBuildThatFitsIsLoaded() {
    assertThat(NativeLibrary.isa()).isIn(NativeLibrary.cpu().isas());
    assertThat(NativeLibrary.file()).hasFileName("libretort_cpu.so");
  }

  @Test
  void aCallReachesTheLibrary() throws Throwable {
    var threads = NativeLibrary.bind("rt_threads", "p");
    try (var arena = Arena.ofConfined()) {
      var result = arena.allocate(ValueLayout.JAVA_INT);

      int status = (int) threads.invokeExact(result.address());

      NativeLibrary.check(status, "rt_threads");
      assertThat(result.get(ValueLayout.JAVA_INT, 0)).isEqualTo(NativeLibrary.defaultThreads());
    }
  }

  @Test
  void aFailedCallNamesCallStatusAndReason() throws Throwable {
    var setThreads = NativeLibrary.bind("rt_set_threads", "i");

    int status = (int) setThreads.invokeExact(0);

    assertThatExceptionOfType(NativeCallException.class)
        .isThrownBy(() -> NativeLibrary.check(status, "rt_set_threads"))
        .satisfies(failure -> {
          assertThat(failure.call()).isEqualTo("rt_set_threads");
          assertThat(failure.status()).isEqualTo(1);
          assertThat(failure.reason()).contains("must be at least 1, got 0");
        });
  }

  @Test
  void anotherSignatureIsAnErrorBeforeAnyCall() {
    assertThatThrownBy(() -> NativeLibrary.bind("rt_set_threads", "l"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessage("rt_set_threads: Java binds (l), the library has (i)");
  }

  @Test
  void anUnknownOperationIsNamed() {
    assertThatThrownBy(() -> NativeLibrary.bind("rt_no_such_operation", "p"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessageStartingWith("rt_no_such_operation: not in ");
  }

  /// Initialising a class of operations binds them all, so this compares every Java signature.
  @Test
  void everyClassOfOperationsBinds() throws IOException, ClassNotFoundException {
    var directory = Path.of("target", "classes", "io", "retort", "bindings", "cpu");
    int initialised = 0;
    try (var files = Files.newDirectoryStream(directory, "*Library.class")) {
      for (var file : files) {
        var name = file.getFileName().toString().replace(".class", "");
        var type = Class.forName("io.retort.bindings.cpu." + name);
        assertThat(Modifier.isFinal(type.getModifiers())).as(name + " is final").isTrue();
        initialised++;
      }
    }
    assertThat(initialised).isPositive();
  }
}
