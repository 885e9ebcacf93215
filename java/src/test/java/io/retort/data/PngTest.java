package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.Random;
import javax.imageio.ImageIO;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class PngTest {
  @Property(tries = 60)
  void readsWhatItWrites(
      @ForAll @IntRange(min = 1, max = 9) int height,
      @ForAll @IntRange(min = 1, max = 9) int width,
      @ForAll @IntRange(min = 1, max = 4) int channels,
      @ForAll long seed) {
    var picture = random(height, width, channels, seed);
    var read = Png.decode("x.png", picture.encode());

    assertThat(read.pixels()).isEqualTo(picture.pixels());
    assertThat(read)
        .extracting(Png::width, Png::height, Png::channels)
        .containsExactly(width, height, channels);
  }

  @Test
  void imageIoSeesTheSamePixels() throws IOException {
    var picture = random(13, 17, 3, 5);
    var read = ImageIO.read(new ByteArrayInputStream(picture.encode()));

    assertThat(read.getWidth()).isEqualTo(17);
    assertThat(read.getHeight()).isEqualTo(13);
    for (int i = 0; i < 13 * 17; i++) {
      int rgb = read.getRGB(i % 17, i / 17);
      for (int c = 0; c < 3; c++) {
        assertThat((byte) (rgb >> 16 - 8 * c)).isEqualTo(picture.pixels()[i * 3 + c]);
      }
    }
  }

  @Test
  void imageIoSeesTheSameGreyAsWeDo() throws IOException {
    var picture = random(8, 5, 1, 6);
    var raster = ImageIO.read(new ByteArrayInputStream(picture.encode())).getRaster();
    assertThat(raster.getNumBands()).isEqualTo(1);
    for (int i = 0; i < 40; i++) {
      assertThat((byte) raster.getSample(i % 5, i / 5, 0)).isEqualTo(picture.pixels()[i]);
    }
  }

  @Test
  void readsWhatImageIoWrites() throws IOException {
    var image = new BufferedImage(31, 9, BufferedImage.TYPE_INT_RGB);
    var random = new Random(3);
    for (int i = 0; i < 31 * 9; i++) {
      image.setRGB(i % 31, i / 31, random.nextInt(1 << 24));
    }
    var bytes = new ByteArrayOutputStream();
    ImageIO.write(image, "png", bytes);
    var read = Png.decode("x.png", bytes.toByteArray());

    assertThat(read.channels()).isEqualTo(3);
    assertThat(read.pixels()[3 * 40]).isEqualTo((byte) (image.getRGB(9, 1) >> 16));
  }

  @Test
  void aSmoothPictureIsSmall() {
    var ramp = new byte[64 * 64];
    for (int i = 0; i < ramp.length; i++) {
      ramp[i] = (byte) (i % 64 + i / 64);
    }
    assertThat(new Png(64, 64, 1, ramp).encode()).hasSizeLessThan(200);
  }

  @Property(tries = 300)
  void damageIsAlwaysADataException(@ForAll long seed) {
    var random = new Random(seed);
    byte[] bytes = random(6, 6, 1, 1).encode();
    byte[] damaged = Arrays.copyOf(bytes, random.nextInt(bytes.length + 1));
    if (damaged.length > 0) {
      damaged[random.nextInt(damaged.length)] ^= (byte) (1 + random.nextInt(255));
    }
    assertThatThrownBy(() -> Png.decode("x.png", damaged))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("x.png: ");
  }

  @Test
  void gridPlacesZoomsAndPads() {
    byte[] images = {1, 2, 3, 4, 5, 6};
    var sheet = Png.decode("grid", new PngGrid(2, 2, 1).png(images, 3, 1, 2, 1));

    assertThat(sheet.width()).isEqualTo(11);
    assertThat(sheet.height()).isEqualTo(7);
    byte w = (byte) 255;
    assertThat(Arrays.copyOfRange(sheet.pixels(), 11, 22))
        .containsExactly(w, 1, 1, 2, 2, w, 3, 3, 4, 4, w);
    assertThat(Arrays.copyOfRange(sheet.pixels(), 55, 66))
        .containsExactly(w, 5, 5, 6, 6, w, w, w, w, w, w);
  }

  @Test
  void gridOfFloatsEqualsGridOfBytes() {
    byte[] images = random(4, 9, 3, 2).pixels();
    var grid = new PngGrid(3, 1, 2);

    assertThat(grid.png(ImageBytes.toUnit(images), 4, 3, 3, 3))
        .isEqualTo(grid.png(images, 4, 3, 3, 3));
    assertThat(PngGrid.fitting(10, 28)).isEqualTo(new PngGrid(4, 2, 2));
    assertThatThrownBy(() -> grid.png(images, 5, 3, 3, 3))
        .hasMessageContaining("(5, 3, 3, 3) images must have as many bytes, got 108");
  }

  private static Png random(int height, int width, int channels, long seed) {
    var pixels = new byte[height * width * channels];
    new Random(seed).nextBytes(pixels);
    return new Png(width, height, channels, pixels);
  }
}
