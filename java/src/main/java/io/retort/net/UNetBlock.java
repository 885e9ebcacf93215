package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Dense;
import io.retort.nn.Init;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.nn.ResampleConv;
import io.retort.nn.ResampleConv.Sampling;
import io.retort.op.Activation;
import io.retort.op.Affine;
import io.retort.op.Broadcast;
import io.retort.op.Conv2d;
import io.retort.op.Dropout;
import io.retort.op.Permute;
import io.retort.op.Reshape;
import io.retort.op.SelfAttention;
import io.retort.op.Slice;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// One residual block of EDM's U-Nets, with optional resampling and attention:
///
/// `h = conv1(dropout(silu(modulated(norm1, conv0(silu(norm0(x)))))))`, `y = (h + skip(x)) s`, and
/// with attention `y = (proj(attention(qkv(norm2(y)))) + y) s`. The embedding shifts the input of
/// norm1, or (adaptive) scales and shifts its output: `silu(norm1(h) (1 + scale) + shift)`.
/// Resampling happens before conv0 and in the skip.
///
/// Source: Song et al. 2021 (DDPM++) and Dhariwal & Nichol 2021 (ADM) as configured in EDM, Karras
/// et al. 2022.
final class UNetBlock {

  private static final double NEARLY_ZERO = 1e-5;

  /// A key has 64 streams, the last of which drops labels.
  private static final int MOST_DROPPED = 63;

  private static final double ATTENTION_SCALE = Math.sqrt(0.2);

  /// How the weights of a family start.
  enum Start {
    /// Xavier uniform, biases 0; what ends a residual nearly 0.
    SONG,
    /// Uniform by fan-in, biases too; what ends a residual 0.
    ADM;

    Conv inner(String name, int in, int out, int kernel, double scale) {
      return this == SONG
          ? Conv.same(name, in, out, kernel, scale)
          : Conv.plain(name, in, out, kernel, 1, kernel / 2);
    }

    Conv last(String name, int in, int out, int kernel) {
      if (this == SONG) {
        return Conv.same(name, in, out, kernel, NEARLY_ZERO);
      }
      Init zero = new Init.Constant(0);
      return new Conv(name, in, out, kernel, 1, kernel / 2, zero, zero);
    }

    Dense dense(String name, int in, int out) {
      return this == SONG ? Dense.xavier(name, in, out) : Dense.plain(name, in, out);
    }

    ResampleConv resampling(
        String name, int in, int out, int kernel, Sampling sampling, List<Double> filter) {
      Conv conv = inner(name, in, out, kernel, 1);
      return new ResampleConv(
          name, in, out, kernel, sampling, filter, false, conv.weight(), conv.bias());
    }
  }

  private final String name;
  private final int in;
  private final int out;
  private final double dropout;
  private final boolean adaptive;
  private final double skipScale;
  private final Norm norm0;
  private final ResampleConv conv0;
  private final Dense affine;
  private final Norm norm1;
  private final Conv conv1;
  private final @Nullable ResampleConv skip;
  private final @Nullable Attention attention;

  /// What a block with attention has besides.
  private record Attention(int heads, Norm norm, Conv qkv, Conv proj) {}

  /// @param filter resampling filter, e.g. `[1, 1]`
  /// @param heads attention heads, 0 for no attention
  /// @param adaptive scale and shift after norm1 instead of a shift before it
  /// @param projected a 1x1 convolution in the skip also where only the resolution changes
  /// @param skipScale s, `sqrt(1/2)` in DDPM++, 1 in ADM
  /// @param eps of the norms
  /// @param start initial laws of the weights
  UNetBlock(
      String name,
      int in,
      int out,
      int embedding,
      Sampling sampling,
      List<Double> filter,
      int heads,
      double dropout,
      boolean adaptive,
      boolean projected,
      double skipScale,
      double eps,
      Start start) {
    this.name = name;
    this.in = in;
    this.out = out;
    this.dropout = dropout;
    this.adaptive = adaptive;
    this.skipScale = skipScale;
    norm0 = Norm.edm(name + ".norm0", in, eps);
    conv0 = start.resampling(name + ".conv0", in, out, 3, sampling, filter);
    affine = start.dense(name + ".affine", embedding, adaptive ? 2 * out : out);
    norm1 = Norm.edm(name + ".norm1", out, eps);
    conv1 = start.last(name + ".conv1", out, out, 3);
    int kernel = projected || in != out ? 1 : 0;
    skip =
        in != out || sampling != Sampling.KEEP
            ? start.resampling(name + ".skip", in, out, kernel, sampling, filter)
            : null;
    if (heads > 0 && out % heads != 0) {
      throw new ShapeException(
          "unet: %s has %d channels, which must be a multiple of its %d attention heads"
              .formatted(name, out, heads));
    }
    attention =
        heads == 0
            ? null
            : new Attention(
                heads,
                Norm.edm(name + ".norm2", out, eps),
                start.inner(name + ".qkv", out, 3 * out, 1, ATTENTION_SCALE),
                start.last(name + ".proj", out, out, 1));
  }

