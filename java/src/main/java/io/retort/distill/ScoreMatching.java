package io.retort.distill;

import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.Method.Role;
import io.retort.distill.Method.Terms;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.EdmLoss;
import io.retort.op.ScoreDifference;
import io.retort.tensor.Shape;
import java.util.List;

/// Teacher and critic at noised student images: the score difference that moves the student, and
/// the denoising loss that teaches the critic.
///
/// Sources: DMD, Yin et al. 2023 (arXiv 2311.18828), eq. 7 and 8; Diff-Instruct, Luo et al. 2023
/// (arXiv 2305.18455), eq. 3.4; EDM, Karras et al. 2022, eq. 2.
final class ScoreMatching {
  private static final int BINS = 1000;

  private ScoreMatching() {}

  /// A frozen teacher; a student and a critic that begin as it.
  static List<Role> roles(DiffusionNet network, AdamSpec student, AdamSpec critic) {
    return List.of(
        Role.frozen(Method.TEACHER, network),
        Role.copied(Method.STUDENT, network, student, true),
        Role.copied(Method.CRITIC, network, critic, false));
  }

  /// A critic phase of nothing but the denoising loss, at DMD2's levels and averaged over pixels.
  ///
  /// @param fake images without gradients
  static Terms critic(Nets nets, double sigmaData, Var fake, int[] labels, Noise noise) {
    float[] sigma = bins(nets, labels.length, noise);
    EdmLoss loss = new EdmLoss(sigmaData, EdmLoss.Pixels.MEAN);
    return WeightedSum.single("denoising", denoising(loss, nets, fake, sigma, labels, noise));
  }

  /// DMD2's noise levels: uniform over 1000 bins of EDM's curve, as far as the networks know it.
  static float[] bins(Nets nets, int count, Noise noise) {
    return noise.bins(KarrasSigmas.EDM, nets.preconditioning(), count, BINS, 0, 1);
  }

  /// DMD's noise levels of the score difference: neither the smallest nor the largest 2 % of the
  /// bins.
  static float[] middleBins(Nets nets, int count, Noise noise) {
    return noise.bins(KarrasSigmas.EDM, nets.preconditioning(), count, BINS, 0.02, 0.98);
  }

  /// The score difference at x of these levels; its gradient reaches x alone.
  ///
  /// @param x images of the student
  /// @param sigma a noise level each
  static Var difference(
      ScoreDifference form, Nets nets, Var x, float[] sigma, int[] labels, Noise noise) {
    Var noised = noise.add(x.detach(), sigma);
    Var byTeacher = nets.denoise(Method.TEACHER, noised, sigma, labels).detach();
    Var byCritic = nets.denoise(Method.CRITIC, noised, sigma, labels).detach();
    return nets.tape().apply(form, x, byTeacher, byCritic);
  }

  /// The score difference with the sample itself in the critic's place: score distillation, and how
  /// long the gradient naturally is before a critic has learnt anything, to calibrate weights with.
  /// Source: DMD, figure 3 ("real score only"); as a measure ours.
  static Var realScore(
      ScoreDifference form, Nets nets, Var x, float[] sigma, int[] labels, Noise noise) {
    Var byTeacher = nets.denoise(Method.TEACHER, noise.add(x.detach(), sigma), sigma, labels);
    return nets.tape().apply(form, x, byTeacher.detach(), x.detach());
  }

  /// The critic's denoising loss on images of the student.
  ///
  /// @param fake images without gradients
  static Var denoising(
      EdmLoss loss, Nets nets, Var fake, float[] sigma, int[] labels, Noise noise) {
    Var denoised = nets.denoise(Method.CRITIC, noise.add(fake, sigma), sigma, labels);
    Var level = nets.tape().constant(Shape.of(sigma.length), sigma);
    return nets.tape().apply(loss, denoised, fake, level);
  }

  /// A role's denoised images, `uncond + scale (cond - uncond)`, without gradients; one call where
  /// the scale is 1.
  static Var guided(Nets nets, String role, Var noised, float[] sigma, int[] labels, double scale) {
    Var told = nets.denoise(role, noised, sigma, labels).detach();
    if (scale == 1) {
      return told;
    }
    Var untold = nets.denoise(role, noised, sigma, null).detach();
    return untold.add(1 - scale, told, scale);
  }

  /// Refuses to call a role without the class where its network cannot be called so.
  ///
  /// @param guided whether [#guided] is asked for a scale other than 1
  /// @throws IllegalArgumentException if it has classes, but no null class
  static void requireNullClass(DiffusionNet network, boolean guided, double labelDropout) {
    Checks.require(
        network.classes() == 0 || network.hasNullClass() || !guided && labelDropout == 0,
        "guidance and guidance_high must be 1 and label_dropout 0: the teacher has no null class");
  }

  /// `mean(g^2) / 2`, whose gradient for x is `g / elements`: the direction g is held constant.
  static Var along(Var x, Var direction) {
    Var wanted = x.sub(direction).detach();
    return x.sub(wanted).square().mean().scale(0.5);
  }

  /// Variational score distillation: `sigma_t^2 (e_teacher - e_critic)` in variance preserving
  /// terms, that is along `sigma / (1 + sigma^2) (critic - teacher)`.
  ///
  /// @param byTeacher denoised images without gradients, as of the critic
  static Var variational(Var x, Var byTeacher, Var byCritic, float[] sigma) {
    double[] weight = new double[sigma.length];
    for (int i = 0; i < weight.length; i++) {
      weight[i] = sigma[i] / (1 + (double) sigma[i] * sigma[i]);
    }
    return along(x, perSample(byCritic.sub(byTeacher), weight));
  }

  /// Every sample of images times its factor.
  static Var perSample(Var images, double[] factors) {
    float[] values = new float[factors.length];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) factors[i];
    }
    Tape tape = images.tape();
    return images.mulBroadcast(tape.constant(Shape.of(values.length, 1, 1, 1), values));
  }
}
