package io.retort.data;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;

/// Where the pictures of a set lie: the files of a folder, or the entries of a zip.
///
/// Names are relative, with `/` between folders. Safe for several threads.
sealed interface PictureStore {
  /// Limit on the size of one encoded picture.
  int MOST_BYTES = 64 << 20;

  /// Names of the pictures, sorted; hidden files are not among them.
  List<String> pictures();

  /// All bytes of a file, if it is there.
  Optional<byte[]> find(String name, int most);

  /// At most `count` first bytes of a picture.
  byte[] head(String name, int count);

  /// Bytes of a picture.
  long size(String name);

  /// The whole place of a file, for messages.
  String where(String name);

  /// All bytes of a picture.
  default byte[] read(String name) {
    return find(name, MOST_BYTES)
        .orElseThrow(() -> new DataException(where(name), "is no longer there"));
  }

  /// Opens a zip or a folder.
  static PictureStore open(Path path) {
    return Files.isDirectory(path)
        ? new Folder(path, Folder.list(path))
        : Archive.of(ZipArchive.open(path));
  }

  private static boolean isPicture(String name) {
    String lower = name.toLowerCase(Locale.ROOT);
    String file = lower.substring(lower.lastIndexOf('/') + 1);
    return !file.startsWith(".")
        && (file.endsWith(".png") || file.endsWith(".jpg") || file.endsWith(".jpeg"));
  }

  /// Files below a folder, links to files included.
  record Folder(Path folder, List<String> pictures) implements PictureStore {
    private static final int MAX_DEPTH = 16;

    static List<String> list(Path folder) {
      try (Stream<Path> files = Files.walk(folder, MAX_DEPTH)) {
        return files
            .map(file -> folder.relativize(file).toString())
            .filter(PictureStore::isPicture)
            .sorted()
            .toList();
      } catch (IOException failure) {
        throw DataException.of(folder, failure);
      }
    }

    @Override
    public Optional<byte[]> find(String name, int most) {
      Path file = folder.resolve(name);
      try {
        if (!Files.exists(file)) {
          return Optional.empty();
        }
        if (Files.size(file) > most) {
          throw new DataException(
              where(name), "has %d bytes, more than can be read".formatted(Files.size(file)));
        }
        return Optional.of(Files.readAllBytes(file));
      } catch (IOException failure) {
        throw DataException.of(file, failure);
      }
    }

    @Override
    public byte[] head(String name, int count) {
      try (InputStream in = Files.newInputStream(folder.resolve(name))) {
        return in.readNBytes(count);
      } catch (IOException failure) {
        throw DataException.of(folder.resolve(name), failure);
      }
    }

    @Override
    public long size(String name) {
      try {
        return Files.size(folder.resolve(name));
      } catch (IOException failure) {
        throw DataException.of(folder.resolve(name), failure);
      }
    }

    @Override
    public String where(String name) {
      return folder.resolve(name).toString();
    }
  }

  /// Entries of a zip, which stays open.
  record Archive(ZipArchive zip, List<String> pictures) implements PictureStore {
    static Archive of(ZipArchive zip) {
      return new Archive(zip, zip.names().filter(PictureStore::isPicture).sorted().toList());
    }

    @Override
    public Optional<byte[]> find(String name, int most) {
      return zip.find(name).map(entry -> zip.read(entry, most));
    }

    @Override
    public byte[] head(String name, int count) {
      return zip.head(zip.entry(name), count);
    }

    @Override
    public long size(String name) {
      return zip.entry(name).size();
    }

    @Override
    public String where(String name) {
      return zip.file() + ": " + name;
    }
  }
}
