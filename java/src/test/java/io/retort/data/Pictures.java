package io.retort.data;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import javax.imageio.ImageIO;

/// Small sets of pictures as others write them.
public final class Pictures {
  private Pictures() {}

  /// A PNG of seeded noise.
  public static byte[] png(int height, int width, int channels, long seed) {
    return picture(height, width, channels, seed).encode();
  }

  static Png picture(int height, int width, int channels, long seed) {
    var pixels = new byte[height * width * channels];
    new Random(seed).nextBytes(pixels);
    return new Png(width, height, channels, pixels);
  }

  /// What ImageIO makes of a picture.
  static byte[] encoded(BufferedImage image, String format) {
    var bytes = new ByteArrayOutputStream();
    try {
      if (!ImageIO.write(image, format, bytes)) {
        throw new IllegalArgumentException("no writer for " + format);
      }
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
    return bytes.toByteArray();
  }

  /// A zip as EDM's dataset tool writes it: stored PNG files and dataset.json.
  public static Path edmZip(Path file, int count, int side, int channels, int classes) {
    try (var zip = new ZipOutputStream(Files.newOutputStream(file))) {
      var labels = new StringBuilder();
      for (int i = 0; i < count; i++) {
        String name = "00000/img%08d.png".formatted(i);
        store(zip, name, png(side, side, channels, i));
        labels.append(i == 0 ? "" : ", ").append("[\"%s\", %d]".formatted(name, i % classes));
      }
      String json = classes == 0 ? "null" : "[" + labels + "]";
      store(
          zip, "dataset.json", "{\"labels\": %s}".formatted(json).getBytes(StandardCharsets.UTF_8));
      return file;
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  private static void store(ZipOutputStream zip, String name, byte[] content) throws IOException {
    var entry = new ZipEntry(name);
    var crc = new CRC32();
    crc.update(content);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(content.length);
    entry.setCrc(crc.getValue());
    zip.putNextEntry(entry);
    zip.write(content);
    zip.closeEntry();
  }

  /// Files below a folder, which are made with their folders.
  public static Path folder(Path folder, Map<String, byte[]> files) {
    try {
      for (var file : files.entrySet()) {
        Path path = folder.resolve(file.getKey());
        Files.createDirectories(path.getParent());
        Files.write(path, file.getValue());
      }
      return folder;
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }
}
