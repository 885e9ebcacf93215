package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Dense;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.nn.ResampleConv.Sampling;
import io.retort.tensor.PhiloxKey;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The residual block of diffusers' U-Nets (`ResnetBlock2D`):
///
/// `h = conv1(resample(silu(norm1(x))))`, then `h = silu(norm2(h + shift))`, or with scale and
/// shift `h = silu(norm2(h) (1 + scale) + shift)`, then `y = (shortcut(resample(x)) +
/// conv2(dropout(h))) / divisor`.
///
/// Source: Ho et al. 2020, appendix B; Dhariwal & Nichol 2021 for scale and shift; names as in
/// diffusers.
///
/// @param embedding length of the embedding that gives scale and shift
/// @param groupsIn of norm1
/// @param groupsOut of norm2
/// @param scaleShift scale and shift after norm2 instead of a shift before it
/// @param divisor of the sum of both branches
/// @param sampling whether the resolution changes on the way
/// @param filter of that change: `[1, 1]` takes means or repeats, `[1, 3, 3, 1]` is smoother
/// @param projected a 1x1 convolution in the shortcut even where the channels do not change
record ResnetBlock(
    String name,
    int in,
    int out,
    int embedding,
    int groupsIn,
    int groupsOut,
    double eps,
    double dropout,
    boolean scaleShift,
    double divisor,
    Sampling sampling,
    List<Double> filter,
    boolean projected) {

  void declare(Plan plan) {
    norm1().declare(plan);
    conv(1, in).declare(plan);
    condition().declare(plan);
    norm2().declare(plan);
    conv(2, out).declare(plan);
    if (hasShortcut()) {
      shortcut().declare(plan);
    }
  }

  /// Images `(N, H, W, in)` to `(N, H', W', out)`.
  ///
  /// @param activated SiLU of the embedding, `(N, embedding)`
  /// @param key of the dropout mask, null to switch dropout off
  Var apply(Tape tape, Parameters parameters, Var x, Var activated, @Nullable PhiloxKey key) {
    Var h = resample(norm1().silu(tape, parameters, x));
    h = conditioned(tape, parameters, h, condition().apply(tape, parameters, activated));
    if (key != null && dropout > 0) {
      h = h.dropout(dropout, key);
    }
    Var skipped = resample(x);
    if (hasShortcut()) {
      skipped = shortcut().apply(tape, parameters, skipped);
    }
    return conv(2, out).joined(tape, parameters, h, skipped, 1 / divisor);
  }

  /// conv1 and norm2 with what the embedding does between or after them.
  private Var conditioned(Tape tape, Parameters parameters, Var x, Var condition) {
    if (!scaleShift) {
      return norm2().silu(tape, parameters, conv(1, in).shifted(tape, parameters, x, condition));
    }
    Var h = conv(1, in).apply(tape, parameters, x);
    long samples = condition.shape().dim(0);
    Var scale = condition.slice(1, 0, out).affine(1, 1).reshape(samples, 1, 1, out);
    Var shift = condition.slice(1, out, 2L * out).reshape(samples, 1, 1, out);
    return norm2().apply(tape, parameters, h).mulBroadcast(scale).addBroadcast(shift).silu();
  }

  private Var resample(Var x) {
    return switch (sampling) {
      case KEEP -> x;
      case UP -> x.upsample(filter);
      case DOWN -> x.downsample(filter);
    };
  }

  private boolean hasShortcut() {
    return projected || in != out;
  }

  private Norm norm1() {
    return new Norm(name + ".norm1", in, groupsIn, eps);
  }

  private Norm norm2() {
    return new Norm(name + ".norm2", out, groupsOut, eps);
  }

  private Conv conv(int index, int from) {
    return Conv.plain(name + ".conv" + index, from, out, 3, 1, 1);
  }

  private Dense condition() {
    return Dense.plain(name + ".time_emb_proj", embedding, scaleShift ? 2 * out : out);
  }

  private Conv shortcut() {
    return Conv.plain(name + ".conv_shortcut", in, out, 1, 1, 0);
  }
}
