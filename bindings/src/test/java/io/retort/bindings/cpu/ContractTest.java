package io.retort.bindings.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// The C headers, the library's own table and the umbrella header name the same operations.
class ContractTest {
  private static final Path HEADERS = Path.of("include", "retort");
  private static final Pattern PROTOTYPE = Pattern.compile("\\brt_status\\s+(rt_\\w+)\\s*\\(");

  @Test
  void everyPrototypeIsExportedAndEveryExportHasAPrototype() throws IOException {
    var declared = new TreeSet<String>();
    for (var header : headers()) {
      PROTOTYPE.matcher(Files.readString(header)).results().forEach(m -> declared.add(m.group(1)));
    }

    assertThat(new TreeSet<>(NativeLibrary.operations().keySet())).isEqualTo(declared);
  }

  @Test
  void theUmbrellaIncludesEveryHeader() throws IOException {
    var umbrella = Files.readString(HEADERS.resolve("retort.h"));

    assertThat(headers())
        .isNotEmpty()
        .map(header -> "#include \"retort/" + header.getFileName() + "\"")
        .filteredOn(line -> !line.contains("/retort.h"))
        .allSatisfy(line -> assertThat(umbrella).contains(line));
  }

  private static Iterable<Path> headers() throws IOException {
    try (Stream<Path> files = Files.list(HEADERS)) {
      return files.filter(file -> file.toString().endsWith(".h")).sorted().toList();
    }
  }
}
