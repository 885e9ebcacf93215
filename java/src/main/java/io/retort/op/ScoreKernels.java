package io.retort.op;

import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// Noising, EDM preconditioning and score-distillation losses. Float32; images `(N, ...)`, sigma
/// `(N)`, losses `()`.
public interface ScoreKernels {

  /// `out_i = x_i + sigma_n e_i`, e_i standard normal: number i of the key's stream.
  void addNoise(Tensor x, Tensor sigma, PhiloxKey key, Tensor out);

  /// `out = x / sqrt(sigmaData^2 + sigma^2)`; also its own backward.
  void edmInput(Tensor x, Tensor sigma, double sigmaData, Tensor out);

  /// `out = c_skip x + c_out f`.
  void edmOutput(Tensor x, Tensor f, Tensor sigma, double sigmaData, Tensor out);

  /// Gradients of [#edmOutput]; the one that is null is skipped.
  void edmOutputBackward(
      Tensor dout, Tensor sigma, double sigmaData, @Nullable Tensor dx, @Nullable Tensor df);

  /// Weighted denoising loss and its gradient with respect to `d`.
  void edmLoss(
      Tensor d,
      Tensor y,
      Tensor sigma,
      double sigmaData,
      boolean mean,
      Tensor loss,
      Tensor gradient);

  /// Score-difference gradient with respect to `x`, and half its (scaled) square as the loss.
  void scoreDifference(
      Tensor x,
      Tensor real,
      Tensor fake,
      ScoreDifference.Form form,
      double floor,
      Tensor loss,
      Tensor gradient);

  /// SiD loss with its gradients.
  void sid(
      Tensor x,
      Tensor real,
      Tensor fake,
      double alpha,
      double floor,
      Tensor loss,
      Tensor dx,
      Tensor dreal,
      Tensor dfake);
}
