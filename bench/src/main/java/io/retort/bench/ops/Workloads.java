package io.retort.bench.ops;

import io.retort.bench.ops.OpWorkload.Pass;
import io.retort.op.Activation;
import io.retort.op.AddNoise;
import io.retort.op.Case.Input;
import io.retort.op.Conv2d;
import io.retort.op.EdmOutput;
import io.retort.op.GroupNorm;
import io.retort.op.Linear;
import io.retort.op.MatMul;
import io.retort.op.Mmd;
import io.retort.op.MmdKernel;
import io.retort.op.Op;
import io.retort.op.ScoreDifference;
import io.retort.op.SelfAttention;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.List;

/// What is worth timing: layers of EDM's U-Nets at batch 64, losses and optimizer steps of a
/// distillation.
final class Workloads {
  private static final List<Pass> PRODUCT =
      List.of(
          new Pass("data gradient", List.of(0), List.of(1), 1),
          new Pass("weight gradient", List.of(1), List.of(0), 1));
  private static final List<Pass> RECOMPUTED =
      List.of(new Pass("backward", List.of(0), List.of(0), 2.5));
  private static final List<Pass> NONE = List.of();

  private Workloads() {}

  /// All of them, those of a goal together.
  static List<Workload> all() {
    List<Workload> all = new ArrayList<>();
    both(all, attention("16x16 1 x 256", "G1", 1, 64, 16, 256));
    both(all, attention("8x8 1 x 256", "G1", 1, 64, 8, 256));
    both(all, attention("32x32 6 x 64", "G2", 6, 16, 32, 384));
    both(all, conv(3, 256, 256, 32, "G4a"));
    both(all, conv(3, 512, 256, 16, "G4a"));
    both(all, conv(3, 256, 256, 8, "G4c"));
    both(all, conv(1, 256, 768, 16, "G4c"));
    both(all, conv(3, 64, 64, 32, "G9b"));
    both(all, norm(32, "G5"));
    both(all, norm(8, "G5"));
    both(all, mmd("rbf 1024 x 2048", "G6a", MmdKernel.Rbf.standard(), 1024));
    both(all, mmd("rbf 4096 x 2048", "G6b", MmdKernel.Rbf.standard(), 4096));
    both(all, mmd("linear 1024 x 2048", "G6c", new MmdKernel.Linear(), 1024));
    all.add(scoreDifference("256 x 32x32x3", 256, 32, 3));
    all.add(scoreDifference("256 x 64x64x4", 256, 64, 4));
    all.add(addNoise());
    all.add(edmOutput());
    all.add(new AdamWorkload(55_734_000));
    all.add(new AdamWorkload(7_000_000));
    both(all, linear());
    both(all, matMul());
    both(all, silu());
    return all;
  }

  /// In float32 and with bfloat16 activations.
  private static void both(List<Workload> all, OpWorkload workload) {
    all.add(workload);
    all.add(
        new OpWorkload(
            workload.name(),
            workload.goal(),
            workload.op(),
            halved(workload.op(), workload.inputs()),
            halved(workload.op(), workload.few()),
            workload.outputs(),
            workload.passes()));
  }

  /// Weights and norm parameters stay float32.
  private static List<Input> halved(Op op, List<Input> inputs) {
    List<Input> halved = new ArrayList<>(inputs);
    boolean parameters = op instanceof Conv2d || op instanceof GroupNorm || op instanceof Linear;
    for (int i = 0; i < halved.size(); i++) {
      if (i == 0 || !parameters) {
        halved.set(i, halved.get(i).bf16());
      }
    }
    return halved;
  }

  private static OpWorkload attention(
      String what, String goal, int heads, int batch, int side, int channels) {
    return new OpWorkload(
        "self_attention " + what,
        goal,
        new SelfAttention(heads),
        List.of(Input.normal(batch, side, side, 3L * channels)),
        List.of(Input.normal(1, 3, 3, 48L * heads)),
        1,
        RECOMPUTED);
  }

