package io.retort.distill;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.RandomConvNet;
import io.retort.op.Add;
import io.retort.op.Affine;
import io.retort.op.Mmd;
import io.retort.op.MmdKernel;
import io.retort.tensor.PhiloxKey;

/// MMD between generated and real images in the feature space of untrained networks, fresh at every
/// call.
///
/// `L = 1/M sum_m MMD^2(phi_m(x), phi_m(y))`; gradients reach x through the networks, never their
/// weights. Source: Ying et al. 2026 ("Efficient Diffusion Distillation via Embedding Loss");
/// architectures after Zhao & Bilen 2023. Kernel, bank and sizes are our choices: the paper's were
/// not to be had.
///
/// @param bank which networks may be drawn
/// @param networks M, networks per call
/// @param width channels of their convolutions
/// @param depth most stages of one network
/// @param kernel kernel of the MMD
/// @param unbiased U-statistic (no self-pairs), needed at small batches
public record EmbeddingLoss(
    RandomConvNet.Bank bank,
    int networks,
    int width,
    int depth,
    MmdKernel kernel,
    boolean unbiased) {

  private static final int STREAMS_PER_NETWORK = 16;

  public EmbeddingLoss {
    if (networks < 1 || networks > 4 || width < 1 || depth < 1) {
      throw new IllegalArgumentException(
          "embedding: networks must be 1 to 4, width and depth at least 1, got "
              + networks
              + ", "
              + width
              + ", "
              + depth);
    }
  }

  /// The loss of generated images x against real images y, both `(N, H, W, C)`.
  public Var compute(Var x, Var y, PhiloxKey key) {
    Tape tape = x.tape();
    Var total = one(tape, x, y.detach(), key);
    for (int m = 1; m < networks; m++) {
      Var next = one(tape, x, y.detach(), key.stream(key.stream() + m * STREAMS_PER_NETWORK));
      total = tape.apply(new Add(1, 1), total, next);
    }
    return networks == 1 ? total : tape.apply(new Affine(1.0 / networks, 0), total);
  }

  private Var one(Tape tape, Var x, Var y, PhiloxKey key) {
    int channels = (int) x.shape().last();
    RandomConvNet net = RandomConvNet.draw(bank, channels, width, depth, key);
    Parameters weights = net.plan().initialise(tape.scope(), key.stream(key.stream() + 1));
    Var u = net.apply(tape, weights, x);
    Var v = net.apply(tape, weights, y);
    return tape.apply(new Mmd(kernel, unbiased), u, v);
  }
}
