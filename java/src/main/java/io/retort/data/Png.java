package io.retort.data;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.DeflaterOutputStream;
import java.util.zip.InflaterInputStream;
import java.util.zip.ZipException;

/// An 8-bit picture that reads and writes itself as PNG without `java.desktop`, whose start-up
/// costs more than most pictures.
///
/// Pixels `(height, width, channels)`; channels 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA. The reader
/// takes what the writer makes: 8 bits, not interlaced, no palette, any row filter. Source: PNG
/// specification, third edition, sections 5, 9 and 11.
public record Png(int width, int height, int channels, byte[] pixels) {
  private static final long SIGNATURE = 0x89504e470d0a1a0aL;
  private static final int IHDR = 0x49484452;
  private static final int IDAT = 0x49444154;
  private static final int IEND = 0x49454e44;
  private static final int ANCILLARY = 0x20000000;
  private static final int[] COLOUR_TYPE = {0, 4, 2, 6};
  private static final int FILTERS = 5;
  private static final int MAX_SIDE = 1 << 16;
  private static final long MAX_BYTES = 1L << 28;

  public Png {
    if (channels < 1 || channels > 4 || !fits(width, height, channels)) {
      throw new IllegalArgumentException(
          "png: size must be within %d pixels a side, 4 channels and %d bytes, got (%d, %d, %d)"
              .formatted(MAX_SIDE, MAX_BYTES, height, width, channels));
    }
    if (pixels.length != height * width * channels) {
      throw new IllegalArgumentException(
          "png: pixels must be %d bytes, got %d"
              .formatted(height * width * channels, pixels.length));
    }
  }

  private static boolean fits(int width, int height, int channels) {
    return width >= 1
        && width <= MAX_SIDE
        && height >= 1
        && height <= MAX_SIDE
        && (long) height * width * channels <= MAX_BYTES;
  }

  /// The bytes of a `.png` file; the same picture always gives the same bytes.
  public byte[] encode() {
    var bytes = new ByteArrayOutputStream();
    try (var out = new DataOutputStream(bytes)) {
      out.writeLong(SIGNATURE);
      chunk(out, IHDR, header());
      chunk(out, IDAT, deflate(filter()));
      chunk(out, IEND, new byte[0]);
    } catch (IOException impossible) {
      throw new IllegalStateException("memory does not fail to be written", impossible);
    }
    return bytes.toByteArray();
  }

  private byte[] header() throws IOException {
    var bytes = new ByteArrayOutputStream();
    var out = new DataOutputStream(bytes);
    out.writeInt(width);
    out.writeInt(height);
    out.write(new byte[] {8, (byte) COLOUR_TYPE[channels - 1], 0, 0, 0});
    return bytes.toByteArray();
  }

  private static void chunk(DataOutputStream out, int type, byte[] content) throws IOException {
    out.writeInt(content.length);
    out.writeInt(type);
    out.write(content);
    out.writeInt(crc(type, content));
  }

  private static int crc(int type, byte[] content) {
    var crc = new CRC32();
    for (int shift = 24; shift >= 0; shift -= 8) {
      crc.update(type >>> shift);
    }
    crc.update(content);
    return (int) crc.getValue();
  }

  /// Each row with the filter whose residuals are smallest in sum, the specification's heuristic.
  private byte[] filter() {
    int stride = width * channels;
    var rows = new byte[height * (stride + 1)];
    var candidate = new byte[stride];
    for (int y = 0; y < height; y++) {
      int target = y * (stride + 1);
      long smallest = Long.MAX_VALUE;
      for (int kind = 0; kind < FILTERS; kind++) {
        long sum = residuals(kind, y, candidate);
        if (sum < smallest) {
          smallest = sum;
          rows[target] = (byte) kind;
          System.arraycopy(candidate, 0, rows, target + 1, stride);
        }
      }
    }
    return rows;
  }

  private long residuals(int kind, int y, byte[] out) {
    int stride = out.length;
    int row = y * stride;
    long sum = 0;
    for (int i = 0; i < stride; i++) {
      out[i] = (byte) (pixels[row + i] - predict(kind, pixels, row, i, stride, channels));
      sum += Math.abs(out[i]);
    }
    return sum;
  }

  /// What filter `kind` expects at byte `i` of the row that starts at `row`.
  private static int predict(int kind, byte[] pixels, int row, int i, int stride, int channels) {
    boolean hasLeft = i >= channels;
    boolean hasUp = row > 0;
    int left = hasLeft ? Byte.toUnsignedInt(pixels[row + i - channels]) : 0;
    int up = hasUp ? Byte.toUnsignedInt(pixels[row + i - stride]) : 0;
    int corner = hasLeft && hasUp ? Byte.toUnsignedInt(pixels[row + i - stride - channels]) : 0;
    return switch (kind) {
      case 1 -> left;
      case 2 -> up;
      case 3 -> (left + up) / 2;
      case 4 -> paeth(left, up, corner);
      default -> 0;
    };
  }

