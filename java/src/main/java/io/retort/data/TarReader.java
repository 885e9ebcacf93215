package io.retort.data;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/// Takes named files out of a `.tgz` stream, in memory; everything else in it is skipped unread.
///
/// Reads ustar and old tar: 512-byte blocks, name at 0, octal size at 124, checksum at 148, type at
/// 156, prefix at 345. No path of the archive ever touches the disk. Limits: 1000 entries, 1 GiB of
/// content in all, however well it was compressed.
final class TarReader {
  private static final int BLOCK = 512;
  private static final int MAX_ENTRIES = 1000;
  private static final long MAX_BYTES = 1L << 30;

  private TarReader() {}

  /// @param archive name for messages
  /// @param wanted paths inside the archive; every one of them must be there as a regular file
  /// @throws DataException if one is missing, or the archive is damaged or over a limit
  static Map<String, byte[]> extract(String archive, InputStream tgz, Set<String> wanted)
      throws IOException {
    var files = new TreeMap<String, byte[]>();
    try (var in = new DataInputStream(new GZIPInputStream(tgz, 1 << 16))) {
      var header = new byte[BLOCK];
      long total = 0;
      for (int entries = 0; files.size() < wanted.size(); entries++) {
        in.readFully(header);
        if (header[0] == 0) {
          break;
        }
        long size = size(archive, header);
        total += size;
        if (entries == MAX_ENTRIES || total > MAX_BYTES) {
          throw new DataException(
              archive,
              "must hold at most %d entries and %d bytes".formatted(MAX_ENTRIES, MAX_BYTES));
        }
        long padding = -size & (BLOCK - 1);
        String name = name(header);
        if (regular(header) && wanted.contains(name)) {
          files.put(name, content(in, size));
          in.skipNBytes(padding);
        } else {
          in.skipNBytes(size + padding);
        }
      }
    } catch (EOFException e) {
      throw new DataException(archive, "is truncated", e);
    } catch (ZipException e) {
      throw new DataException(archive, "is not a sound gzip file", e);
    }
    for (String name : wanted) {
      if (!files.containsKey(name)) {
        throw new DataException(archive, "must contain " + name + ", which is missing");
      }
    }
    return files;
  }

  private static byte[] content(InputStream in, long size) throws IOException {
    byte[] content = in.readNBytes((int) size);
    if (content.length < size) {
      throw new EOFException();
    }
    return content;
  }

  private static boolean regular(byte[] header) {
    return header[156] == '0' || header[156] == 0;
  }

  private static String name(byte[] header) {
    boolean ustar = text(header, 257, 5).equals("ustar");
    String prefix = ustar ? text(header, 345, 155) : "";
    String name = text(header, 0, 100);
    return prefix.isEmpty() ? name : prefix + "/" + name;
  }

  private static long size(String archive, byte[] header) {
    int sum = 0;
    for (int i = 0; i < BLOCK; i++) {
      sum += i >= 148 && i < 156 ? ' ' : Byte.toUnsignedInt(header[i]);
    }
    if (octal(archive, header, 148, 8) != sum) {
      throw new DataException(archive, "has a tar header whose checksum does not match");
    }
    return octal(archive, header, 124, 12);
  }

  private static long octal(String archive, byte[] header, int offset, int length) {
    String digits = text(header, offset, length).strip();
    if (!digits.matches("[0-7]{1,11}")) {
      throw new DataException(archive, "has a tar header whose numbers are not octal");
    }
    return Long.parseLong(digits, 8);
  }

  private static String text(byte[] header, int offset, int length) {
    int end = offset;
    while (end < offset + length && header[end] != 0) {
      end++;
    }
    return new String(header, offset, end - offset, StandardCharsets.ISO_8859_1);
  }
}
