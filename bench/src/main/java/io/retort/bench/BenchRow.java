package io.retort.bench;

import java.util.List;
import java.util.Optional;

/// One line of the table of [StepBench]: work that every contestant does, and how it is sampled.
///
/// @param name as the workers know it; ends in its precision
/// @param times repetitions in a sample, so that short work lasts long enough to be timed
/// @param every sampled in every so many rounds: long work needs fewer samples
/// @param checks times it is done before anything counts, with hashed numbers
/// @param tolerance largest relative difference of the values of two engines in these
public record BenchRow(String name, int times, int every, int checks, double tolerance) {
  private static final double FLOAT32 = 2e-3;
  private static final double BFLOAT16 = 3e-2;

  /// Calls after which an engine has laid out the weights that it reads again and again.
  static final int SERVING = 10;

  /// Six standard errors of the mean square of 800,000 sums that hold a normal number each.
  private static final double DRAWN = 1e-2;

  /// A set of rows and who does them.
  ///
  /// @param worker Retort's main class
  /// @param script PyTorch's, in `bench/peers/pytorch`
  /// @param libtorch libtorch's main class, in `bench/peers/libtorch`; absent where it does no row
  public record Suite(
      String name, String worker, String script, Optional<String> libtorch, List<BenchRow> rows) {}

  /// Whole steps of the small U-Net of [StepSpec].
  public static final Suite STEPS =
      new Suite(
          "steps",
          RetortStep.class.getName(),
          "steps.py",
          Optional.of("io.retort.bench.libtorch.TorchStep"),
          List.of(
              new BenchRow("unet_forward_fp32", 1, 1, 4, FLOAT32),
              new BenchRow("unet_train_fp32", 1, 1, 4, FLOAT32),
              new BenchRow("unet_forward_bf16", 1, 1, 2, BFLOAT16),
              new BenchRow("unet_train_bf16", 1, 1, 2, BFLOAT16),
              new BenchRow("distill_fp32", 1, 1, 2, FLOAT32),
              new BenchRow("distill_bf16", 1, 1, 2, BFLOAT16),
              new BenchRow("sample_fp32", 1, 4, 1, 1e-2),
              new BenchRow("sample_bf16", 1, 4, 1, 0.1)));

  /// Single ops at the shapes of that U-Net and of the losses.
  public static final Suite OPS =
      new Suite(
          "ops",
          RetortOps.class.getName(),
          "cpu_ops.py",
          Optional.of("io.retort.bench.libtorch.TorchConvolutions"),
          List.of(
              op("gemm_2048_fp32", 2),
              op("gemm_2048_bf16", 4),
              op("conv_64_32_forward_fp32", 8),
              op("conv_64_32_data_fp32", 8),
              op("conv_64_32_weight_fp32", 8),
              op("conv_128_16_forward_fp32", 8),
              op("conv_128_16_data_fp32", 8),
              op("conv_128_16_weight_fp32", 8),
              op("conv_64_32_forward_bf16", 16),
              op("conv_64_32_data_bf16", 16),
              op("conv_64_32_weight_bf16", 16),
              op("attention_h4_n256_d64_fp32", 2),
              op("attention_h1_n256_d256_fp32", 2),
              op("attention_h1_n256_d256_bf16", 4),
              op("mmd5_n1024_d2048_fp32", 1),
              new BenchRow("noise_256_fp32", 40, 1, 1, DRAWN),
              op("dmd_gradient_256_fp32", 80),
              op("group_norm_silu_fp32", 8),
              op("group_norm_silu_bf16", 8),
              op("adam_ema_fp32", 8)));

  /// One pass of a network that others have trained: EDM's for CIFAR-10.
  public static final Suite MODELS =
      new Suite(
          "models",
          RetortModel.class.getName(),
          "models.py",
          Optional.empty(),
          List.of(
              new BenchRow("edm_denoise_fp32", 1, 1, SERVING, FLOAT32),
              new BenchRow("edm_denoise_bf16", 1, 1, SERVING, BFLOAT16)));

  private static BenchRow op(String name, int times) {
    return new BenchRow(name, times, 1, 1, name.endsWith("bf16") ? BFLOAT16 : FLOAT32);
  }

  /// `fp32` or `bf16`.
  public String precision() {
    return name.substring(name.lastIndexOf('_') + 1);
  }

  /// The row without its precision.
  public String work() {
    return name.substring(0, name.lastIndexOf('_'));
  }

  /// Whether round `round`, from 0, samples it.
  public boolean in(int round) {
    return round % every == 0;
  }
}
