package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class FeatureMomentsTest {

  @Test
  void threePointsByHand() {
    var moments = FeatureMoments.of(new float[][] {{1, 2}, {3, 2}, {5, 8}});
    assertThat(moments.count()).isEqualTo(3);
    assertThat(moments.mean()).containsExactly(3, 4);
    assertThat(moments.covariance()[0]).containsExactly(4, 6);
    assertThat(moments.covariance()[1]).containsExactly(6, 12);
    assertThat(moments.trace()).isEqualTo(16);
  }

  /// One-pass float64 sums lose every digit here: mean^2 / variance is 1e10, in float32 input.
  @Test
  void largeOffsetDoesNotCancel() {
    float[][] near = Gaussians.standard(400, 3, 1);
    var far = new float[near.length][];
    for (int i = 0; i < near.length; i++) {
      far[i] = near[i].clone();
      for (int k = 0; k < 3; k++) {
        near[i][k] = Math.round(near[i][k] * 64) / 64f;
        far[i][k] = near[i][k] + 100_000;
      }
    }
    double[][] expected = FeatureMoments.of(near).covariance();
    double[][] shifted = FeatureMoments.of(far).covariance();
    for (int i = 0; i < 3; i++) {
      assertThat(shifted[i]).containsExactly(expected[i], within(1e-10));
    }
  }

  @Test
  void mergingPartsEqualsTheWhole() {
    float[][] all = Gaussians.affine(301, 5, 3, 2, 2);
    var merged =
        FeatureMoments.of(Arrays.copyOfRange(all, 0, 100))
            .merge(FeatureMoments.of(Arrays.copyOfRange(all, 100, 301)));
    var whole = FeatureMoments.of(all);
    assertThat(merged.count()).isEqualTo(301);
    assertThat(merged.mean()).containsExactly(whole.mean(), within(1e-12));
    for (int i = 0; i < 5; i++) {
      assertThat(merged.covariance()[i]).containsExactly(whole.covariance()[i], within(1e-12));
    }
  }

  @Test
  void refusesWhatHasNoMoments() {
    assertThatThrownBy(() -> FeatureMoments.of(new float[][] {{1, 2}}))
        .hasMessage("moments: vectors must be at least 2, got 1");
    assertThatThrownBy(() -> FeatureMoments.of(new float[][] {{1, 2}, {3}}))
        .hasMessage("moments: every vector must have length 2, got 1");
    assertThatThrownBy(() -> FeatureMoments.of(new float[][] {{1}, {Float.NaN}}))
        .hasMessage("moments: mean must be finite, got NaN");
  }
}
