package io.retort.distill;

import java.util.List;

/// What the numbers of every distillation say.
public interface Distillation {

  /// Where the teacher comes from: `builtin`, `train`, a run directory or a model file.
  String teacher();

  /// Noise levels the student is called at, descending: it draws an image from pure noise of the
  /// first, and from its own image with fresh noise of each later one.
  List<Double> levels();
}
