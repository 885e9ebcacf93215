package io.retort.bench;

import io.retort.backend.CpuBackend;
import io.retort.backend.MeasuredPeaks;
import io.retort.op.Backend;
import io.retort.op.Conv2d;
import io.retort.op.MmdKernel;
import io.retort.op.ScoreDifference;
import io.retort.tensor.DType;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/// Retort's side of the single ops of [StepBench]: kernels on tensors that are made once.
public final class RetortOps implements StepWorker {
  private static final int ADAM_ELEMENTS = 9_961_472;

  /// Work on tensors that are there already.
  private interface Work {
    void run();
  }

  /// @param result what the work writes; its mean square is the row's value
  private record Prepared(Work work, Tensor result, double flops) {}

  private final Backend backend;
  private final Scope scope;
  private final Map<String, Prepared> prepared = new HashMap<>();
  private long steps;

  RetortOps(Backend backend) {
    this.backend = backend;
    scope = new Scope(backend.memory());
  }

  public static void main(String... arguments) throws IOException {
    try (var ops = new RetortOps(RetortStep.backend(arguments))) {
      StepWorker.serve(ops);
    }
  }

  @Override
  public Map<String, String> facts() {
    Map<String, String> facts = new HashMap<>();
    facts.put("engine", "retort " + backend.name());
    facts.put("parameters", "0");
    if (backend instanceof CpuBackend) {
      MeasuredPeaks peaks = MeasuredPeaks.of(backend);
      facts.put("peak_fp32", Double.toString(peaks.float32()));
      facts.put("peak_bf16", Double.toString(peaks.bfloat16()));
      facts.put("peak_copy", Double.toString(peaks.copy()));
    }
    for (BenchRow row : BenchRow.OPS.rows()) {
      double flops = prepared(row.name()).flops();
      if (flops > 0) {
        facts.put("flops_" + row.work(), Double.toString(flops));
      }
    }
    return facts;
  }

  @Override
  public List<String> rows() {
    return BenchRow.OPS.rows().stream().map(BenchRow::name).toList();
  }

  @Override
  public double run(String row, boolean check) {
    Prepared each = prepared(row);
    each.work().run();
    return check ? meanSquare(each.result()) : 0;
  }

  private double meanSquare(Tensor result) {
    if (result.dtype() == DType.F32) {
      return RetortStep.meanSquare(result.floats());
    }
    try (var copy = new Scope(backend.memory())) {
      Tensor wide = copy.allocate(result.shape(), DType.F32);
      backend.elementwise().cast(result, wide);
      return RetortStep.meanSquare(wide.floats());
    }
  }

  private Prepared prepared(String row) {
    return prepared.computeIfAbsent(row, this::prepare);
  }

  private Prepared prepare(String row) {
    DType type = RetortStep.type(row);
    String[] words = row.split("_");
    return switch (words[0]) {
      case "gemm" -> gemm(Integer.parseInt(words[1]), type);
      case "conv" ->
          convolution(Integer.parseInt(words[1]), Integer.parseInt(words[2]), words[3], type);
      case "attention" -> attention(number(words[1]), number(words[2]), number(words[3]), type);
      case "mmd5" -> mmd(number(words[1]), number(words[2]), type);
      case "noise" -> noise(Integer.parseInt(words[1]));
      case "dmd" -> scoreDifference(Integer.parseInt(words[2]));
      case "group" -> groupNorm(type);
      case "adam" -> adam();
      default -> throw new IllegalArgumentException("ops: no row " + row);
    };
  }

  private static int number(String word) {
    return Integer.parseInt(word.substring(1));
  }

  private Prepared gemm(int side, DType type) {
    Tensor a = hashed(0, type, side, side);
    Tensor b = hashed(1, type, side, side);
    Tensor c = scope.allocate(Shape.of(side, side), type);
    return new Prepared(
        () -> backend.products().matmul(a, false, b, false, c), c, 2.0 * side * side * side);
  }

  private Prepared convolution(int channels, int side, String pass, DType type) {
    var conv = new Conv2d(1, 1, 1);
    Tensor x = hashed(0, type, 32, side, side, channels);
    Tensor weight = hashed(1, DType.F32, channels, channels, 3, 3);
    Tensor gradOut = hashed(2, type, 32, side, side, channels);
    Tensor out = scope.allocate(x.shape(), type);
    Tensor gradWeight = scope.allocate(weight.shape(), DType.F32);
    double flops = 2.0 * 32 * side * side * channels * channels * 9;
    return switch (pass) {
      case "forward" ->
          new Prepared(
              () -> backend.convolutions().conv2d(conv, x, weight, null, null, null, out),
              out,
              flops);
      case "data" ->
          new Prepared(
              () -> backend.convolutions().conv2dDataGradient(conv, gradOut, weight, out),
              out,
              flops);
      default ->
          new Prepared(
              () -> backend.convolutions().conv2dWeightGradient(conv, x, gradOut, gradWeight, null),
              gradWeight,
              flops);
    };
  }

