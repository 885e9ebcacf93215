package io.retort.data;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import javax.imageio.ImageIO;

/// Pictures that [Png] does not read, through `java.desktop`: JPEG, palettes, interlacing, 1, 2, 4
/// and 16 bits.
///
/// Apart from the rest so that nothing of the desktop is loaded before such a picture comes.
final class DesktopPicture {
  static {
    System.setProperty("java.awt.headless", "true");
    ImageIO.setUseCache(false);
  }

  private DesktopPicture() {}

  /// The picture with 1 to 4 channels of 8 bits.
  static Png decode(String file, byte[] bytes) {
    try {
      BufferedImage image = ImageIO.read(new ByteArrayInputStream(bytes));
      if (image == null) {
        throw new DataException(file, "is a picture of a kind that is not read");
      }
      boolean grey =
          image.getRaster().getNumBands() <= 2
              && !(image.getColorModel() instanceof IndexColorModel);
      return grey ? grey(image) : colour(image);
    } catch (IOException | IllegalArgumentException | IndexOutOfBoundsException damaged) {
      throw new DataException(file, "is a damaged picture: " + damaged.getMessage(), damaged);
    }
  }

  /// Samples as they are: the colour space of grey images is linear, and going through RGB would
  /// bend them.
  private static Png grey(BufferedImage image) {
    Raster raster = image.getRaster();
    int channels = raster.getNumBands();
    int shift = image.getSampleModel().getSampleSize(0) - Byte.SIZE;
    var pixels = new byte[image.getWidth() * image.getHeight() * channels];
    for (int i = 0; i < pixels.length; i++) {
      int at = i / channels;
      int sample = raster.getSample(at % image.getWidth(), at / image.getWidth(), i % channels);
      pixels[i] = (byte) (shift > 0 ? sample >> shift : sample);
    }
    return new Png(image.getWidth(), image.getHeight(), channels, pixels);
  }

  private static Png colour(BufferedImage image) {
    int width = image.getWidth();
    int[] argb = image.getRGB(0, 0, width, image.getHeight(), null, 0, width);
    int channels = image.getColorModel().hasAlpha() ? 4 : 3;
    var pixels = new byte[argb.length * channels];
    for (int i = 0; i < argb.length; i++) {
      pixels[i * channels] = (byte) (argb[i] >> 16);
      pixels[i * channels + 1] = (byte) (argb[i] >> 8);
      pixels[i * channels + 2] = (byte) argb[i];
      if (channels == 4) {
        pixels[i * channels + 3] = (byte) (argb[i] >>> 24);
      }
    }
    return new Png(width, image.getHeight(), channels, pixels);
  }
}