  private static OpWorkload conv(int kernel, int in, int out, int side, String goal) {
    return new OpWorkload(
        "conv2d %dx%d %d-%d %dx%d".formatted(kernel, kernel, in, out, side, side),
        goal,
        new Conv2d(1, kernel / 2, 1),
        List.of(Input.normal(64, side, side, in), weight(out, in, kernel), Input.normal(out)),
        List.of(Input.normal(1, 4, 4, 16), weight(24, 16, kernel), Input.normal(24)),
        1,
        PRODUCT);
  }

  /// Of unit gain.
  private static Input weight(int out, int in, int kernel) {
    return Input.normal(
        0, Math.pow((double) in * kernel * kernel, -0.5), Shape.of(out, in, kernel, kernel));
  }

  private static OpWorkload norm(int side, String goal) {
    return new OpWorkload(
        "group_norm + silu 256 %dx%d".formatted(side, side),
        goal,
        new GroupNorm(32, 1e-6, true),
        List.of(Input.normal(64, side, side, 256), Input.normal(256), Input.normal(256)),
        List.of(Input.normal(2, 2, 2, 64), Input.normal(64), Input.normal(64)),
        1,
        List.of(new Pass("backward", List.of(0, 1, 2), List.of(0, 1, 2), 0)));
  }

  private static OpWorkload mmd(String what, String goal, MmdKernel kernel, int samples) {
    return new OpWorkload(
        "mmd " + what,
        goal,
        new Mmd(kernel, false),
        List.of(Input.normal(samples, 2048), Input.normal(0.3, 1, Shape.of(samples, 2048))),
        List.of(Input.normal(9, 20), Input.normal(0.3, 1, Shape.of(7, 20))),
        2,
        NONE);
  }

  private static OpWorkload scoreDifference(String what, int batch, int side, int channels) {
    Input images = Input.normal(batch, side, side, channels);
    Input few = Input.normal(2, 3, 3, 3);
    return new OpWorkload(
        "score_difference " + what,
        "G7",
        new ScoreDifference(ScoreDifference.Form.DMD, 1e-3),
        List.of(images, images, images),
        List.of(few, few, few),
        2,
        NONE);
  }

  private static OpWorkload addNoise() {
    return new OpWorkload(
        "add_noise 256 x 32x32x3",
        "G7",
        new AddNoise(new PhiloxKey(7, Purpose.NOISE, 3, 11)),
        List.of(Input.normal(256, 32, 32, 3), Input.uniform(0.002, 80, 256)),
        List.of(Input.normal(2, 3, 3, 3), Input.uniform(0.002, 80, 2)),
        1,
        NONE);
  }

  private static OpWorkload edmOutput() {
    Input images = Input.normal(256, 32, 32, 3);
    Input few = Input.normal(2, 3, 3, 3);
    return new OpWorkload(
        "edm_output 256 x 32x32x3",
        "G7",
        new EdmOutput(0.5),
        List.of(images, images, Input.uniform(0.002, 80, 256)),
        List.of(few, few, Input.uniform(0.002, 80, 2)),
        1,
        NONE);
  }

  private static OpWorkload linear() {
    return new OpWorkload(
        "linear 4096 x 512-2048",
        "",
        new Linear(),
        List.of(
            Input.normal(4096, 512),
            Input.normal(0, Math.pow(512, -0.5), Shape.of(2048, 512)),
            Input.normal(2048)),
        List.of(Input.normal(5, 24), Input.normal(0, 0.2, Shape.of(17, 24)), Input.normal(17)),
        1,
        PRODUCT);
  }

  private static OpWorkload matMul() {
    return new OpWorkload(
        "matmul 4096 x 4096 x 4096",
        "",
        new MatMul(false, false),
        List.of(Input.normal(4096, 4096), Input.normal(4096, 4096)),
        List.of(Input.normal(20, 24), Input.normal(24, 17)),
        1,
        NONE);
  }

  private static OpWorkload silu() {
    return new OpWorkload(
        "silu 64 x 32x32x256",
        "",
        new Activation(Activation.Kind.SILU, 0),
        List.of(Input.normal(64, 32, 32, 256)),
        List.of(Input.normal(2, 3, 3, 5)),
        1,
        List.of(new Pass("backward", List.of(0), List.of(0), 0)));
  }
}
