package io.retort.metrics;

/// A frozen network that turns images into feature vectors; metrics are distances between those.
///
/// Features must be of unit order: the values before the last non-linearity, divided by their
/// standard deviation over the training images, so that distances of different extractors can be
/// read side by side. The extractor is trained on the training split only, and is never part of a
/// loss: a student trained on these very features would win without drawing better.
public interface FeatureExtractor {

  /// What tables call it, with what identifies the weights, such as `lenet-fashion 3f9a1c02`.
  String name();

  /// Length of a feature vector.
  int dimension();

  /// One feature vector per image, `(count, dimension)`.
  ///
  /// @param pixels `count` images, NHWC bytes as in [io.retort.data.Images#pixels]
  float[][] features(byte[] pixels, int count);

  /// Number of classes [#predict] distinguishes; 0 if this network is no classifier.
  default int classes() {
    return 0;
  }

  /// The most likely class of each image, `0 .. classes() - 1`.
  ///
  /// @throws UnsupportedOperationException if [#classes] is 0
  default int[] predict(byte[] pixels, int count) {
    throw new UnsupportedOperationException(name() + ": is no classifier");
  }
}
