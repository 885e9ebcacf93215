package io.retort.bench.libtorch;

import static org.bytedeco.pytorch.global.torch.avg_pool2d;
import static org.bytedeco.pytorch.global.torch.cat;
import static org.bytedeco.pytorch.global.torch.scaled_dot_product_attention;
import static org.bytedeco.pytorch.global.torch.silu;
import static org.bytedeco.pytorch.global.torch.upsample_nearest2d;

import io.retort.bench.StepSpec;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.jspecify.annotations.Nullable;

/// EDM's DDPM++ U-Net with its preconditioning, layer for layer what `SongUNet` and `Denoiser` are
/// in Retort.
///
/// Written as a PyTorch user would: stock operators, scaled dot-product attention, nothing fused by
/// hand. Weights are declared in EDM's order.
final class TorchUNet {
  private static final Scalar HALF_ROOT = new Scalar(Math.sqrt(0.5));
  private static final double MAX_POSITIONS = 10000;

  private enum Sampling {
    KEEP,
    UP,
    DOWN
  }

  private record SelfAttention(
      TorchWeights.Norm norm, TorchWeights.Conv qkv, TorchWeights.Conv proj, int channels) {

    Tensor apply(Tensor x) {
      long batch = x.size(0);
      long side = x.size(2);
      TensorVector parts =
          qkv.apply(norm.apply(x))
              .reshape(batch, 3, 1, channels, side * side)
              .transpose(-1, -2)
              .unbind(1);
      Tensor mixed = scaled_dot_product_attention(parts.get(0), parts.get(1), parts.get(2));
      Tensor image = mixed.transpose(-1, -2).reshape(batch, channels, side, side);
      return proj.apply(image).add(x).mul(HALF_ROOT);
    }
  }

  private record Block(
      int in,
      Sampling sampling,
      TorchWeights.Norm norm0,
      TorchWeights.Conv conv0,
      TorchWeights.Dense affine,
      TorchWeights.Norm norm1,
      TorchWeights.Conv conv1,
      TorchWeights.@Nullable Conv skip,
      @Nullable SelfAttention attention) {

    Tensor apply(Tensor x, Tensor embedding) {
      Tensor h = conv0.apply(resampled(norm0.silu(x)));
      h = h.add(affine.apply(embedding).unsqueeze(2).unsqueeze(3));
      h = conv1.apply(norm1.silu(h));
      Tensor skipped = skip == null ? x : skip.apply(resampled(x));
      Tensor y = h.add(skipped).mul(HALF_ROOT);
      return attention == null ? y : attention.apply(y);
    }

    private Tensor resampled(Tensor x) {
      return switch (sampling) {
        case KEEP -> x;
        case DOWN -> avg_pool2d(x, 2, 2);
        case UP -> upsample_nearest2d(x, 2 * x.size(2), 2 * x.size(3));
      };
    }
  }

  private final TorchWeights weights;
  private final int channels;
  private final TorchWeights.Dense map0;
  private final TorchWeights.Dense map1;
  private final TorchWeights.Conv stem;
  private final List<Block> encoder = new ArrayList<>();
  private final List<Block> decoder = new ArrayList<>();
  private final TorchWeights.Norm headNorm;
  private final TorchWeights.Conv head;
  private final Tensor frequencies;

  TorchUNet(StepSpec spec, TorchWeights weights) {
    this.weights = weights;
    channels = spec.channels();
    frequencies = Tensor.create(frequencies(channels / 2), 1, channels / 2);
    map0 = weights.dense(channels, 4 * channels);
    map1 = weights.dense(4 * channels, 4 * channels);
    stem = weights.conv(StepSpec.IMAGE_CHANNELS, channels, 3);
    Deque<Integer> skips = new ArrayDeque<>();
    skips.push(channels);
    int width = channels;
    int levels = StepSpec.MULTIPLIERS.size();
    for (int level = 0; level < levels; level++) {
      boolean attends = spec.resolution() >> level == StepSpec.ATTENTION;
      int out = channels * StepSpec.MULTIPLIERS.get(level);
      if (level > 0) {
        encoder.add(block(width, width, Sampling.DOWN, false));
        skips.push(width);
      }
      for (int i = 0; i < StepSpec.BLOCKS; i++) {
        encoder.add(block(width, out, Sampling.KEEP, attends));
        width = out;
        skips.push(width);
      }
    }
    decoder.add(block(width, width, Sampling.KEEP, true));
    decoder.add(block(width, width, Sampling.KEEP, false));
    for (int level = levels - 1; level >= 0; level--) {
      boolean attends = spec.resolution() >> level == StepSpec.ATTENTION;
      int out = channels * StepSpec.MULTIPLIERS.get(level);
      if (level < levels - 1) {
        decoder.add(block(width, width, Sampling.UP, false));
      }
      for (int i = 0; i <= StepSpec.BLOCKS; i++) {
        boolean last = i == StepSpec.BLOCKS;
        decoder.add(block(width + skips.pop(), out, Sampling.KEEP, last && attends));
        width = out;
      }
    }
    headNorm = weights.norm(width);
    head = weights.conv(width, StepSpec.IMAGE_CHANNELS, 3);
  }

  private static float[] frequencies(int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) Math.pow(MAX_POSITIONS, -(double) i / (count - 1));
    }
    return values;
  }

  private Block block(int in, int out, Sampling sampling, boolean attends) {
    return new Block(
        in,
        sampling,
        weights.norm(in),
        weights.conv(in, out, 3),
        weights.dense(4 * channels, out),
        weights.norm(out),
        weights.conv(out, out, 3),
        in != out || sampling != Sampling.KEEP ? weights.conv(in, out, 1) : null,
        attends ? attention(out) : null);
  }

  private SelfAttention attention(int width) {
    return new SelfAttention(
        weights.norm(width), weights.separated(width), weights.conv(width, width, 1), width);
  }

  /// `D(x; sigma) = c_skip x + c_out F(c_in x, ln(sigma) / 4)`. Source: EDM, eq. 7 and table 1.
  ///
  /// @param x noised images `(N, 3, H, W)`
  /// @param sigma noise levels `(N)`
  Tensor denoise(Tensor x, Tensor sigma) {
    double variance = StepSpec.SIGMA_DATA * StepSpec.SIGMA_DATA;
    Tensor level = sigma.reshape(-1, 1, 1, 1);
    Tensor total = level.square().add(new Scalar(variance));
    Tensor in = total.rsqrt();
    Tensor raw = network(x.mul(in), sigma.log().mul(new Scalar(0.25)));
    Tensor out = level.mul(in).mul(new Scalar(StepSpec.SIGMA_DATA));
    return x.mul(total.reciprocal().mul(new Scalar(variance))).add(raw.mul(out));
  }

  private Tensor network(Tensor x, Tensor noise) {
    Tensor angles = noise.unsqueeze(1).mul(frequencies);
    Tensor waves = cat(new TensorVector(angles.sin(), angles.cos()), 1);
    Tensor embedding = silu(map1.apply(silu(map0.apply(waves))));
    Deque<Tensor> skips = new ArrayDeque<>();
    Tensor h = stem.apply(x);
    skips.push(h);
    for (Block block : encoder) {
      h = block.apply(h, embedding);
      skips.push(h);
    }
    for (Block block : decoder) {
      if (h.size(1) != block.in()) {
        h = cat(new TensorVector(h, skips.pop()), 1);
      }
      h = block.apply(h, embedding);
    }
    return head.apply(headNorm.silu(h));
  }
}
