package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Dense;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.tensor.DType;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// A small discriminator of images that learns from nothing: stages of convolution, norm and
/// pooling, and at every one a head of patch logits.
///
/// `[conv3x3, (norm), leaky ReLU, head conv1x1, 2x2 pool] x depth`; the last stage's logits get the
/// inner product of its mean features with an embedding of the class. Heads at several scales after
/// Sauer et al. 2021 (Projected GANs), the class after Miyato & Koyama 2018; sizes are ours.
///
/// @param imageChannels channels of the images
/// @param classes 0 if it is not told the class
/// @param width channels of every convolution, a multiple of 4
/// @param depth stages; each halves the side
public record ConvDiscriminator(int imageChannels, int classes, int width, int depth)
    implements Net {
  private static final double LEAK = 0.2;
  private static final double EPS = 1e-5;

  @Override
  public void declare(Plan plan) {
    for (int i = 0; i < depth; i++) {
      conv(i).declare(plan);
      if (i > 0) {
        norm(i).declare(plan);
      }
      head(i).declare(plan);
    }
    if (classes > 0) {
      embedding().declare(plan);
    }
  }

  /// Logits `(N, h w)` of every stage, the finest first; large means real.
  ///
  /// @param x images `(N, H, W, C)`
  /// @param labels one-hot `(N, classes)`, null without classes
  public List<Var> apply(Tape tape, Parameters parameters, Var x, @Nullable Var labels) {
    List<Var> logits = new ArrayList<>();
    Var h = x;
    for (int i = 0; i < depth; i++) {
      h = conv(i).apply(tape, parameters, h);
      h = i > 0 ? norm(i).apply(tape, parameters, h) : h;
      h = h.leakyRelu(LEAK);
      Var patches = head(i).apply(tape, parameters, h);
      long samples = patches.shape().dim(0);
      patches = patches.reshape(samples, patches.shape().elements() / samples);
      if (i == depth - 1 && labels != null) {
        Var named = embedding().apply(tape, parameters, labels.cast(h.value().dtype()));
        Var agreement =
            h.mean(1, 2).cast(DType.F32).mul(named.cast(DType.F32)).sum(1).reshape(samples, 1);
        patches = patches.addBroadcast(agreement);
      }
      logits.add(patches);
      h = i < depth - 1 ? h.avgPool(2, 2) : h;
    }
    return logits;
  }

  private Conv conv(int stage) {
    return Conv.plain("conv" + stage, stage == 0 ? imageChannels : width, width, 3, 1, 1);
  }

  private Norm norm(int stage) {
    return Norm.edm("norm" + stage, width, EPS);
  }

  private Conv head(int stage) {
    return Conv.plain("head" + stage, width, 1, 1, 1, 0);
  }

  private Dense embedding() {
    return Dense.plain("embedding", classes, width).withoutBias();
  }
}
