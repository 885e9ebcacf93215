package io.retort;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/// Damages files the way accidents and attackers do: flipped bits, lengths that lie, cuts, repeated
/// and foreign pieces.
final class Mutation {
  private static final long[] TELLING = {
    0,
    1,
    2,
    7,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x7fff_ffffL,
    0xffff_ffffL,
    0x8000_0000L,
    Long.MAX_VALUE,
    Long.MIN_VALUE,
    -1,
    1L << 40,
    100_000_000,
    0x4000_0000_0000_0001L
  };
  private static final String[] WORDS = {
    "null",
    "-1",
    "1e999",
    "99999999999999999999",
    "[[[[[[[[",
    "{\"a\":",
    "\"",
    "0.5",
    "\\ud800",
    "&a",
    "*a",
    "!!x",
    "---",
    "? ",
    "true",
    "\n",
    "'",
    "(",
    ",",
    "../..",
    "\0"
  };

  private Mutation() {}

  /// One to four damages to one of `seeds`, a function of the random numbers alone.
  static byte[] of(List<byte[]> seeds, Random random) {
    byte[] bytes = seeds.get(random.nextInt(seeds.size())).clone();
    for (int damages = 1 + random.nextInt(4); damages > 0; damages--) {
      bytes = damaged(bytes, seeds, random);
    }
    return bytes;
  }

  private static byte[] damaged(byte[] bytes, List<byte[]> seeds, Random random) {
    int at = random.nextInt(bytes.length + 1);
    return switch (random.nextInt(8)) {
      case 0 -> flipped(bytes, random);
      case 1 -> number(bytes, at, random);
      case 2 -> number(bytes, at, random);
      case 3 -> joined(bytes, 0, at, new byte[0], bytes.length);
      case 4 ->
          joined(
              bytes,
              0,
              at,
              WORDS[random.nextInt(WORDS.length)].getBytes(StandardCharsets.UTF_8),
              at);
      case 5 -> {
        int end = Math.min(bytes.length, at + random.nextInt(64));
        yield joined(bytes, 0, end, Arrays.copyOfRange(bytes, at, end), end);
      }
      case 6 -> joined(bytes, 0, at, new byte[0], Math.min(bytes.length, at + random.nextInt(32)));
      default -> {
        byte[] other = seeds.get(random.nextInt(seeds.size()));
        int from = random.nextInt(other.length + 1);
        yield joined(bytes, 0, at, Arrays.copyOfRange(other, from, other.length), bytes.length);
      }
    };
  }

  private static byte[] flipped(byte[] bytes, Random random) {
    if (bytes.length > 0) {
      bytes[random.nextInt(bytes.length)] ^= (byte) (1 << random.nextInt(8));
    }
    return bytes;
  }

  /// Writes a telling number of 1, 2, 4 or 8 bytes over what is at `at`.
  private static byte[] number(byte[] bytes, int at, Random random) {
    int width = 1 << random.nextInt(4);
    if (at + width <= bytes.length) {
      long value =
          random.nextInt(4) == 0
              ? bytes.length + random.nextInt(5) - 2
              : TELLING[random.nextInt(TELLING.length)];
      ByteOrder order = random.nextBoolean() ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN;
      ByteBuffer eight = ByteBuffer.allocate(8).order(order).putLong(0, value);
      System.arraycopy(
          eight.array(), order == ByteOrder.LITTLE_ENDIAN ? 0 : 8 - width, bytes, at, width);
    }
    return bytes;
  }

  /// `bytes[first, end)`, then `middle`, then `bytes[rest ..]`.
  private static byte[] joined(byte[] bytes, int first, int end, byte[] middle, int rest) {
    var out = new ByteArrayOutputStream();
    out.write(bytes, first, end - first);
    out.writeBytes(middle);
    out.write(bytes, rest, bytes.length - rest);
    return out.toByteArray();
  }
}