  private static int paeth(int left, int up, int corner) {
    int toLeft = Math.abs(up - corner);
    int toUp = Math.abs(left - corner);
    int toCorner = Math.abs(left + up - 2 * corner);
    if (toLeft <= toUp && toLeft <= toCorner) {
      return left;
    }
    return toUp <= toCorner ? up : corner;
  }

  private static byte[] deflate(byte[] rows) throws IOException {
    var deflater = new Deflater(Deflater.BEST_COMPRESSION);
    try {
      var bytes = new ByteArrayOutputStream(rows.length / 2 + 64);
      try (var out = new DeflaterOutputStream(bytes, deflater, 1 << 16)) {
        out.write(rows);
      }
      return bytes.toByteArray();
    } finally {
      deflater.end();
    }
  }

  /// Reads a `.png` file.
  ///
  /// @param file its name, for messages
  /// @throws DataException if it is damaged, too large, or of a kind this reader does not take
  public static Png decode(String file, byte[] bytes) {
    try (var in = new DataInputStream(new ByteArrayInputStream(bytes))) {
      require(in.readLong() == SIGNATURE, file, "is not a PNG file");
      var header = new DataInputStream(new ByteArrayInputStream(read(file, in, IHDR)));
      int width = header.readInt();
      int height = header.readInt();
      int channels = channels(file, header.readNBytes(5));
      require(fits(width, height, channels), file, "declares a size over the limits");
      byte[] packed = read(file, in, IDAT);
      read(file, in, IEND);
      return new Png(width, height, channels, unfilter(file, packed, width, height, channels));
    } catch (EOFException e) {
      throw new DataException(file, "is truncated", e);
    } catch (IOException impossible) {
      throw new IllegalStateException("memory does not fail to be read", impossible);
    }
  }

  /// All content of the next chunks of `type`; optional chunks are passed over.
  private static byte[] read(String file, DataInputStream in, int type) throws IOException {
    var content = new ByteArrayOutputStream();
    while (true) {
      in.mark(0);
      int length = in.readInt();
      int found = in.readInt();
      if (found != type && content.size() > 0) {
        in.reset();
        return content.toByteArray();
      }
      require(length >= 0 && length <= in.available(), file, "is truncated");
      byte[] piece = in.readNBytes(length);
      require(in.readInt() == crc(found, piece), file, "has a chunk whose checksum does not match");
      require(
          found == type || (found & ANCILLARY) != 0,
          file,
          "has a chunk %s where it must not be".formatted(chunkName(found)));
      if (found == type) {
        content.writeBytes(piece);
      }
      if (found == IEND) {
        return content.toByteArray();
      }
    }
  }

  private static String chunkName(int type) {
    var bytes =
        new byte[] {(byte) (type >>> 24), (byte) (type >>> 16), (byte) (type >>> 8), (byte) type};
    return new String(bytes, StandardCharsets.ISO_8859_1).replaceAll("[^A-Za-z]", "?");
  }

  private static int channels(String file, byte[] rest) {
    boolean plain =
        rest.length == 5 && rest[0] == 8 && rest[2] == 0 && rest[3] == 0 && rest[4] == 0;
    for (int channels = 1; plain && channels <= 4; channels++) {
      if (rest[1] == COLOUR_TYPE[channels - 1]) {
        return channels;
      }
    }
    throw new DataException(file, "must be an 8-bit PNG without palette and interlacing");
  }

  private static byte[] unfilter(String file, byte[] packed, int width, int height, int channels)
      throws IOException {
    int stride = width * channels;
    byte[] rows = inflate(file, packed, height * (stride + 1));
    var pixels = new byte[height * stride];
    for (int y = 0; y < height; y++) {
      int source = y * (stride + 1);
      int kind = rows[source];
      require(kind >= 0 && kind < FILTERS, file, "has a row with an unknown filter");
      int row = y * stride;
      for (int i = 0; i < stride; i++) {
        pixels[row + i] =
            (byte) (rows[source + 1 + i] + predict(kind, pixels, row, i, stride, channels));
      }
    }
    return pixels;
  }

  private static byte[] inflate(String file, byte[] packed, int length) throws IOException {
    try (var in = new InflaterInputStream(new ByteArrayInputStream(packed))) {
      byte[] rows = in.readNBytes(length);
      require(rows.length == length, file, "has too little pixel data");
      require(in.read() < 0, file, "has too much pixel data");
      return rows;
    } catch (ZipException | EOFException e) {
      throw new DataException(file, "has damaged pixel data", e);
    }
  }

  private static void require(boolean fact, String file, String reason) {
    if (!fact) {
      throw new DataException(file, reason);
    }
  }
}
