package io.retort.backend;

import static io.retort.backend.CpuNumbers.CPU;
import static io.retort.backend.CpuNumbers.floats;
import static io.retort.backend.CpuNumbers.normal;
import static org.assertj.core.api.Assertions.assertThat;

import io.retort.bindings.cpu.NativeLibrary;
import io.retort.op.Conv2d;
import io.retort.tensor.DType;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Weights that are laid out once for many calls: results are the same to the last bit as without,
/// whatever the kernel, and a weight that is written in between is seen.
final class PackedWeightsTest {
  /// Calls that read a weight as it is.
  private static final int UNPACKED = 8;

  /// Below AVX2 dense layers read weights as they are.
  private static final boolean DENSE = NativeLibrary.cpu().isas().contains("avx2");

  @ParameterizedTest
  @CsvSource({
    "F32, 1, 16, 64, 96, 3, 1, 1", // Winograd, threads share out the channels
    "F32, 3, 16, 32, 48, 3, 1, 1", // Winograd, blocks
    "BF16, 2, 20, 64, 64, 3, 1, 1", // Winograd
    "F32, 1, 8, 160, 256, 3, 1, 1", // direct
    "BF16, 1, 8, 160, 256, 3, 1, 1",
    "F32, 6, 9, 24, 40, 3, 2, 1",
    "BF16, 6, 9, 24, 40, 3, 2, 4",
    "F32, 2, 8, 64, 192, 1, 1, 1",
    "BF16, 5, 8, 64, 192, 1, 1, 1"
  })
  void convolutionsAreTheSame(
      DType type, int n, int side, int in, int out, int kernel, int stride, int groups) {
    var conv = new Conv2d(stride, kernel / 2, groups);
    var random = new Random(7L * in + out);
    try (Scope scope = new Scope(CPU.memory())) {
      Tensor x = normal(scope, random, Shape.of(n, side, side, in), type);
      Tensor weight = normal(scope, random, Shape.of(out, in / groups, kernel, kernel), DType.F32);
      Tensor bias = normal(scope, random, Shape.of(out), DType.F32);
      Tensor y = scope.allocate(conv.infer(List.of(x.shape(), weight.shape())), type);
      Tensor gradOut = normal(scope, random, y.shape(), type);
      Tensor gradX = scope.allocate(x.shape(), type);
      staysTheSame(
          scope,
          weight,
          y,
          true,
          read -> CPU.convolutions().conv2d(conv, x, read, bias, null, null, y));
      staysTheSame(
          scope,
          weight,
          gradX,
          true,
          read -> CPU.convolutions().conv2dDataGradient(conv, gradOut, read, gradX));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "F32, 1, 512, 256", "F32, 7, 33, 65", "F32, 256, 384, 96", "F32, 3000, 64, 40",
    "BF16, 1, 512, 256", "BF16, 7, 33, 65", "BF16, 256, 384, 96", "BF16, 3000, 64, 40"
  })
  void denseLayersAreTheSame(DType type, int rows, int in, int out) {
    var random = new Random(31L * in + out);
    try (Scope scope = new Scope(CPU.memory())) {
      Tensor x = normal(scope, random, Shape.of(rows, in), type);
      Tensor weight = normal(scope, random, Shape.of(out, in), DType.F32);
      Tensor bias = normal(scope, random, Shape.of(out), DType.F32);
      Tensor y = scope.allocate(Shape.of(rows, out), type);
      staysTheSame(scope, weight, y, DENSE, read -> CPU.products().linear(x, read, bias, y));
      staysTheSame(scope, weight, y, DENSE, read -> CPU.products().linear(x, read, null, y));
    }
  }

  /// Calls a kernel with the weight again and again, and with other values in between.
  private static void staysTheSame(
      Scope scope, Tensor given, Tensor result, boolean packs, Consumer<Tensor> kernel) {
    Tensor weight = scope.allocate(given.shape()).copyFrom(given);
    long before = CPU.memory().packedBytes();
    float[] first = floatsAfter(scope, weight, result, kernel);
    for (int again = 1; again < UNPACKED; again++) {
      assertThat(floatsAfter(scope, weight, result, kernel)).containsExactly(first);
    }
    assertThat(CPU.memory().packedBytes()).as("packed at once").isEqualTo(before);
    for (int again = 0; again < 2; again++) {
      assertThat(floatsAfter(scope, weight, result, kernel)).containsExactly(first);
      assertThat(CPU.memory().packedBytes() > before).as("packed at last").isEqualTo(packs);
    }

    float[] values = weight.floats();
    float[] others = values.clone();
    for (int i = 0; i < others.length; i++) {
      others[i] = values[others.length - 1 - i];
    }
    Tensor fresh = scope.of(weight.shape(), others);
    float[] wanted = floatsAfter(scope, fresh, result, kernel);
    weight.set(others);
    floatsAfter(scope, weight, result, kernel);
    assertThat(CPU.memory().packedBytes()).as("given back").isEqualTo(before);
    for (int again = 0; again < UNPACKED + 1; again++) {
      assertThat(floatsAfter(scope, weight, result, kernel)).containsExactly(wanted);
    }
    weight.set(values);
    assertThat(floatsAfter(scope, weight, result, kernel)).containsExactly(first);
  }