  private Prepared attention(int heads, int tokens, int size, DType type) {
    int channels = heads * size;
    Tensor q = hashed(0, type, 32, tokens, channels);
    Tensor k = hashed(1, type, 32, tokens, channels);
    Tensor v = hashed(2, type, 32, tokens, channels);
    Tensor gradOut = hashed(3, type, 32, tokens, channels);
    Tensor out = scope.allocate(q.shape(), type);
    Tensor lse = scope.allocate(Shape.of(32, heads, tokens), DType.F32);
    Tensor dq = scope.allocate(q.shape(), type);
    Tensor dk = scope.allocate(q.shape(), type);
    Tensor dv = scope.allocate(q.shape(), type);
    double product = 2.0 * 32 * heads * tokens * tokens * size;
    return new Prepared(
        () -> {
          backend.attention().attention(q, k, v, heads, out, lse);
          backend.attention().attentionGradient(q, k, v, heads, out, lse, gradOut, dq, dk, dv);
        },
        dk,
        7 * product);
  }

  private Prepared mmd(int count, int dimension, DType type) {
    Tensor u = hashed(0, type, count, dimension);
    Tensor v = hashed(1, type, count, dimension);
    Tensor loss = scope.allocate(Shape.of(), DType.F32);
    Tensor gradient = scope.allocate(u.shape(), DType.F32);
    return new Prepared(
        () -> backend.mmd().mmd(MmdKernel.Rbf.standard(), false, u, v, loss, gradient),
        loss,
        8.0 * count * count * dimension);
  }

  private Prepared noise(int batch) {
    Tensor x = hashed(0, DType.F32, batch, 32, 32, 3);
    Tensor sigma = positive(1, batch);
    Tensor out = scope.allocate(x.shape(), DType.F32);
    var key = new PhiloxKey(0, Purpose.NOISE, 0, 0);
    return new Prepared(() -> backend.scores().addNoise(x, sigma, key, out), out, 0);
  }

  private Prepared scoreDifference(int batch) {
    Tensor x = hashed(0, DType.F32, batch, 32, 32, 3);
    Tensor real = hashed(1, DType.F32, batch, 32, 32, 3);
    Tensor fake = hashed(2, DType.F32, batch, 32, 32, 3);
    Tensor loss = scope.allocate(Shape.of(), DType.F32);
    Tensor gradient = scope.allocate(x.shape(), DType.F32);
    return new Prepared(
        () ->
            backend
                .scores()
                .scoreDifference(x, real, fake, ScoreDifference.Form.DMD, 1e-6, loss, gradient),
        gradient,
        0);
  }

  private Prepared groupNorm(DType type) {
    Tensor x = hashed(0, type, 32, 32, 32, 128);
    Tensor gradOut = hashed(1, type, 32, 32, 32, 128);
    Tensor gamma = positive(2, 128);
    Tensor beta = hashed(3, DType.F32, 128);
    Tensor y = scope.allocate(x.shape(), type);
    Tensor mean = scope.allocate(Shape.of(32, 32), DType.F32);
    Tensor rstd = scope.allocate(Shape.of(32, 32), DType.F32);
    Tensor gradX = scope.allocate(x.shape(), type);
    Tensor gradGamma = scope.allocate(gamma.shape(), DType.F32);
    Tensor gradBeta = scope.allocate(beta.shape(), DType.F32);
    return new Prepared(
        () -> {
          backend.norms().groupNorm(32, 1e-5, true, x, gamma, beta, y, mean, rstd);
          backend
              .norms()
              .groupNormGradient(
                  32, true, x, gradOut, gamma, beta, mean, rstd, gradX, gradGamma, gradBeta);
        },
        gradX,
        0);
  }

  private Prepared adam() {
    Tensor value = hashed(0, DType.F32, ADAM_ELEMENTS);
    Tensor gradient = hashed(1, DType.F32, ADAM_ELEMENTS);
    Tensor first = scope.zeros(value.shape(), DType.F32);
    Tensor second = scope.zeros(value.shape(), DType.F32);
    Tensor average = hashed(0, DType.F32, ADAM_ELEMENTS);
    Tensor norm = scope.allocate(Shape.of(1), DType.I64);
    return new Prepared(
        () ->
            backend
                .optimizers()
                .adam(
                    value, gradient, first, second, average, null, norm, ++steps, 1e-2, 0.9, 0.999,
                    1e-8, 0, 0, 0.999),
        value,
        0);
  }

  private Tensor hashed(int stream, DType type, long... extents) {
    Shape shape = Shape.of(extents);
    Tensor wide = scope.of(shape, values(stream, shape, 1, 0));
    if (type == DType.F32) {
      return wide;
    }
    Tensor narrow = scope.allocate(shape, type);
    backend.elementwise().cast(wide, narrow);
    scope.release(wide);
    return narrow;
  }

  /// Values in [0.5, 1.5).
  private Tensor positive(int stream, long count) {
    Shape shape = Shape.of(count);
    return scope.of(shape, values(stream, shape, 0.5, 1));
  }

  private static float[] values(int stream, Shape shape, double scale, double shift) {
    float[] values = new float[Math.toIntExact(shape.elements())];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (shift + scale * StepSpec.uniform(stream, i));
    }
    return values;
  }

  @Override
  public void close() {
    scope.close();
  }
}
