package io.retort.distill;

/// How a role learns: the numbers of Adam or AdamW.
///
/// @param lr learning rate after warm-up
/// @param beta1 decay of the first moment
/// @param beta2 decay of the second moment
/// @param eps added to the root of the second moment
/// @param decay decoupled weight decay, 0 for plain Adam
/// @param clip largest gradient norm, 0 for none
/// @param warmup steps of linear ramp from 0
/// @param cooldown steps of cosine decay to zero before the end of the run, 0 for none
public record AdamSpec(
    double lr,
    double beta1,
    double beta2,
    double eps,
    double decay,
    double clip,
    long warmup,
    long cooldown) {

  public AdamSpec {
    if (!(lr > 0) || beta1 < 0 || beta1 >= 1 || beta2 < 0 || beta2 >= 1 || !(eps > 0)) {
      throw new IllegalArgumentException(
          "adam: lr > 0, betas in [0, 1) and eps > 0 must hold, got "
              + lr
              + ", "
              + beta1
              + ", "
              + beta2
              + ", "
              + eps);
    }
    if (decay < 0 || clip < 0 || warmup < 0 || cooldown < 0) {
      throw new IllegalArgumentException("adam: decay, clip, warmup and cooldown must be >= 0");
    }
  }

  /// Learning rate of the update made at training step `step` (counted from 0) of a run of `steps`.
  public double lrAt(long step, long steps) {
    double ramp = warmup == 0 ? 1 : Math.min(1, (step + 1) / (double) warmup);
    long left = steps - step;
    double fall =
        cooldown == 0 || left >= cooldown
            ? 1
            : 0.5 * (1 - Math.cos(Math.PI * Math.max(0, left) / cooldown));
    return lr * ramp * fall;
  }
}