  String name() {
    return name;
  }

  int in() {
    return in;
  }

  void declare(Plan plan) {
    norm0.declare(plan);
    conv0.declare(plan);
    affine.declare(plan);
    norm1.declare(plan);
    conv1.declare(plan);
    if (skip != null) {
      skip.declare(plan);
    }
    if (attention != null) {
      attention.norm.declare(plan);
      attention.qkv.declare(plan);
      attention.proj.declare(plan);
    }
  }

  /// @param key of the network's dropout masks, null to switch dropout off
  /// @param index of this block in its network, whose masks are the stream so far after the key's
  Var apply(Tape tape, Parameters parameters, Var x, Var emb, @Nullable PhiloxKey key, int index) {
    Var condition = affine.apply(tape, parameters, emb);
    Var h = modulated(tape, parameters, norm0.silu(tape, parameters, x), condition);
    if (key != null && dropout > 0) {
      h = tape.apply(new Dropout(dropout, masks(key, index)), h);
    }
    Var skipped = skip != null ? skip.apply(tape, parameters, x) : x;
    Var y = conv1.joined(tape, parameters, h, skipped, skipScale);
    return attention == null ? y : attend(attention, tape, parameters, y);
  }

  private static PhiloxKey masks(PhiloxKey key, int index) {
    if (index >= MOST_DROPPED) {
      throw new IllegalArgumentException(
          "unet: a network trained with dropout must have at most %d blocks; set dropout to 0"
              .formatted(MOST_DROPPED));
    }
    return key.stream(key.stream() + index);
  }

  /// conv0 and norm1 with what the embedding does between or after them.
  private Var modulated(Tape tape, Parameters parameters, Var x, Var condition) {
    if (!adaptive) {
      return norm1.silu(tape, parameters, conv0.shifted(tape, parameters, x, condition));
    }
    Var h = conv0.apply(tape, parameters, x);
    Var scale = tape.apply(new Affine(1, 1), perSample(tape, condition, 0));
    Var scaled =
        tape.apply(new Broadcast(Broadcast.Kind.MULTIPLY), norm1.apply(tape, parameters, h), scale);
    Var shift = perSample(tape, condition, out);
    Var shifted = tape.apply(new Broadcast(Broadcast.Kind.ADD), scaled, shift);
    return tape.apply(new Activation(Activation.Kind.SILU, 0), shifted);
  }

  /// `out` numbers of the condition from `first` on, one per sample and channel.
  private Var perSample(Tape tape, Var condition, int first) {
    Var part = tape.apply(new Slice(1, first, first + out), condition);
    return tape.apply(new Reshape(Shape.of(condition.shape().dim(0), 1, 1, out)), part);
  }

  private Var attend(Attention attention, Tape tape, Parameters parameters, Var y) {
    Var normed = attention.norm.apply(tape, parameters, y);
    Var weight = tape.use(parameters.weight(attention.qkv.name()));
    Var bias = tape.use(parameters.bias(attention.qkv.name()));
    Var packed =
        tape.apply(
            new Conv2d(1, 0, 1),
            normed,
            separate(tape, weight, Shape.of(out, 3, out), weight.shape()),
            separate(tape, bias, Shape.of(out, 3, 1), bias.shape()));
    Var mixed = tape.apply(new SelfAttention(attention.heads), packed);
    return attention.proj.joined(tape, parameters, mixed, y, skipScale);
  }

  /// EDM stores q, k, v interleaved per channel; the attention op wants three blocks. Reordering
  /// the small weight is cheaper than reordering the activations.
  private static Var separate(Tape tape, Var stored, Shape interleaved, Shape shape) {
    Var split = tape.apply(new Reshape(interleaved), stored);
    return tape.apply(new Reshape(shape), tape.apply(new Permute(List.of(1, 0, 2)), split));
  }
}
