package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.PanamaDriver;
import io.retort.op.Conv2d;
import io.retort.op.ConvolutionKernels;
import io.retort.op.ElementwiseKernels;
import io.retort.op.ProductKernels;
import io.retort.tensor.DType;
import io.retort.tensor.Memory;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;

/// Every tile and every way to cut a product, on shapes that overlap the tiles' edges: tilings that
/// small shapes do not get by themselves are forced. The CPU says what is right.
final class CudaProductTest {
  private static final PanamaDriver DRIVER =
      PanamaDriver.open(CudaLibrary.open(CudaLibrary.EMULATOR));
  private static final CudaContext CONTEXT =
      CudaContext.open(DRIVER, CudaDevice.list(DRIVER).getFirst());
  private static final ElementwiseKernels CASTS = new CudaElementwise(CONTEXT);
  private static final CudaReduction SUMS = new CudaReduction(CONTEXT);
  private static final CpuBackend CPU = CpuBackend.open();

  /// Rounding of sums of up to 400 products in different orders, relative to the largest result;
  /// for bf16 one unit of the result's last place.
  private static final double EXACT = 1e-5;

  private static final double ROUNDED = 1.0 / 128;

  @AfterAll
  static void close() {
    CONTEXT.close();
  }

  /// The kernels of one device, and how to cast there.
  private record Device(
      Memory memory,
      ElementwiseKernels casts,
      ProductKernels products,
      ConvolutionKernels convolutions) {

    static Device cpu() {
      return new Device(CPU.memory(), CPU.elementwise(), CPU.products(), CPU.convolutions());
    }

    static Device cuda(CudaTiling tiling) {
      var gemm = new CudaGemm(CONTEXT, (type, matrices, rows, columns, steps) -> tiling, null);
      return new Device(
          CONTEXT.memory(),
          CASTS,
          new CudaProduct(gemm, SUMS),
          new CudaConvolution(CONTEXT, gemm, SUMS));
    }
  }

  /// Inputs and results of one computation on one device; inputs are the same on each.
  private static final class Bench implements AutoCloseable {
    final Device device;
    final DType type;
    private final Scope scope;
    private final Random random = new Random(7);
    private final List<Tensor> results = new ArrayList<>();

    Bench(Device device, DType type) {
      this.device = device;
      this.type = type;
      scope = new Scope(device.memory);
    }

    Tensor input(DType stored, long... dims) {
      Tensor values = scope.allocate(Shape.of(dims));
      float[] floats = new float[Math.toIntExact(values.elements())];
      for (int i = 0; i < floats.length; i++) {
        floats[i] = (float) random.nextGaussian();
      }
      return cast(values.set(floats), stored);
    }

    Tensor result(DType stored, long... dims) {
      Tensor result = scope.allocate(Shape.of(dims), stored);
      results.add(result);
      return result;
    }

    private Tensor cast(Tensor x, DType stored) {
      if (x.dtype() == stored) {
        return x;
      }
      Tensor out = scope.allocate(x.shape(), stored);
      device.casts.cast(x, out);
      return out;
    }

    List<float[]> values() {
      return results.stream().map(result -> cast(result, DType.F32).floats()).toList();
    }

    @Override
    public void close() {
      scope.close();
    }
  }

  private interface Computation {
    void run(Bench bench);
  }

  /// Compares the devices over both types, every tile, whole sums and sums in parts.
  private static void everyTiling(String what, Computation computation) {
    for (DType type : List.of(DType.F32, DType.BF16)) {
      List<float[]> expected = results(Device.cpu(), type, computation);
      for (int tile = 0; tile < CudaTile.of(type).size(); tile++) {
        for (int parts : new int[] {1, 3}) {
          Device device = Device.cuda(new CudaTiling(tile, parts));
          List<float[]> actual = results(device, type, computation);
          String name = "%s, %s in %d".formatted(what, CudaTile.of(type).get(tile), parts);
          for (int i = 0; i < expected.size(); i++) {
            assertThat(difference(actual.get(i), expected.get(i)))
                .as("%s, result %d", name, i)
                .isLessThan(type == DType.F32 ? EXACT : ROUNDED);
          }
        }
      }
    }
  }

  private static List<float[]> results(Device device, DType type, Computation computation) {
    try (var bench = new Bench(device, type)) {
      computation.run(bench);
      return bench.values();
    }
  }

  /// The largest error relative to the largest value; NaN is infinite.
  private static double difference(float[] actual, float[] expected) {
    double worst = 0;
    double largest = 0;
    for (int i = 0; i < expected.length; i++) {
      double error = Math.abs(actual[i] - expected[i]);
      worst = Math.max(worst, error == error ? error : Double.POSITIVE_INFINITY);
      largest = Math.max(largest, Math.abs(expected[i]));
    }
    return worst / largest;
  }

  @Test
  void productsOverTheEdges() {
    for (boolean transposeA : new boolean[] {false, true}) {
      for (boolean transposeB : new boolean[] {false, true}) {
        everyTiling(
            "transposed " + transposeA + " " + transposeB,
            bench -> {
              matmul(bench, 1, 130, 264, 72, transposeA, transposeB);
              matmul(bench, 3, 9, 33, 130, transposeA, transposeB);
            });
      }
    }
  }

