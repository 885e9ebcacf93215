package io.retort.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

final class PhiloxTest {
  private static final PhiloxKey KEY =
      new PhiloxKey(0x0123456789abcdefL, Purpose.NOISE, 5, 1L << 40 | 3);

  /// The known-answer vectors of the Random123 distribution for philox4x32 with 10 rounds.
  @Test
  void wordsAreThoseOfRandom123() {
    assertThat(Philox.words(0, 0, 0, 0, 0, 0))
        .containsExactly(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
    assertThat(Philox.words(-1, -1, -1, -1, -1, -1))
        .containsExactly(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd);
    assertThat(Philox.words(0xa4093822, 0x299f31d0, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344))
        .containsExactly(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1);
  }

  @Test
  void aKeyFillsSeedTagAndStepIntoTheirWords() {
    assertThat(Philox.words(KEY, 7))
        .isEqualTo(Philox.words(0x89abcdef, 0x01234567, 7, 2 | 5 << 8, 3, 1 << 8));
    assertThat(Philox.word(KEY, 30)).isEqualTo(Philox.words(KEY, 7)[2]);
  }

  @Test
  void everyPartOfAKeyChangesTheNumbers() {
    var others =
        Arrays.asList(
            new PhiloxKey(KEY.seed() + 1, KEY.purpose(), KEY.stream(), KEY.step()),
            new PhiloxKey(KEY.seed() + (1L << 32), KEY.purpose(), KEY.stream(), KEY.step()),
            new PhiloxKey(KEY.seed(), Purpose.TIME, KEY.stream(), KEY.step()),
            KEY.stream(6),
            new PhiloxKey(KEY.seed(), KEY.purpose(), KEY.stream(), KEY.step() + 1),
            new PhiloxKey(KEY.seed(), KEY.purpose(), KEY.stream(), KEY.step() + (1L << 32)));

    assertThat(others)
        .allSatisfy(key -> assertThat(Philox.words(key, 0)).isNotEqualTo(Philox.words(KEY, 0)));
  }

  @Test
  void normalsAreTheSingleOnesInOrder() {
    float[] values = new float[11];
    Philox.normals(KEY, values);
    for (int i = 0; i < values.length; i++) {
      assertThat(values[i]).isEqualTo((float) Philox.normal(KEY, i));
    }
  }

  @Test
  void momentsAreThoseOfTheirLaws() {
    int n = 100_000;
    double sum = 0;
    double squares = 0;
    double fourth = 0;
    double uniforms = 0;
    for (int i = 0; i < n; i++) {
      double z = Philox.normal(KEY, i);
      sum += z;
      squares += z * z;
      fourth += z * z * z * z;
      uniforms += Philox.uniform(KEY.stream(1), i);
    }
    // Bounds are five standard errors: 1, sqrt 2, sqrt 96 and sqrt 1/12, each over sqrt n.
    assertThat(sum / n).isCloseTo(0, within(5 / Math.sqrt(n)));
    assertThat(squares / n).isCloseTo(1, within(5 * Math.sqrt(2.0 / n)));
    assertThat(fourth / n).isCloseTo(3, within(5 * Math.sqrt(96.0 / n)));
    assertThat(uniforms / n).isCloseTo(0.5, within(5 * Math.sqrt(1.0 / 12 / n)));
  }

  @Test
  void belowReachesEveryNumberAndNoOther() {
    int[] counts = new int[7];
    for (int i = 0; i < 7000; i++) {
      counts[Philox.below(KEY, i, 7)]++;
    }
    assertThat(Arrays.stream(counts).boxed()).allSatisfy(c -> assertThat(c).isBetween(850, 1150));
    assertThat(Philox.below(KEY, 0, 1)).isZero();
    assertThatThrownBy(() -> Philox.below(KEY, 0, 0))
        .hasMessage("philox: n must be at least 1, got 0");
  }
}
