package io.retort.data;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/// A zip file, mapped into memory: the container of image sets, NumPy archives and PyTorch files.
///
/// Stored and deflated entries, ZIP64 too; no encryption, no parts, nothing before the first entry.
/// Entries may not overlap, so that reading all of them costs no more than the file holds; what is
/// kept of one is twenty bytes, the rest is read from the directory when it is asked for. Names are
/// only ever keys, never paths; one that is not UTF-8 is taken as ISO 8859-1. Safe for several
/// threads.
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
  private static final int MOST_ENTRIES = 1 << 27;
  private static final char REPLACEMENT = '\ufffd';
  private static final String OVERLAP = "overlaps another file";

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
  private final long seed = ThreadLocalRandom.current().nextLong() | 1;

  /// Where each file's record in the directory is, in its order.
  private long[] records = {};

  private int count;

  /// An open-addressing table of names: indices into `records`, plus one.
  private int[] table = new int[1];

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

  /// Names of the files inside, in the order of the directory; folders are left out.
  public Stream<String> names() {
    return Arrays.stream(records, 0, count)
        .mapToObj(at -> text(at + CENTRAL_BYTES, unsigned16(at + 28)));
  }

  public Optional<Entry> find(String name) {
    int index = indexOf(name.getBytes(StandardCharsets.UTF_8));
    if (index < 0 && name.chars().allMatch(c -> c < 0x100)) {
      index = indexOf(name.getBytes(StandardCharsets.ISO_8859_1));
    }
    if (index < 0) {
      return Optional.empty();
    }
    long at = records[index];
    long[] sizes = sizes(at, new long[3]);
    return Optional.of(
        new Entry(
            name, unsigned16(at + 10) == STORED, sizes[1], sizes[0], int32(at + 16), sizes[2]));
  }

  private int indexOf(byte[] utf8) {
    MemorySegment name = MemorySegment.ofArray(utf8);
    for (int slot = slot(name, 0, utf8.length); table[slot] != 0; slot = next(slot)) {
      if (isName(records[table[slot] - 1], name, 0, utf8.length)) {
        return table[slot] - 1;
      }
    }
    return -1;
  }

  private boolean isName(long record, MemorySegment name, long from, int length) {
    long at = record + CENTRAL_BYTES;
    return unsigned16(record + 28) == length
        && MemorySegment.mismatch(mapped.bytes(), at, at + length, name, from, from + length) < 0;
  }

  /// Where the search for a name begins.
  private int slot(MemorySegment name, long from, int length) {
    long hash = seed;
    for (long i = 0; i < length; i++) {
      hash = (hash ^ name.get(ValueLayout.JAVA_BYTE, from + i)) * seed;
      hash ^= hash >>> 32;
    }
    return (int) (hash * seed >>> 32) & table.length - 1;
  }

  private int next(int slot) {
    return slot + 1 & table.length - 1;
  }

  /// The entry of a name that must be there.
  public Entry entry(String name) {
    return find(name)
        .orElseThrow(() ->
            new DataException(
                file().toString(), "must hold " + Printable.name(name) + ", but does not"));
  }

  private void readDirectory() {
    long end = findEnd();
    long claimed = unsigned16(end + 10);
    long bytes = unsigned32(end + 12);
    long start = unsigned32(end + 16);
    long limit = end;
    require(unsigned16(end + 4) == 0 && unsigned16(end + 6) == 0, "is one of several parts");
    if (end >= LOCATOR64_BYTES && int32(end - LOCATOR64_BYTES) == LOCATOR64) {
      long end64 = int64(end - LOCATOR64_BYTES + 8);
      require(
          end64 >= 0 && end64 <= end - LOCATOR64_BYTES - END64_BYTES && int32(end64) == END64,
          "has a damaged ZIP64 directory");
      claimed = int64(end64 + 32);
      bytes = int64(end64 + 40);
      start = int64(end64 + 48);
      limit = end64;
    }
    require(
        start >= 0 && bytes >= 0 && bytes <= limit && start == limit - bytes,
        "has a directory that is not where it should be");
    require(
        claimed >= 0 && claimed <= bytes / CENTRAL_BYTES,
        "has a directory too short for its entries");
    require(claimed <= MOST_ENTRIES, "holds more than " + MOST_ENTRIES + " files");
    directory = start;
    records = new long[(int) claimed];
    table = new int[Integer.highestOneBit(Math.max(1, (int) (claimed * 3 / 2))) * 2];
    var sizes = new long[3];
    long at = start;
    for (long i = 0; i < claimed; i++) {
      at = readEntry(at, limit, sizes);
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

  /// Checks one record of the directory; yields where the next one is.
  private long readEntry(long at, long limit, long[] scratch) {
    require(at <= limit - CENTRAL_BYTES && int32(at) == CENTRAL, "has a damaged directory");
    int nameBytes = unsigned16(at + 28);
    long next = at + CENTRAL_BYTES + nameBytes + unsigned16(at + 30) + unsigned16(at + 32);
    require(next <= limit, "has a damaged directory");
    boolean isFolder =
        nameBytes > 0
            && mapped.bytes().get(ValueLayout.JAVA_BYTE, at + CENTRAL_BYTES + nameBytes - 1) == '/';
    if (!isFolder) {
      int method = unsigned16(at + 10);
      require(method == STORED || method == DEFLATED, at, "is packed in a way that is not read");
      require((unsigned16(at + 8) & ENCRYPTED) == 0, at, "is encrypted");
      requirePossible(at, method == STORED, sizes(at, scratch));
      long name = at + CENTRAL_BYTES;
      int slot = slot(mapped.bytes(), name, nameBytes);
      while (table[slot] != 0) {
        boolean same = isName(records[table[slot] - 1], mapped.bytes(), name, nameBytes);
        require(!same, at, "appears twice");
        slot = next(slot);
      }
      records[count] = at;
      table[slot] = ++count;
    }
    return next;
  }

  /// Bytes when read, bytes in the archive, and where the entry is, of the record at `at`.
  private long[] sizes(long at, long[] sizes) {
    sizes[0] = unsigned32(at + 24);
    sizes[1] = unsigned32(at + 20);
    sizes[2] = unsigned32(at + 42);
    widen(at + CENTRAL_BYTES + unsigned16(at + 28), unsigned16(at + 30), sizes);
    return sizes;
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

  private void requirePossible(long at, boolean stored, long[] sizes) {
    long size = sizes[0];
    long packed = sizes[1];
    long header = sizes[2];
    boolean inside =
        packed >= 0
            && header >= 0
            && packed <= directory
            && header <= directory - LOCAL_BYTES - packed;
    require(inside, at, "does not lie inside the file");
    boolean possible = stored ? size == packed : size >= 0 && size <= MOST_EXPANSION * packed;
    require(possible, at, "claims a size it cannot have");
  }

  /// Entries lie apart where each ends before the next begins, whichever of them it is that does.
  private void requireApart() {
    var starts = new long[count];
    var ends = new long[count];
    var sizes = new long[3];
    for (int i = 0; i < count; i++) {
      sizes(records[i], sizes);
      starts[i] = sizes[2];
      ends[i] = sizes[2] + LOCAL_BYTES + sizes[1];
    }
    Arrays.sort(starts);
    Arrays.sort(ends);
    for (int i = 1; i < count; i++) {
      if (ends[i - 1] > starts[i]) {
        for (int entry = 0; entry < count; entry++) {
          require(sizes(records[entry], sizes)[2] != starts[i], records[entry], OVERLAP);
        }
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
    byte[] text = mapped.bytes().asSlice(at, bytes).toArray(ValueLayout.JAVA_BYTE);
    String utf8 = new String(text, StandardCharsets.UTF_8);
    return utf8.indexOf(REPLACEMENT) < 0 ? utf8 : new String(text, StandardCharsets.ISO_8859_1);
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

  /// As above, of the file whose record is at `record`.
  private void require(boolean fact, long record, String reason) {
    if (!fact) {
      require(false, text(record + CENTRAL_BYTES, unsigned16(record + 28)), reason);
    }
  }

  private String inside(String name) {
    return file() + ": " + Printable.name(name);
  }

  @Override
  public void close() {
    mapped.close();
  }
}