  private static float[] floatsAfter(
      Scope scope, Tensor weight, Tensor result, Consumer<Tensor> kernel) {
    result.zero();
    kernel.accept(weight);
    return floats(scope, result);
  }

  @Test
  void everyWayOfWritingIsSeen() {
    var random = new Random(5);
    try (Scope scope = new Scope(CPU.memory())) {
      Shape shape = Shape.of(48, 64);
      Tensor arena = scope.zeros(Shape.of(48 * 64 + 16), DType.F32);
      Tensor weight = arena.view(scope, shape, 16);
      Tensor other = normal(scope, random, shape, DType.F32);
      Tensor average = scope.zeros(arena.shape(), DType.F32);
      List<Runnable> writes =
          List.of(
              () -> weight.set(other.floats()),
              () -> weight.set(70, new float[] {3, 4}, 2),
              () -> weight.set(MemorySegment.ofArray(other.floats())),
              () -> weight.zero(),
              () -> weight.copyFrom(other),
              () -> arena.set(100, new float[] {5}, 1),
              () -> adam(scope, arena, null),
              () -> adam(scope, average, arena),
              () -> CPU.elementwise().axpby(0.5, arena, 0.5, average, arena),
              () -> CPU.elementwise().accumulate(other, weight),
              () -> CPU.elementwise().affine(weight, 2, 1, weight),
              () ->
                  CPU.random()
                      .normal(weight, new PhiloxKey(1, PhiloxKey.Purpose.NOISE, 0, 0), 0, 0, 1),
              () -> CPU.layouts().insert(other, 0, 0, weight));
      Tensor x = normal(scope, random, Shape.of(4, 64), DType.F32);
      Tensor y = scope.allocate(Shape.of(4, 48));
      for (Runnable write : writes) {
        write.run();
        Tensor fresh = scope.allocate(shape).copyFrom(weight);
        CPU.products().linear(x, fresh, null, y);
        float[] wanted = y.floats();
        for (int again = 0; again < UNPACKED + 2; again++) {
          CPU.products().linear(x, weight, null, y);
          assertThat(y.floats()).containsExactly(wanted);
        }
      }
    }
  }

  /// One step of Adam on values whose gradient is 1.
  private static void adam(Scope scope, Tensor values, @Nullable Tensor average) {
    Tensor gradient = scope.allocate(values.shape());
    float[] ones = new float[Math.toIntExact(values.elements())];
    Arrays.fill(ones, 1);
    gradient.set(ones);
    Tensor norm = scope.of(Shape.of(1), 0L);
    Tensor first = scope.zeros(values.shape(), DType.F32);
    Tensor second = scope.zeros(values.shape(), DType.F32);
    CPU.optimizers()
        .adam(
            values, gradient, first, second, average, null, norm, 1, 0.1, 0.9, 0.999, 1e-8, 0, 0,
            0.5);
  }

  @Test
  void batchesShareABlockAndGiveItBack() {
    var conv = new Conv2d(1, 1, 1);
    var random = new Random(9);
    long before = CPU.memory().packedBytes();
    try (Scope scope = new Scope(CPU.memory())) {
      Tensor weight = normal(scope, random, Shape.of(64, 64, 3, 3), DType.F32);
      long one = 0;
      for (int again = 0; again < 2 * UNPACKED; again++) {
        int n = 1 + again % 5;
        Tensor x = normal(scope, random, Shape.of(n, 16, 16, 64), DType.F32);
        CPU.convolutions().conv2d(conv, x, weight, null, null, null, scope.allocate(x.shape()));
        one = Math.max(one, CPU.memory().packedBytes() - before);
      }
      assertThat(one).isBetween(36L * 64 * 64 * 4, 40L * 64 * 64 * 4);
    }
    assertThat(CPU.memory().packedBytes()).isEqualTo(before);
  }

  @Test
  void manyThreadsReadOneWeight() throws Exception {
    var conv = new Conv2d(1, 1, 1);
    var random = new Random(11);
    try (Scope scope = new Scope(CPU.memory());
        var pool = Executors.newFixedThreadPool(4)) {
      Tensor weight = normal(scope, random, Shape.of(64, 64, 3, 3), DType.F32);
      Tensor x = normal(scope, random, Shape.of(1, 16, 16, 64), DType.F32);
      Callable<float[]> call =
          () -> {
            try (Scope own = new Scope(CPU.memory())) {
              Tensor y = own.allocate(x.shape());
              for (int again = 0; again < 20; again++) {
                CPU.convolutions().conv2d(conv, x, weight, null, null, null, y);
              }
              return y.floats();
            }
          };
      float[] wanted = call.call();
      weight.target();
      for (var result : pool.invokeAll(List.of(call, call, call, call))) {
        assertThat(result.get()).containsExactly(wanted);
      }
    }
  }
}
