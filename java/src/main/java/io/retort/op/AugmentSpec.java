package io.retort.op;

import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import java.util.Collection;
import java.util.List;

/// Which augmentations may be drawn, and how strong they are.
///
/// Each draw takes one family with equal probability; [#standard] has the strengths of the paper.
/// Source: Zhao & Bilen 2021, "Dataset condensation with differentiable siamese augmentation".
///
/// @param families what may be drawn, at least one
/// @param brightness added: uniform in ± half of it
/// @param saturation factor: uniform in [0, saturation)
/// @param contrast factor: uniform in [contrast, contrast + 1)
/// @param crop largest shift as a share of the side
/// @param cutout side of the hole as a share of the image's
/// @param flip probability of mirroring left and right
/// @param scale largest magnification of either axis; the smallest is its inverse
/// @param degrees largest rotation, either way
/// @param fill value of what comes from outside the image
public record AugmentSpec(
    List<Family> families,
    double brightness,
    double saturation,
    double contrast,
    double crop,
    double cutout,
    double flip,
    double scale,
    double degrees,
    double fill) {

  /// What is drawn together: colour draws brightness, saturation and contrast, the others one
  /// thing.
  public enum Family {
    COLOR,
    CROP,
    CUTOUT,
    FLIP,
    SCALE,
    ROTATE
  }

  public AugmentSpec {
    families = families.stream().distinct().sorted().toList();
    if (families.isEmpty()) {
      throw new IllegalArgumentException("augment: at least one family must be enabled");
    }
    require("brightness", brightness, 0, Double.MAX_VALUE);
    require("saturation", saturation, 0, Double.MAX_VALUE);
    require("contrast", contrast, 0, Double.MAX_VALUE);
    require("crop", crop, 0, 1);
    require("cutout", cutout, 0, 1);
    require("flip", flip, 0, 1);
    require("scale", scale, 1, Double.MAX_VALUE);
    require("degrees", degrees, 0, 180);
    require("fill", fill, -Double.MAX_VALUE, Double.MAX_VALUE);
  }

  private static void require(String name, double value, double low, double high) {
    if (!(value >= low && value <= high)) {
      throw new IllegalArgumentException(
          "augment: " + name + " must be in [" + low + ", " + high + "], got " + value);
    }
  }

  /// Every family with the strengths of the paper.
  public static AugmentSpec standard() {
    return new AugmentSpec(List.of(Family.values()), 1, 2, 0.5, 0.125, 0.5, 0.5, 1.2, 15, 0);
  }

  /// The same strengths for these families only.
  public AugmentSpec with(Collection<Family> enabled) {
    return new AugmentSpec(
        List.copyOf(enabled),
        brightness,
        saturation,
        contrast,
        crop,
        cutout,
        flip,
        scale,
        degrees,
        fill);
  }

  /// The same with another value outside the image, e.g. -1 for a black background.
  public AugmentSpec fill(double value) {
    return new AugmentSpec(
        families, brightness, saturation, contrast, crop, cutout, flip, scale, degrees, value);
  }

  /// What `key` draws for images of this size; number 0 of its stream picks the family.
  public Augmentation draw(PhiloxKey key, long height, long width) {
    double first = Philox.uniform(key, 1);
    double second = Philox.uniform(key, 2);
    return switch (families.get(Philox.below(key, 0, families.size()))) {
      case COLOR ->
          new Augmentation.Color(
              (first - 0.5) * brightness, second * saturation, Philox.uniform(key, 3) + contrast);
      case CROP ->
          shift(
              whole(first, share(width, crop)), whole(second, share(height, crop)), height, width);
      case CUTOUT -> hole(first, second, height, width);
      case FLIP -> new Augmentation.Warp(first < flip ? -1 : 1, 0, 0, 0, 1, 0);
      case SCALE -> new Augmentation.Warp(between(first), 0, 0, 0, between(second), 0);
      case ROTATE -> rotation(Math.toRadians((2 * first - 1) * degrees));
    };
  }

  private static long share(long side, double part) {
    return (long) (side * part + 0.5);
  }

  /// A whole number in [-limit, limit].
  private static long whole(double unit, long limit) {
    return (long) Math.floor(unit * (2 * limit + 1)) - limit;
  }

  private double between(double unit) {
    return 1 / scale + unit * (scale - 1 / scale);
  }

  private static Augmentation shift(long columns, long rows, long height, long width) {
    return new Augmentation.Warp(1, 0, 2.0 * columns / width, 0, 1, 2.0 * rows / height);
  }

  private static Augmentation rotation(double angle) {
    double cos = Math.cos(angle);
    double sin = Math.sin(angle);
    return new Augmentation.Warp(cos, -sin, 0, sin, cos, 0);
  }

  /// A hole whose centre may be anywhere, cut off at the border.
  private Augmentation hole(double first, double second, long height, long width) {
    long rows = share(height, cutout);
    long columns = share(width, cutout);
    long top = (long) Math.floor(first * (height + 1 - rows % 2)) - rows / 2;
    long left = (long) Math.floor(second * (width + 1 - columns % 2)) - columns / 2;
    return new Augmentation.Cutout(
        Math.clamp(top, 0, height),
        Math.clamp(left, 0, width),
        Math.clamp(top + rows, 0, height),
        Math.clamp(left + columns, 0, width));
  }
}
