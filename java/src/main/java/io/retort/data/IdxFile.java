package io.retort.data;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/// One IDX file of unsigned bytes, the format of MNIST and its relatives, plain or gzipped.
///
/// Layout, big-endian: two zero bytes, the type (`0x08` = u8, the only one read), the rank, `rank`
/// u32 sizes, then the values row-major to the end of the file. Nothing of a file is trusted: sizes
/// are limited before memory is asked for, and the values must fill the file exactly.
public record IdxFile(int[] sizes, byte[] values) {
  private static final int TYPE_U8 = 0x08;
  private static final int MAX_SIDE = 4096;
  private static final int MAX_RANK = 8;
  private static final int MAX_COUNT = 10_000_000;
  private static final long MAX_BYTES = 1L << 30;
  private static final int GZIP_MAGIC = 0x1f8b;

  /// Images `(N, H, W)` and their labels `(N)`, each label below `classes`.
  ///
  /// @throws DataException naming the file and what is wrong with it
  static Images readImages(Path imageFile, Path labelFile, int classes) {
    var images = read(imageFile, 3);
    var labels = read(labelFile, 1);
    int count = images.sizes[0];
    if (labels.sizes[0] != count) {
      throw new DataException(
          labelFile.toString(),
          "must hold one label per image, got %d labels for %d images"
              .formatted(labels.sizes[0], count));
    }
    for (int i = 0; i < count; i++) {
      int label = Byte.toUnsignedInt(labels.values[i]);
      if (label >= classes) {
        throw new DataException(
            labelFile.toString(), "label %d must be below %d, got %d".formatted(i, classes, label));
      }
    }
    return new Images(count, images.sizes[1], images.sizes[2], 1, images.values, labels.values);
  }

  /// Reads and checks a whole file that must have the given rank.
  static IdxFile read(Path file, int rank) {
    try (var in = open(file)) {
      return parse(file.toString(), in, rank);
    } catch (EOFException e) {
      throw new DataException(file.toString(), "is truncated", e);
    } catch (ZipException e) {
      throw new DataException(file.toString(), "is not a sound gzip file", e);
    } catch (IOException e) {
      throw DataException.of(file, e);
    }
  }

  /// The sizes that the header of a file of any rank declares; its values are not read.
  public static int[] sizes(Path file) {
    try (var in = open(file)) {
      int magic = in.readInt();
      if (magic >>> 8 != TYPE_U8 || (magic & 0xff) == 0 || (magic & 0xff) > MAX_RANK) {
        throw new DataException(
            file.toString(),
            "must be an IDX file of unsigned bytes, got magic %08x".formatted(magic));
      }
      return sizes(file.toString(), in, magic & 0xff);
    } catch (EOFException e) {
      throw new DataException(file.toString(), "is truncated", e);
    } catch (ZipException e) {
      throw new DataException(file.toString(), "is not a sound gzip file", e);
    } catch (IOException e) {
      throw DataException.of(file, e);
    }
  }

  private static DataInputStream open(Path file) throws IOException {
    InputStream in = new BufferedInputStream(Files.newInputStream(file), 1 << 16);
    try {
      in.mark(2);
      int magic = in.read() << 8 | in.read();
      in.reset();
      return new DataInputStream(magic == GZIP_MAGIC ? new GZIPInputStream(in, 1 << 16) : in);
    } catch (IOException e) {
      in.close();
      throw e;
    }
  }

  private static IdxFile parse(String file, DataInputStream in, int rank) throws IOException {
    int magic = in.readInt();
    if (magic != (TYPE_U8 << 8 | rank)) {
      throw new DataException(
          file,
          "must be an IDX file of unsigned bytes with rank %d (magic %08x), got magic %08x"
              .formatted(rank, TYPE_U8 << 8 | rank, magic));
    }
    int[] sizes = sizes(file, in, rank);
    int total = Arrays.stream(sizes).reduce(1, Math::multiplyExact);
    return new IdxFile(sizes, values(file, in, total, sizes));
  }

  private static int[] sizes(String file, DataInputStream in, int rank) throws IOException {
    var sizes = new int[rank];
    long total = 1;
    for (int i = 0; i < rank; i++) {
      sizes[i] = in.readInt();
      int limit = i == 0 ? MAX_COUNT : MAX_SIDE;
      if (sizes[i] < 1 || sizes[i] > limit) {
        throw new DataException(
            file,
            "size %d must be in 1..%d, got %s"
                .formatted(i, limit, Integer.toUnsignedString(sizes[i])));
      }
      total *= sizes[i];
      if (total > MAX_BYTES) {
        throw new DataException(
            file, "must hold at most %d values, declares more".formatted(MAX_BYTES));
      }
    }
    return sizes;
  }

  private static byte[] values(String file, DataInputStream in, int total, int[] sizes)
      throws IOException {
    byte[] values = in.readNBytes(total);
    if (values.length < total || in.read() >= 0) {
      throw new DataException(
          file,
          "declares %s, so %d bytes must follow the header, got %s"
              .formatted(
                  Arrays.toString(sizes),
                  total,
                  values.length < total ? String.valueOf(values.length) : "more"));
    }
    return values;
  }
}
