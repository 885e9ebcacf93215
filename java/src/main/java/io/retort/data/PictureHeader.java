package io.retort.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;

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
    try (var in = Files.newInputStream(file)) {
      return read(file.toString(), in.readNBytes(LONGEST_HEAD), Files.size(file));
    } catch (IOException failure) {
      throw DataException.of(file, failure);
    }
  }

  /// @param file its name, for messages
  /// @param head the first bytes; a JPEG may need many
  /// @param fileBytes how many bytes the file has
  /// @throws DataException if this is neither format, or says something impossible
  static PictureHeader read(String file, byte[] head, long fileBytes) {
    ByteBuffer bytes = ByteBuffer.wrap(head);
    PictureHeader header;
    if (head.length >= PNG_HEADER_BYTES && bytes.getLong(0) == PNG_SIGNATURE) {
      header = png(file, bytes);
    } else if (head.length >= 4 && (bytes.getShort(0) & 0xffff) == JPEG_START) {
      header = jpeg(file, bytes);
    } else {
      throw new DataException(file, "is neither a PNG nor a JPEG picture");
    }
    if (header.width < 1
        || header.height < 1
        || header.width > MAX_SIDE
        || header.height > MAX_SIDE
        || (long) header.width * header.height > MOST_PER_BYTE * fileBytes) {
      throw new DataException(
          file,
          "claims %dx%d pixels, more than it can hold".formatted(header.height, header.width));
    }
    return header;
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
  private static PictureHeader jpeg(String file, ByteBuffer bytes) {
    int at = 2;
    while (at + 9 < bytes.capacity() && (bytes.get(at) & 0xff) == 0xff) {
      int marker = bytes.get(at + 1) & 0xff;
      if (marker == 0xff) {
        at++;
      } else if (isFrame(marker)) {
        int channels = bytes.get(at + 9) == 1 ? 1 : 3;
        int height = bytes.getShort(at + 5) & 0xffff;
        int width = bytes.getShort(at + 7) & 0xffff;
        return new PictureHeader(Kind.JPEG, width, height, channels, false);
      } else if (marker == LAST_JPEG_HEAD) {
        break;
      } else {
        at += 2 + (bytes.getShort(at + 2) & 0xffff);
      }
    }
    throw new DataException(file, "is a JPEG picture without a size");
  }

  /// SOF0 to SOF15 without DHT, JPG and DAC, which lie between them.
  private static boolean isFrame(int marker) {
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
  }
}
