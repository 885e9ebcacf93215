package io.retort.data;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/// A zip file, mapped into memory: the container of image sets, NumPy archives and PyTorch files.
///
/// Stored and deflated entries, ZIP64 too; no encryption, no parts, nothing before the first entry.
/// Entries may not overlap, so that reading all of them costs no more than the file holds. Names
/// are only ever keys, never paths. Safe for several threads.
///
/// Source: PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.14 to 4.3.16.
public final class ZipArchive implements AutoCloseable {
  private static final int LOCAL = 0x04034b50;
  private static final int LOCAL_BYTES = 30;
  private static final int CENTRAL = 0x02014b50;
  private static final int CENTRAL_BYTES = 46;
  private static final int END = 0x06054b50;
  private static final int END_BYTES = 22;
  private static final int END64 = 0x06064b50;
  private static final int END64_BYTES = 56;
  private static final int LOCATOR64 = 0x07064b50;
  private static final int LOCATOR64_BYTES = 20;
  private static final int LONGEST_COMMENT = 0xffff;
  private static final int STORED = 0;
  private static final int DEFLATED = 8;
  private static final int ENCRYPTED = 1;
  private static final long SATURATED = 0xffff_ffffL;
  private static final long LONGEST_VIEW = 1 << 30;
  private static final int LONGEST_ARRAY = Integer.MAX_VALUE - 8;

  /// Deflate's best: 258 bytes out of two bits.
  private static final long MOST_EXPANSION = 1032;

  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /// One file inside.
  ///
  /// @param packed bytes it takes in the archive
  /// @param size bytes it has when read
  public record Entry(String name, boolean stored, long packed, long size, int crc, long header) {}

  private final MappedFile mapped;
  private final SequencedMap<String, Entry> entries = new LinkedHashMap<>();
  private long directory;

  private ZipArchive(MappedFile mapped) {
    this.mapped = mapped;
  }

  /// Opens an archive and checks its directory.
  ///
  /// @throws DataException with the reason
  public static ZipArchive open(Path file) {
    MappedFile mapped;
    try {
      mapped = MappedFile.open(file);
    } catch (IOException failure) {
      throw DataException.of(file, failure);
    }
    ZipArchive archive = new ZipArchive(mapped);
    try {
      archive.readDirectory();
      archive.requireApart();
      return archive;
    } catch (RuntimeException | Error refusal) {
      mapped.close();
      throw refusal;
    }
  }

  public Path file() {
    return mapped.path();
  }

  /// Bytes of the whole archive.
  public long size() {
    return mapped.size();
  }

  /// The files inside, in the order of the directory; folders are left out.
  public SequencedMap<String, Entry> entries() {
    return Collections.unmodifiableSequencedMap(entries);
  }

  public Optional<Entry> find(String name) {
    return Optional.ofNullable(entries.get(name));
  }

  /// The entry of a name that must be there.
  public Entry entry(String name) {
    return find(name)
        .orElseThrow(() ->
            new DataException(
                file().toString(), "must hold " + printable(name) + ", but does not"));
  }

  private void readDirectory() {
    long end = findEnd();
    long count = unsigned16(end + 10);
    long bytes = unsigned32(end + 12);
    long start = unsigned32(end + 16);
    long limit = end;
    require(unsigned16(end + 4) == 0 && unsigned16(end + 6) == 0, "is one of several parts");
    if (end >= LOCATOR64_BYTES && int32(end - LOCATOR64_BYTES) == LOCATOR64) {
      long end64 = int64(end - LOCATOR64_BYTES + 8);
      require(
          end64 >= 0 && end64 <= end - LOCATOR64_BYTES - END64_BYTES && int32(end64) == END64,
          "has a damaged ZIP64 directory");
      count = int64(end64 + 32);
      bytes = int64(end64 + 40);
      start = int64(end64 + 48);
      limit = end64;
    }
    require(
        start >= 0 && bytes >= 0 && bytes <= limit && start == limit - bytes,
        "has a directory that is not where it should be");
    require(
        count >= 0 && count <= bytes / CENTRAL_BYTES, "has a directory too short for its entries");
    directory = start;
    long at = start;
    for (long i = 0; i < count; i++) {
      at = readEntry(at, limit);
    }
    require(at == limit, "has a directory longer than its entries");
  }

