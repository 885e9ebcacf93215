package io.retort.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.IntFunction;

/// What the first bytes of a PNG or JPEG file say: its size and whether it has colour.
///
/// Sizes that the bytes of the file cannot hold are refused, so that a short file cannot ask for a
/// large array. Sources: PNG specification, third edition, 11.2.1; ITU-T T.81, B.2.2.
///
/// @param kind the format
/// @param channels 1 grey, 3 colour; transparency does not count
/// @param plain whether [Png] reads it: eight bits, no palette, not interlaced
public record PictureHeader(Kind kind, int width, int height, int channels, boolean plain) {
  public enum Kind {
    PNG,
    JPEG
  }

  private static final long PNG_SIGNATURE = 0x89504e470d0a1a0aL;
  private static final int PNG_HEADER_BYTES = 33;

  /// What nearly every picture has its size in; a JPEG with a profile or a preview needs more.
  static final int USUAL_HEAD = 1 << 14;

  private static final int LONGEST_HEAD = 1 << 20;
  private static final int MAX_SIDE = 1 << 15;

  /// Pixels a byte of a file can make at most: deflate's limit, and the shortest code of a JPEG
  /// block.
  private static final long MOST_PER_BYTE = 1100;

  private static final int JPEG_START = 0xffd8;
  private static final int LAST_JPEG_HEAD = 0xda;

  /// The header of a file.
  ///
  /// @throws DataException if it is neither format, or says something impossible
  public static PictureHeader read(Path file) {
    try {
      return read(file.toString(), count -> head(file, count), Files.size(file));
    } catch (IOException failure) {
      throw DataException.of(file, failure);
    }
  }

  private static byte[] head(Path file, int count) {
    try (var in = Files.newInputStream(file)) {
      return in.readNBytes(count);
    } catch (IOException failure) {
      throw DataException.of(file, failure);
    }
  }

  /// @param file its name, for messages
  /// @param head gives at most so many of the first bytes; few are asked for first
  /// @param fileBytes how many bytes the file has
  /// @throws DataException if this is neither format, or says something impossible
  static PictureHeader read(String file, IntFunction<byte[]> head, long fileBytes) {
    byte[] first = head.apply(USUAL_HEAD);
    return find(file, first, fileBytes)
        .or(() ->
            first.length < USUAL_HEAD
                ? Optional.empty()
                : find(file, head.apply(LONGEST_HEAD), fileBytes))
        .orElseThrow(() -> new DataException(file, "is a JPEG picture without a size"));
  }

  /// The header, or nothing if these first bytes of a JPEG end before its size.
  private static Optional<PictureHeader> find(String file, byte[] head, long fileBytes) {
    ByteBuffer bytes = ByteBuffer.wrap(head);
    Optional<PictureHeader> found;
    if (head.length >= PNG_HEADER_BYTES && bytes.getLong(0) == PNG_SIGNATURE) {
      found = Optional.of(png(file, bytes));
    } else if (head.length >= 4 && (bytes.getShort(0) & 0xffff) == JPEG_START) {
      found = jpeg(bytes);
    } else {
      throw new DataException(file, "is neither a PNG nor a JPEG picture");
    }
    found.ifPresent(header -> header.requirePossible(file, fileBytes));
    return found;
  }

  private void requirePossible(String file, long fileBytes) {
    if (width < 1
        || height < 1
        || width > MAX_SIDE
        || height > MAX_SIDE
        || (long) width * height > MOST_PER_BYTE * fileBytes) {
      throw new DataException(
          file, "claims %dx%d pixels, more than it can hold".formatted(height, width));
    }
  }

  private static PictureHeader png(String file, ByteBuffer bytes) {
    int depth = bytes.get(24);
    int colour = bytes.get(25);
    boolean interlaced = bytes.get(28) != 0;
    int channels =
        switch (colour) {
          case 0, 4 -> 1;
          case 2, 3, 6 -> 3;
          default -> throw new DataException(file, "has a colour type that PNG does not know");
        };
    boolean plain = depth == 8 && colour != 3 && !interlaced;
    return new PictureHeader(Kind.PNG, bytes.getInt(16), bytes.getInt(20), channels, plain);
  }

  /// Walks the segments to the first start of frame.
  private static Optional<PictureHeader> jpeg(ByteBuffer bytes) {
    int at = 2;
    while (at + 9 < bytes.capacity() && (bytes.get(at) & 0xff) == 0xff) {
      int marker = bytes.get(at + 1) & 0xff;
      if (marker == 0xff) {
        at++;
      } else if (isFrame(marker)) {
        int channels = bytes.get(at + 9) == 1 ? 1 : 3;
        int height = bytes.getShort(at + 5) & 0xffff;
        int width = bytes.getShort(at + 7) & 0xffff;
        return Optional.of(new PictureHeader(Kind.JPEG, width, height, channels, false));
      } else if (marker == LAST_JPEG_HEAD) {
        break;
      } else {
        at += 2 + (bytes.getShort(at + 2) & 0xffff);
      }
    }
    return Optional.empty();
  }

  /// SOF0 to SOF15 without DHT, JPG and DAC, which lie between them.
  private static boolean isFrame(int marker) {
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
  }
}
