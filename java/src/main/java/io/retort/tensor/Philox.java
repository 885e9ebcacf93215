package io.retort.tensor;

/// Philox4x32-10 in Java: the same random numbers as the native kernels, one at a time.
///
/// Block b of a stream is four 32-bit words, a bijection of the counter `(b, tag, step low, step
/// high)` under the key `(seed low, seed high)`; element i of the stream takes word `i mod 4` of
/// block `i / 4`. Words are equal on every backend, uniforms too; normals agree to 2e-6 (float32
/// there, float64 here). Source: Salmon et al. 2011.
public final class Philox {
  private static final int MULTIPLIER_0 = 0xD2511F53;
  private static final int MULTIPLIER_1 = 0xCD9E8D57;
  private static final int WEYL_0 = 0x9E3779B9;
  private static final int WEYL_1 = 0xBB67AE85;
  private static final int ROUNDS = 10;
  private static final double UNIT = 0x1p-24;

  private Philox() {}

  /// The four words of block `block`, which counts modulo 2^32.
  public static int[] words(PhiloxKey key, long block) {
    return words(
        (int) key.seed(),
        (int) (key.seed() >>> 32),
        (int) block,
        key.tag(),
        (int) key.step(),
        (int) (key.step() >>> 32));
  }

  static int[] words(int k0, int k1, int c0, int c1, int c2, int c3) {
    for (int round = 0; round < ROUNDS; round++) {
      long product0 = Integer.toUnsignedLong(MULTIPLIER_0) * Integer.toUnsignedLong(c0);
      long product1 = Integer.toUnsignedLong(MULTIPLIER_1) * Integer.toUnsignedLong(c2);
      c0 = (int) (product1 >>> 32) ^ c1 ^ k0;
      c1 = (int) product1;
      c2 = (int) (product0 >>> 32) ^ c3 ^ k1;
      c3 = (int) product0;
      k0 += WEYL_0;
      k1 += WEYL_1;
    }
    return new int[] {c0, c1, c2, c3};
  }

  /// Word `index` of a stream.
  public static int word(PhiloxKey key, long index) {
    return words(key, index >>> 2)[(int) (index & 3)];
  }

  /// Number `index` of a stream, uniform in [0, 1), a multiple of 2^-24.
  public static double uniform(PhiloxKey key, long index) {
    return unit(word(key, index));
  }

  /// Standard normal `index` of a stream, by Box-Muller on the words (0, 1) and (2, 3) of its
  /// block.
  public static double normal(PhiloxKey key, long index) {
    return normal(words(key, index >>> 2), (int) (index & 3));
  }

  /// The first standard normals of a stream.
  public static void normals(PhiloxKey key, float[] out) {
    int[] words = {};
    for (int i = 0; i < out.length; i++) {
      if ((i & 3) == 0) {
        words = words(key, i >>> 2);
      }
      out[i] = (float) normal(words, i & 3);
    }
  }

  /// Whole number `index` of a stream, uniform in [0, n) but for a bias below n / 2^32.
  ///
  /// @throws IllegalArgumentException if n is less than 1
  public static int below(PhiloxKey key, long index, int n) {
    if (n < 1) {
      throw new IllegalArgumentException("philox: n must be at least 1, got " + n);
    }
    return (int) (Integer.toUnsignedLong(word(key, index)) * n >>> 32);
  }

  private static double normal(int[] words, int lane) {
    int pair = lane & 2;
    double radius = Math.sqrt(-2 * Math.log(unit(words[pair]) + UNIT));
    double angle = 2 * Math.PI * unit(words[pair + 1]);
    return radius * ((lane & 1) == 0 ? Math.cos(angle) : Math.sin(angle));
  }

  /// A word as a number in [0, 1), a multiple of 2^-24: word `i mod 4` of block `i / 4` is
  /// [#uniform] i.
  public static double unit(int word) {
    return (word >>> 8) * UNIT;
  }
}