  private long findEnd() {
    long last = mapped.size() - END_BYTES;
    for (long at = last; at >= Math.max(0, last - LONGEST_COMMENT); at--) {
      if (int32(at) == END && unsigned16(at + 20) == last - at) {
        return at;
      }
    }
    throw new DataException(file().toString(), "is not a zip file, or is truncated");
  }

  private long readEntry(long at, long limit) {
    require(at <= limit - CENTRAL_BYTES && int32(at) == CENTRAL, "has a damaged directory");
    int nameBytes = unsigned16(at + 28);
    int extraBytes = unsigned16(at + 30);
    long next = at + CENTRAL_BYTES + nameBytes + extraBytes + unsigned16(at + 32);
    require(next <= limit, "has a damaged directory");
    String name = text(at + CENTRAL_BYTES, nameBytes);
    int method = unsigned16(at + 10);
    var sizes = new long[] {unsigned32(at + 24), unsigned32(at + 20), unsigned32(at + 42)};
    widen(at + CENTRAL_BYTES + nameBytes, extraBytes, sizes);
    if (!name.endsWith("/")) {
      require(method == STORED || method == DEFLATED, name, "is packed in a way that is not read");
      require((unsigned16(at + 8) & ENCRYPTED) == 0, name, "is encrypted");
      Entry entry = new Entry(name, method == STORED, sizes[1], sizes[0], int32(at + 16), sizes[2]);
      requirePossible(entry);
      require(entries.put(name, entry) == null, name, "appears twice");
    }
    return next;
  }

  /// Replaces sizes that do not fit 32 bits by those of the ZIP64 field.
  private void widen(long extra, int extraBytes, long[] sizes) {
    long end = extra + extraBytes;
    for (long at = extra; at <= end - 4; at += 4 + unsigned16(at + 2)) {
      if (unsigned16(at) == 1) {
        long value = at + 4;
        long last = Math.min(end, value + unsigned16(at + 2)) - Long.BYTES;
        for (int i = 0; i < sizes.length; i++) {
          if (sizes[i] == SATURATED && value <= last) {
            sizes[i] = int64(value);
            value += Long.BYTES;
          }
        }
        return;
      }
    }
  }

  private void requirePossible(Entry entry) {
    boolean inside =
        entry.packed >= 0
            && entry.header >= 0
            && entry.packed <= directory
            && entry.header <= directory - LOCAL_BYTES - entry.packed;
    require(inside, entry.name, "does not lie inside the file");
    boolean possible =
        entry.stored
            ? entry.size == entry.packed
            : entry.size >= 0 && entry.size <= MOST_EXPANSION * entry.packed;
    require(possible, entry.name, "claims a size it cannot have");
  }

  private void requireApart() {
    Entry[] ordered = entries.values().toArray(Entry[]::new);
    Arrays.sort(ordered, Comparator.comparingLong(Entry::header));
    for (int i = 1; i < ordered.length; i++) {
      Entry before = ordered[i - 1];
      if (before.header + LOCAL_BYTES + before.packed > ordered[i].header) {
        throw new DataException(inside(ordered[i].name), "overlaps " + printable(before.name));
      }
    }
  }

  /// The bytes of an entry as they lie in the file, packed if it is.
  ///
  /// @throws DataException if the entry's own header disagrees with the directory
  public MemorySegment packed(Entry entry) {
    long at = entry.header;
    long data = at + LOCAL_BYTES + unsigned16(at + 26) + unsigned16(at + 28);
    require(
        int32(at) == LOCAL
            && (unsigned16(at + 8) == STORED) == entry.stored
            && data <= directory - entry.packed,
        entry.name,
        "has a damaged header");
    return mapped.bytes().asSlice(data, entry.packed);
  }

