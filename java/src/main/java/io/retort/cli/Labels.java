package io.retort.cli;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.NpyFile;
import io.retort.diffusion.Denoiser;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Classes of images, from the command line or a file.
final class Labels {
  /// In place of a class: this image is unconditional.
  static final int NONE = Denoiser.NO_CLASS;

  private Labels() {}

  /// The classes of `count` images: the given list repeated, or by default one class after the
  /// other.
  ///
  /// @param text comma-separated classes, `none` for unconditional, null for the default
  /// @param classes of the model, 0 if it is unconditional
  /// @return null for unconditional
  /// @throws UsageException if the text is no such list
  static int @Nullable [] parse(@Nullable String text, int classes, int count) {
    if (text == null || text.equals("none")) {
      return text == null && classes > 0 ? cycled(range(classes), count) : null;
    }
    if (classes == 0) {
      throw new UsageException("--labels: the model is unconditional, it takes no labels");
    }
    List<Integer> labels = new ArrayList<>();
    for (String part : text.split(",", -1)) {
      labels.add(label(part.strip(), classes));
    }
    if (labels.size() > count) {
      throw new UsageException(
          "--labels: %d labels are more than %d images".formatted(labels.size(), count));
    }
    return cycled(labels.stream().mapToInt(Integer::intValue).toArray(), count);
  }

  private static int label(String text, int classes) {
    try {
      int label = Integer.parseInt(text);
      if (label >= 0 && label < classes) {
        return label;
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw new UsageException(
        "--labels: a label must be a whole number from 0 to %d, got '%s'"
            .formatted(classes - 1, text));
  }

  /// The classes of `count` images from a file: int64 `(N)`, or one-hot floats `(N, classes)` whose
  /// zero rows mean unconditional.
  ///
  /// @param rowForNone whether the number `classes` is taken for unconditional, as of a transformer
  ///   whose table of classes has a last row for none
  /// @return one class per image, or [#NONE]
  static int[] read(Path file, int classes, boolean rowForNone, int count) {
    if (classes == 0) {
      throw new CheckpointException(file, "", "the model is unconditional, it takes no labels");
    }
    NpyFile array = NpyFile.read(file);
    long[] shape = array.shape();
    if (Arrays.equals(shape, new long[] {count, classes})) {
      return oneHot(file, array.doubles(), classes);
    }
    if (!Arrays.equals(shape, new long[] {count})) {
      throw new CheckpointException(
          file,
          "",
          "must have shape (%d) or (%d, %d), got %s"
              .formatted(count, count, classes, ImageArrays.text(shape)));
    }
    long[] values = array.longs();
    for (long value : values) {
      int end = rowForNone ? classes + 1 : classes;
      if (value < 0 || value >= end) {
        throw new CheckpointException(
            file, "", "a label must be in [0, %d), got %d".formatted(end, value));
      }
    }
    return Arrays.stream(values)
        .mapToInt(value -> value == classes ? NONE : Math.toIntExact(value))
        .toArray();
  }

  private static int[] oneHot(Path file, double[] rows, int classes) {
    var labels = new int[rows.length / classes];
    Arrays.fill(labels, NONE);
    for (int i = 0; i < rows.length; i++) {
      int row = i / classes;
      if (rows[i] == 0) {
        continue;
      }
      if (rows[i] != 1 || labels[row] != NONE) {
        throw new CheckpointException(
            file, "", "row %d must hold zeros and at most one 1".formatted(row));
      }
      labels[row] = i % classes;
    }
    return labels;
  }

  private static int[] range(int classes) {
    var all = new int[classes];
    Arrays.setAll(all, i -> i);
    return all;
  }

  private static int[] cycled(int[] pattern, int count) {
    var labels = new int[count];
    Arrays.setAll(labels, i -> pattern[i % pattern.length]);
    return labels;
  }
}
