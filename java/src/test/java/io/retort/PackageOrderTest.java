package io.retort;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.spi.ToolProvider;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// A package imports only earlier ones; `jdeps` reads the edges from the compiled classes.
class PackageOrderTest {
  private static final List<String> ORDER =
      List.of(
          "tensor",
          "op",
          "backend",
          "grad",
          "data",
          "nn",
          "net",
          "diffusion",
          "distill",
          "optim",
          "train",
          "checkpoint",
          "metrics",
          "recipe",
          "report",
          "cli");

  private static final Path CLASSES = Path.of("target", "classes", "io");
  private static final Pattern EDGE =
      Pattern.compile("\\s*io\\.retort\\.(\\w+)\\.(\\S+)\\s+-> io\\.retort\\.(\\w+)\\.(\\S+)\\s.*");

  /// One class that uses another one of a different package.
  private record Edge(String from, String fromClass, String to, String toClass) {
    static Optional<Edge> parse(String line) {
      var edge = EDGE.matcher(line);
      return edge.matches()
          ? Optional.of(new Edge(edge.group(1), edge.group(2), edge.group(3), edge.group(4)))
          : Optional.empty();
    }

    boolean ordered() {
      return to.equals("bindings") || ORDER.indexOf(to) < ORDER.indexOf(from);
    }

    @Override
    public String toString() {
      return "%s.%s uses %s.%s, but %s comes before %s"
          .formatted(from, fromClass, to, toClass, from, to);
    }
  }

  @Test
  void packagesImportOnlyEarlierOnes() {
    var edges = jdeps().lines().map(Edge::parse).flatMap(Optional::stream).toList();

    assertThat(edges).as("edges between packages").isNotEmpty();
    assertThat(edges).filteredOn(edge -> !edge.ordered()).isEmpty();
  }

  @Test
  void everyPackageHasItsPlace() throws IOException {
    try (Stream<Path> packages = Files.list(CLASSES.resolve("retort"))) {
      assertThat(packages.map(directory -> directory.getFileName().toString()))
          .isNotEmpty()
          .isSubsetOf(ORDER);
    }
  }

  @Test
  void anEdgeAgainstTheOrderIsNamed() {
    var line = "   io.retort.op.GroupNorm$1        -> io.retort.grad.Tape        io";

    assertThat(Edge.parse(line))
        .hasValueSatisfying(edge -> {
          assertThat(edge.ordered()).isFalse();
          assertThat(edge).hasToString("op.GroupNorm$1 uses grad.Tape, but op comes before grad");
        });
  }

  private static String jdeps() {
    var out = new StringWriter();
    var err = new StringWriter();
    int status =
        ToolProvider.findFirst("jdeps")
            .orElseThrow(() -> new AssertionError("this JDK has no jdeps"))
            .run(
                new PrintWriter(out),
                new PrintWriter(err),
                "-verbose:class",
                "-filter:package",
                "-regex",
                "io\\.retort\\..*",
                CLASSES.toString());
    assertThat(status).as("jdeps: %s", err).isZero();
    return out.toString();
  }
}
