package io.retort.metrics;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.NpzFile;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.SequencedMap;

/// Reference statistics on disk: the `.npz` that EDM's and other Fréchet scripts keep, arrays `mu`
/// (d) and `sigma` (d, d) in float64, and `n` of ours.
///
/// They mean something only to the features they were computed with: a file of Inception's 2,048
/// says nothing about the features of another net.
public final class MomentsFile {
  private static final String MEAN = "mu";
  private static final String COVARIANCE = "sigma";
  private static final String COUNT = "n";

  private MomentsFile() {}

  /// Reads statistics; where the file does not say of how many vectors, the count is 2, the least
  /// there can be.
  ///
  /// @throws CheckpointException if an array is missing, or the shapes do not fit
  public static FeatureMoments read(Path file) {
    try (NpzFile arrays = NpzFile.open(file)) {
      NpyFile mean = arrays.read(MEAN);
      NpyFile covariance = arrays.read(COVARIANCE);
      long[] shape = mean.shape();
      if (shape.length != 1
          || !Arrays.equals(covariance.shape(), new long[] {shape[0], shape[0]})) {
        throw new CheckpointException(
            file,
            "",
            "mu and sigma must have shapes (d) and (d, d), got %s and %s"
                .formatted(Arrays.toString(shape), Arrays.toString(covariance.shape())));
      }
      long count = arrays.names().contains(COUNT) ? arrays.read(COUNT).longs()[0] : 2;
      return moments(file, count, mean.doubles(), covariance.doubles());
    }
  }

  private static FeatureMoments moments(Path file, long count, double[] mean, double[] flat) {
    var covariance = new double[mean.length][];
    for (int i = 0; i < mean.length; i++) {
      covariance[i] = Arrays.copyOfRange(flat, i * mean.length, (i + 1) * mean.length);
    }
    try {
      return new FeatureMoments(count, mean, covariance);
    } catch (IllegalArgumentException wrong) {
      throw new CheckpointException(file, "", String.valueOf(wrong.getMessage()));
    }
  }

  /// Writes statistics so that [#read] and EDM's script take them.
  public static void write(Path file, FeatureMoments moments) {
    int d = moments.dimension();
    var flat = new double[Math.multiplyExact(d, d)];
    for (int i = 0; i < d; i++) {
      System.arraycopy(moments.covariance()[i], 0, flat, i * d, d);
    }
    SequencedMap<String, NpyFile> arrays = new LinkedHashMap<>();
    arrays.put(MEAN, NpyFile.of(moments.mean(), d));
    arrays.put(COVARIANCE, NpyFile.of(flat, d, d));
    arrays.put(COUNT, NpyFile.of(new long[] {moments.count()}));
    NpzFile.write(file, arrays);
  }
}
