package io.retort.report;

import io.retort.checkpoint.AtomicFile;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;

/// The folder of one run, held by one process at a time.
///
/// | file | what |
/// |---|---|
/// | `recipe.yaml` | every number of the run |
/// | `env.json` | what it ran on |
/// | `products.tsv` | who multiplied which matrices, if that was measured |
/// | `metrics.jsonl`, `events.out.tfevents.*` | values of every step |
/// | `checkpoints/step-N.safetensors` | state to resume from |
/// | `model.safetensors`, `config.json` | the averaged weights at the newest checkpoint |
/// | `samples/step-N.png` | images from the same latents every time |
/// | `teacher/` | the run that trained the teacher, if the recipe says so |
/// | `controls/NAME/` | the same run with a term switched off |
/// | `summary.json`, `report.html` | how it ended |
final class RunDirectory implements AutoCloseable {
  static final String RECIPE = "recipe.yaml";
  static final String ENVIRONMENT = "env.json";
  static final String PRODUCTS = "products.tsv";
  static final String METRICS = "metrics.jsonl";
  static final String SUMMARY = "summary.json";
  static final String REPORT = "report.html";
  static final String SAMPLES = "samples";
  private static final String LOCK = ".lock";

  private final Path path;
  private final FileChannel channel;

  private RunDirectory(Path path, FileChannel channel) {
    this.path = path;
    this.channel = channel;
  }

  /// Makes and locks the folder of a new run.
  ///
  /// @throws RunException if it holds something already, or another process works in it
  static RunDirectory create(Path path) {
    try {
      Files.createDirectories(path);
    } catch (IOException failure) {
      throw new RunException(path, "cannot be made: " + AtomicFile.reason(failure));
    }
    if (Files.exists(path.resolve(RECIPE))) {
      throw new RunException(path, "holds a run already; continue it with: retort resume " + path);
    }
    RunDirectory directory = lock(path);
    try {
      directory.requireEmpty();
      return directory;
    } catch (RuntimeException failure) {
      directory.close();
      throw failure;
    }
  }

  /// Locks the folder of a run that was started before, and clears what a killed writer left.
  ///
  /// @throws RunException if it holds no run, or another process works in it
  static RunDirectory open(Path path) {
    if (!Files.isRegularFile(path.resolve(RECIPE))) {
      throw new RunException(path, "holds no run: there is no " + RECIPE);
    }
    RunDirectory directory = lock(path);
    try {
      AtomicFile.sweep(path);
      if (Files.isDirectory(directory.checkpoints())) {
        AtomicFile.sweep(directory.checkpoints());
      }
      return directory;
    } catch (IOException failure) {
      directory.close();
      throw new RunException(path, "cannot be cleared: " + AtomicFile.reason(failure));
    }
  }

  private static RunDirectory lock(Path path) {
    @Nullable FileChannel channel = null;
    try {
      channel =
          FileChannel.open(path.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      FileLock lock = channel.tryLock();
      if (lock != null) {
        return new RunDirectory(path, channel);
      }
    } catch (OverlappingFileLockException _) {
      // this process has it: said below
    } catch (IOException failure) {
      throw new RunException(path, "cannot be written: " + AtomicFile.reason(failure));
    }
    closeQuietly(channel);
    throw new RunException(path, "is in use by another run");
  }

  private void requireEmpty() {
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(path)) {
      for (Path entry : entries) {
        if (!entry.getFileName().toString().equals(LOCK)) {
          throw new RunException(path, "is not empty and holds no run; choose another folder");
        }
      }
    } catch (IOException failure) {
      throw new RunException(path, "cannot be listed: " + AtomicFile.reason(failure));
    }
  }

  Path path() {
    return path;
  }

  Path file(String name) {
    return path.resolve(name);
  }

  Path checkpoints() {
    return path.resolve("checkpoints");
  }

  Path teacher() {
    return path.resolve("teacher");
  }

  Path control(String name) {
    return path.resolve("controls").resolve(name);
  }

  /// Where the pictures of a step belong.
  Path samples(long step) {
    return path.resolve(SAMPLES).resolve("step-%08d.png".formatted(step));
  }

  /// Makes the folders that a run writes into.
  void prepare() {
    try {
      Files.createDirectories(checkpoints());
      Files.createDirectories(path.resolve(SAMPLES));
    } catch (IOException failure) {
      throw new RunException(path, "cannot be written: " + AtomicFile.reason(failure));
    }
  }

  /// Writes a file as a whole.
  void write(Path file, byte[] content) {
    try {
      AtomicFile.write(file, content);
    } catch (IOException failure) {
      throw AtomicFile.failure(file, failure);
    }
  }

  void write(String name, String text) {
    write(file(name), text.getBytes(StandardCharsets.UTF_8));
  }

  /// Lets other processes in; the empty lock file stays, because removing it would race with them.
  @Override
  public void close() {
    closeQuietly(channel);
  }

  private static void closeQuietly(@Nullable FileChannel channel) {
    if (channel != null) {
      try {
        channel.close();
      } catch (IOException e) {
        throw new IllegalStateException("a lock file could not be closed", e);
      }
    }
  }
}
