package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.data.Json;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;

/// One call of the command line inside this process, and what it answered.
record Call(int status, String out, String err) {

  static Call of(Object... arguments) {
    var out = new ByteArrayOutputStream();
    var err = new ByteArrayOutputStream();
    Console console = new Console(stream(out), stream(err), false);
    int status =
        Main.run(console, Stream.of(arguments).map(Object::toString).toArray(String[]::new));
    return new Call(
        status, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
  }

  private static PrintStream stream(ByteArrayOutputStream bytes) {
    return new PrintStream(bytes, true, StandardCharsets.UTF_8);
  }

  /// Fails unless the call succeeded.
  Call succeeded() {
    assertThat(status).as(err).isZero();
    return this;
  }

  /// Fails unless the call failed with this status, nothing on stdout and one sentence on stderr
  /// that holds `words`.
  Call refused(int expected, String words) {
    assertThat(err).contains(words).startsWith("retort: ").hasLineCount(1);
    assertThat(err).doesNotContain("\tat ", "Exception", "internal error");
    assertThat(out).isEmpty();
    assertThat(status).isEqualTo(expected);
    return this;
  }

  /// What `--json` printed.
  Map<?, ?> json() {
    return (Map<?, ?>) succeeded().parsed();
  }

  private Object parsed() {
    Object value = Json.parse(out);
    assertThat(value).isNotNull();
    return value;
  }

  static Path resource(String name) {
    try {
      return Path.of(Call.class.getResource(name).toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }
}