  private static void matmul(
      Bench bench, long batch, long m, long n, long k, boolean transposeA, boolean transposeB) {
    DType type = bench.type;
    Tensor a = bench.input(type, batch, transposeA ? k : m, transposeA ? m : k);
    Tensor b = bench.input(type, batch, transposeB ? n : k, transposeB ? k : n);
    bench.device.products.matmul(a, transposeA, b, transposeB, bench.result(type, batch, m, n));
  }

  @Test
  void denseLayers() {
    everyTiling("aligned", bench -> dense(bench, 70, 40, 136));
    everyTiling("odd", bench -> dense(bench, 270, 37, 11));
  }

  private static void dense(Bench bench, long rows, long in, long out) {
    ProductKernels products = bench.device.products;
    Tensor x = bench.input(bench.type, rows, in);
    Tensor weight = bench.input(DType.F32, out, in);
    Tensor bias = bench.input(DType.F32, out);
    Tensor gradOut = bench.input(bench.type, rows, out);
    products.linear(x, weight, bias, bench.result(bench.type, rows, out));
    products.linear(x, weight, null, bench.result(bench.type, rows, out));
    products.linearDataGradient(gradOut, weight, bench.result(bench.type, rows, in));
    products.linearWeightGradient(x, gradOut, bench.result(DType.F32, out, in));
    products.linearBiasGradient(gradOut, bench.result(DType.F32, out));
  }

  @Test
  void convolutionsOverTheEdges() {
    everyTiling("3x3", bench -> convolve(bench, new Conv2d(1, 1, 1), 1, 9, 15, 40, 72, 3, 3));
    everyTiling("2x1", bench -> convolve(bench, new Conv2d(1, 0, 1), 1, 11, 14, 24, 264, 2, 1));
    everyTiling("oblong", bench -> convolve(bench, new Conv2d(1, 0, 1), 2, 8, 9, 48, 16, 3, 2));
    everyTiling("odd", bench -> convolve(bench, new Conv2d(1, 1, 1), 1, 6, 7, 13, 11, 3, 3));
    everyTiling("1x1", bench -> convolve(bench, new Conv2d(1, 0, 1), 2, 5, 7, 24, 72, 1, 1));
  }

  @Test
  void convolutionsWithStride() {
    everyTiling("4x4", bench -> convolve(bench, new Conv2d(2, 1, 1), 3, 9, 8, 24, 72, 4, 4));
    everyTiling(
        "pixels that no tap meets",
        bench -> convolve(bench, new Conv2d(3, 0, 1), 2, 9, 8, 8, 24, 2, 1));
    everyTiling(
        "stride beyond the image",
        bench -> convolve(bench, new Conv2d(5, 3, 1), 5, 2, 3, 8, 16, 4, 4));
  }

  @Test
  void imagesSmallerThanATile() {
    everyTiling(
        "more kernel than image",
        bench -> convolve(bench, new Conv2d(1, 2, 1), 33, 2, 2, 16, 24, 5, 3));
    everyTiling(
        "one pixel each", bench -> convolve(bench, new Conv2d(1, 0, 1), 40, 4, 4, 8, 8, 4, 4));
  }

  @Test
  void thinSides() {
    everyTiling("thin input", bench -> convolve(bench, new Conv2d(1, 1, 1), 2, 6, 13, 3, 72, 3, 3));
    everyTiling(
        "thin output", bench -> convolve(bench, new Conv2d(1, 1, 1), 2, 6, 13, 72, 3, 3, 3));
    everyTiling(
        "thin input, stride 2", bench -> convolve(bench, new Conv2d(2, 1, 1), 2, 7, 6, 4, 9, 4, 4));
    everyTiling(
        "thin output, stride 2",
        bench -> convolve(bench, new Conv2d(2, 0, 1), 2, 7, 6, 9, 2, 3, 2));
  }

  @Test
  void longKernels() {
    everyTiling(
        "more taps than bits",
        bench -> convolve(bench, new Conv2d(1, 8, 1), 1, 5, 17, 6, 5, 1, 17));
    everyTiling(
        "patches side by side",
        bench -> convolve(bench, new Conv2d(16, 0, 1), 2, 16, 33, 3, 72, 16, 16));
  }

  @Test
  void shapesThatTakeNoProduct() {
    everyTiling(
        "out of proportion", bench -> convolve(bench, new Conv2d(1, 0, 1), 2, 2, 30, 6, 5, 1, 16));
    everyTiling("groups", bench -> convolve(bench, new Conv2d(2, 1, 3), 2, 5, 6, 9, 6, 3, 3));
  }

  /// A convolution with bias and all its gradients.
  private static void convolve(
      Bench bench, Conv2d conv, long n, long h, long w, long in, long out, long kh, long kw) {
    ConvolutionKernels convolutions = bench.device.convolutions;
    Tensor x = bench.input(bench.type, n, h, w, in);
    Tensor weight = bench.input(DType.F32, out, in / conv.groups(), kh, kw);
    Tensor bias = bench.input(DType.F32, out);
    long[] y = conv.infer(List.of(x.shape(), weight.shape())).dims();
    Tensor gradOut = bench.input(bench.type, y);
    convolutions.conv2d(conv, x, weight, bias, null, null, bench.result(bench.type, y));
    convolutions.conv2dDataGradient(conv, gradOut, weight, bench.result(bench.type, n, h, w, in));
    convolutions.conv2dWeightGradient(
        conv,
        x,
        gradOut,
        bench.result(DType.F32, weight.shape().dims()),
        bench.result(DType.F32, out));
  }
}
