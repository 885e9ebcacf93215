package io.retort.checkpoint;

import io.retort.data.DataException;
import io.retort.data.Printable;
import io.retort.data.ZipArchive;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.MemorySegment;
import java.nio.channels.Channels;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/// Several NumPy arrays in one file: `.npz`, a zip of `NAME.npy`, stored (`np.savez`) or deflated
/// (`np.savez_compressed`) when read, stored when written.
///
/// Lists on opening, reads an array when it is asked for. Equal content gives an equal file.
public final class NpzFile implements AutoCloseable {
  private static final String SUFFIX = ".npy";
  private static final int HEAD_BYTES = 4096;
  private static final LocalDateTime STAMP = LocalDateTime.of(1980, 1, 1, 0, 0);

  private final ZipArchive zip;

  private NpzFile(ZipArchive zip) {
    this.zip = zip;
  }

  /// Opens a file that holds arrays alone.
  ///
  /// @throws CheckpointException if it is damaged, or holds something else
  public static NpzFile open(Path file) {
    ZipArchive zip;
    try {
      zip = ZipArchive.open(file);
    } catch (DataException damaged) {
      throw CheckpointException.of(file, damaged);
    }
    Optional<String> other = zip.names().filter(name -> !name.endsWith(SUFFIX)).findFirst();
    if (other.isPresent()) {
      zip.close();
      throw new CheckpointException(
          file, "", "holds %s, which is no array".formatted(Printable.name(other.get())));
    }
    return new NpzFile(zip);
  }

  public Path file() {
    return zip.file();
  }

  /// Names of the arrays, in the order of the file.
  public List<String> names() {
    return zip.names().map(name -> name.substring(0, name.length() - SUFFIX.length())).toList();
  }

  /// Reads one array.
  ///
  /// @throws CheckpointException if there is none of that name, or it is no plain array of numbers
  public NpyFile read(String name) {
    ZipArchive.Entry entry = packed(name);
    try {
      MemorySegment bytes =
          entry.stored()
              ? zip.view(entry)
              : MemorySegment.ofArray(zip.read(entry, Integer.MAX_VALUE));
      return NpyFile.parse(file(), name, bytes);
    } catch (DataException damaged) {
      throw CheckpointException.of(file(), damaged);
    }
  }

  /// Every array by its header, without reading its data.
  public List<ArrayEntry> entries() {
    return names().stream().map(this::entry).toList();
  }

  private ArrayEntry entry(String name) {
    try {
      MemorySegment head = MemorySegment.ofArray(zip.head(packed(name), HEAD_BYTES));
      return ArrayEntry.of(name, NpyFile.header(file(), name, head));
    } catch (DataException damaged) {
      throw CheckpointException.of(file(), damaged);
    }
  }

  private ZipArchive.Entry packed(String name) {
    return zip.find(name + SUFFIX)
        .orElseThrow(() -> new CheckpointException(file(), name, "is not in this file"));
  }

  /// Writes arrays by name, replacing the file.
  public static void write(Path file, SequencedMap<String, NpyFile> arrays) {
    try {
      AtomicFile.write(
          file,
          out -> {
            var bytes = Channels.newOutputStream(out);
            var zip = new ZipOutputStream(bytes);
            for (Map.Entry<String, NpyFile> array : arrays.entrySet()) {
              write(zip, array.getKey() + SUFFIX, array.getValue());
            }
            zip.finish();
            zip.flush();
          });
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  private static void write(ZipOutputStream zip, String name, NpyFile array) throws IOException {
    var crc = new CRC32();
    array.writeTo(Channels.newChannel(new ChecksumOnly(crc)));
    var entry = new ZipEntry(name);
    entry.setTimeLocal(STAMP);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(array.fileBytes());
    entry.setCrc(crc.getValue());
    zip.putNextEntry(entry);
    array.writeTo(Channels.newChannel(zip));
    zip.closeEntry();
  }

  /// Takes bytes for their checksum alone.
  private static final class ChecksumOnly extends OutputStream {
    private final CRC32 crc;

    ChecksumOnly(CRC32 crc) {
      this.crc = crc;
    }

    @Override
    public void write(int value) {
      crc.update(value);
    }

    @Override
    public void write(byte[] bytes, int offset, int count) {
      crc.update(bytes, offset, count);
    }
  }

  @Override
  public void close() {
    zip.close();
  }
}
