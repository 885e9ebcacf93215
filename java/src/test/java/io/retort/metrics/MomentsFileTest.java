package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.NpzFile;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MomentsFileTest {
  @TempDir Path directory;

  /// Mean (0, 1, 2, 3) and the unit matrix; against the origin the distance is |mu|^2.
  @Test
  void readsTheStatisticsOfOtherScripts() throws Exception {
    var read = MomentsFile.read(Path.of(getClass().getResource("/golden/fidref.npz").toURI()));
    assertThat(read.dimension()).isEqualTo(4);
    var unit = new double[4][4];
    for (int i = 0; i < 4; i++) {
      unit[i][i] = 1;
    }
    assertThat(Frechet.distance(read, new FeatureMoments(2, new double[4], unit)))
        .isCloseTo(14, within(1e-9));
  }

  @Test
  void readsWhatItWrites() {
    var moments = FeatureMoments.of(Gaussians.affine(50, 6, 0.5, 2, 3));
    Path file = directory.resolve("reference.npz");
    MomentsFile.write(file, moments);
    var read = MomentsFile.read(file);
    assertThat(read.count()).isEqualTo(50);
    assertThat(read.mean()).isEqualTo(moments.mean());
    assertThat(read.covariance()).isDeepEqualTo(moments.covariance());
  }

  @Test
  void refusesShapesThatDoNotFit() {
    Path file = directory.resolve("wrong.npz");
    SequencedMap<String, NpyFile> arrays = new LinkedHashMap<>();
    arrays.put("mu", NpyFile.of(new double[3], 3));
    NpzFile.write(file, arrays);
    assertThatThrownBy(() -> MomentsFile.read(file))
        .hasMessage(file + ": tensor \"sigma\": is not in this file");
    arrays.put("sigma", NpyFile.of(new double[6], 3, 2));
    NpzFile.write(file, arrays);
    assertThatThrownBy(() -> MomentsFile.read(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessageEndingWith("must have shapes (d) and (d, d), got [3] and [3, 2]");
  }
}