  /// The bytes of a stored entry, with its checksum checked.
  ///
  /// @throws DataException if it is packed or damaged
  public MemorySegment view(Entry entry) {
    require(entry.stored, entry.name, "must be stored, not compressed");
    MemorySegment bytes = packed(entry);
    var crc = new CRC32();
    for (long done = 0; done < bytes.byteSize(); ) {
      long count = Math.min(bytes.byteSize() - done, LONGEST_VIEW);
      crc.update(bytes.asSlice(done, count).asByteBuffer());
      done += count;
    }
    require((int) crc.getValue() == entry.crc, entry.name, "does not match its checksum");
    return bytes;
  }

  /// The first bytes of an entry, at most `count`; no checksum can be checked.
  public byte[] head(Entry entry, int count) {
    MemorySegment packed = packed(entry);
    if (entry.stored) {
      return packed.asSlice(0, Math.min(count, entry.size)).toArray(ValueLayout.JAVA_BYTE);
    }
    return inflate(entry, (int) Math.min(count, entry.size));
  }

  /// All bytes of an entry, with its checksum checked.
  ///
  /// @param most bytes it may have
  /// @throws DataException if it is larger or damaged
  public byte[] read(Entry entry, long most) {
    require(
        entry.size <= Math.min(most, LONGEST_ARRAY),
        entry.name,
        "has %d bytes, more than can be read".formatted(entry.size));
    if (entry.stored) {
      return view(entry).toArray(ValueLayout.JAVA_BYTE);
    }
    byte[] bytes = inflate(entry, (int) entry.size);
    var crc = new CRC32();
    crc.update(bytes);
    require((int) crc.getValue() == entry.crc, entry.name, "does not match its checksum");
    return bytes;
  }

  /// Grows with what really comes out, whatever the directory claims.
  private byte[] inflate(Entry entry, int size) {
    var bytes = new byte[(int) Math.min(size, Math.max(1024, 2 * entry.packed))];
    Inflater inflater = new Inflater(true);
    try {
      MemorySegment packed = packed(entry);
      long given = 0;
      int filled = 0;
      while (filled < size) {
        if (inflater.needsInput() && given < packed.byteSize()) {
          long count = Math.min(packed.byteSize() - given, LONGEST_VIEW);
          inflater.setInput(packed.asSlice(given, count).asByteBuffer());
          given += count;
        }
        if (filled == bytes.length) {
          bytes = Arrays.copyOf(bytes, (int) Math.min(size, 2L * bytes.length));
        }
        int count = inflater.inflate(bytes, filled, bytes.length - filled);
        require(
            count > 0 || (inflater.needsInput() && given < packed.byteSize()),
            entry.name,
            "ends too early");
        filled += count;
      }
      require(
          size < entry.size || inflater.inflate(new byte[1]) == 0,
          entry.name,
          "is longer than the directory says");
      return bytes;
    } catch (DataFormatException damaged) {
      throw new DataException(inside(entry.name), "is damaged: " + damaged.getMessage());
    } finally {
      inflater.end();
    }
  }

  private String text(long at, int bytes) {
    return new String(
        mapped.bytes().asSlice(at, bytes).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8);
  }

  private int unsigned16(long at) {
    return mapped.bytes().get(SHORT, at) & 0xffff;
  }

  private int int32(long at) {
    return mapped.bytes().get(INT, at);
  }

  private long unsigned32(long at) {
    return int32(at) & SATURATED;
  }

  private long int64(long at) {
    return mapped.bytes().get(LONG, at);
  }

  private void require(boolean fact, String reason) {
    if (!fact) {
      throw new DataException(file().toString(), reason);
    }
  }

  private void require(boolean fact, String name, String reason) {
    if (!fact) {
      throw new DataException(inside(name), reason);
    }
  }

  private String inside(String name) {
    return file() + ": " + printable(name);
  }

  private static String printable(String name) {
    String clean = name.replaceAll("[\\p{Cntrl}\\p{Cf}]", "?");
    return clean.length() <= 80 ? clean : clean.substring(0, 77) + "...";
  }

  @Override
  public void close() {
    mapped.close();
  }
}
