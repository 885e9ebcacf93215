package io.retort.backend;

import io.retort.op.Pool;
import io.retort.op.Resample;
import io.retort.op.ResampleKernels;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;

/// [ResampleKernels] as `cuda/pool.cu` and `cuda/resample.cu` compute them.
///
/// Launches: those of [CudaLines] over what is written, each thread 16 bytes of channels.
final class CudaResample implements ResampleKernels {
  /// Filters of this many taps are arguments of the kernel; any other is uploaded.
  private static final int SHORT = 2;

  private static final int LONG = 4;

  private final CudaContext context;
  private final CudaKernels mean;
  private final CudaKernels meanGradient;
  private final CudaKernels maximum;
  private final CudaKernels maximumGradient;
  private final CudaKernels down;
  private final CudaKernels up;

  CudaResample(CudaContext context) {
    this.context = context;
    var pool = new CudaModule(context, "pool");
    mean = pool.typed("rt_avg_pool", "pplllllii");
    meanGradient = pool.typed("rt_avg_pool_gradient", "pplllllii");
    maximum = pool.typed("rt_max_pool", "pplllllii");
    maximumGradient = pool.typed("rt_max_pool_gradient", "ppplllllii");
    var resample = new CudaModule(context, "resample");
    down = resample.typed("rt_resample_down", "pppffffilllll");
    up = resample.typed("rt_resample_up", "pppffffilllll");
  }

  @Override
  public void pool(Pool.Kind kind, int kernel, int stride, Tensor x, Tensor y) {
    CudaKernels kernels =
        switch (kind) {
          case AVG -> mean;
          case MAX -> maximum;
        };
    CudaKernel launch = kernels.begin(x.dtype()).pointer(x).pointer(y);
    over(windows(launch, kernel, stride, x, y), y);
  }

  @Override
  public void poolGradient(
      Pool.Kind kind, int kernel, int stride, Tensor x, Tensor gradOut, Tensor gradX) {
    CudaKernel launch =
        switch (kind) {
          case AVG -> meanGradient.begin(gradX.dtype());
          case MAX -> maximumGradient.begin(gradX.dtype()).pointer(x);
        };
    launch.pointer(gradOut).pointer(gradX);
    over(windows(launch, kernel, stride, gradX, gradOut), gradX);
  }

  /// The sizes of the image and of its windows, and the windows.
  private static CudaKernel windows(
      CudaKernel launch, int kernel, int stride, Tensor image, Tensor windows) {
    Shape x = CudaLines.checked("pool", image.shape());
    Shape y = windows.shape();
    return launch
        .i64(x.dim(1))
        .i64(x.dim(2))
        .i64(x.dim(3))
        .i64(y.dim(1))
        .i64(y.dim(2))
        .i32(kernel)
        .i32(stride);
  }

  private static void over(CudaKernel launch, Tensor written) {
    Shape shape = written.shape();
    CudaLines.launch(launch, shape, CudaLines.pack(written.dtype(), shape.dim(3)));
  }

  @Override
  public void resample(Resample.Direction direction, List<Double> filter, Tensor x, Tensor y) {
    switch (direction) {
      case DOWN -> apply(down, filter, 1, x, y);
      case UP -> apply(up, filter, 2, x, y);
    }
  }

  /// The transposed map: the other kernel with the same weights.
  @Override
  public void resampleGradient(
      Resample.Direction direction, List<Double> filter, Tensor gradOut, Tensor gradX) {
    switch (direction) {
      case DOWN -> apply(up, filter, 1, gradOut, gradX);
      case UP -> apply(down, filter, 2, gradOut, gradX);
    }
  }

  /// One pass with the filter's taps, whose sum along an axis is `gain`.
  private void apply(CudaKernels kernels, List<Double> filter, double gain, Tensor x, Tensor y) {
    double sum = 0;
    for (double tap : filter) {
      sum += tap;
    }
    double scale = gain / sum;
    if (filter.size() == SHORT || filter.size() == LONG) {
      apply(kernels, filter, scale, 0, x, y);
    } else {
      CudaMemory memory = context.memory();
      float[] weights = new float[filter.size()];
      for (int t = 0; t < weights.length; t++) {
        weights[t] = (float) (scale * filter.get(t));
      }
      try (var scratch = memory.scratch((long) Float.BYTES * weights.length)) {
        memory.write(scratch.address(), weights, 0, weights.length);
        apply(kernels, filter, scale, scratch.address(), x, y);
      }
    }
  }

  private static void apply(
      CudaKernels kernels, List<Double> filter, double scale, long weights, Tensor x, Tensor y) {
    Shape from = CudaLines.checked("resample", x.shape());
    Shape to = CudaLines.checked("resample", y.shape());
    CudaKernel launch = kernels.begin(x.dtype()).pointer(x).pointer(y).address(weights);
    for (int t = 0; t < LONG; t++) {
      launch.f32(t < filter.size() ? scale * filter.get(t) : 0);
    }
    launch
        .i32(filter.size())
        .i64(from.dim(1))
        .i64(from.dim(2))
        .i64(to.dim(1))
        .i64(to.dim(2))
        .i64(to.dim(3));
    over(launch, y);
  }
}
