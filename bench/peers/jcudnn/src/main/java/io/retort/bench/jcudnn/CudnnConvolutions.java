package io.retort.bench.jcudnn;

import static jcuda.jcudnn.JCudnn.cudnnCreate;
import static jcuda.jcudnn.JCudnn.cudnnCreateConvolutionDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnCreateFilterDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnCreateTensorDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnFindConvolutionBackwardDataAlgorithm;
import static jcuda.jcudnn.JCudnn.cudnnFindConvolutionBackwardFilterAlgorithm;
import static jcuda.jcudnn.JCudnn.cudnnFindConvolutionForwardAlgorithm;
import static jcuda.jcudnn.JCudnn.cudnnGetVersion;
import static jcuda.jcudnn.JCudnn.cudnnSetConvolution2dDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnSetConvolutionMathType;
import static jcuda.jcudnn.JCudnn.cudnnSetFilter4dDescriptor;
import static jcuda.jcudnn.JCudnn.cudnnSetTensor4dDescriptor;
import static jcuda.jcudnn.cudnnConvolutionMode.CUDNN_CROSS_CORRELATION;
import static jcuda.jcudnn.cudnnDataType.CUDNN_DATA_BFLOAT16;
import static jcuda.jcudnn.cudnnDataType.CUDNN_DATA_FLOAT;
import static jcuda.jcudnn.cudnnMathType.CUDNN_TENSOR_OP_MATH;
import static jcuda.jcudnn.cudnnTensorFormat.CUDNN_TENSOR_NHWC;

import java.util.List;
import jcuda.CudaException;
import jcuda.jcudnn.JCudnn;
import jcuda.jcudnn.cudnnConvolutionBwdDataAlgoPerf;
import jcuda.jcudnn.cudnnConvolutionBwdFilterAlgoPerf;
import jcuda.jcudnn.cudnnConvolutionDescriptor;
import jcuda.jcudnn.cudnnConvolutionFwdAlgoPerf;
import jcuda.jcudnn.cudnnFilterDescriptor;
import jcuda.jcudnn.cudnnHandle;
import jcuda.jcudnn.cudnnTensorDescriptor;

/// The convolutions of `retort bench ops` on a device, each by the fastest algorithm that cuDNN finds
/// when it tries all it has: batch 64, NHWC, tensor cores allowed (float32 then multiplies as tf32).
public final class CudnnConvolutions {
  private static final int BATCH = 64;
  private static final int MOST_ALGORITHMS = 16;

  private static final List<Layer> LAYERS =
      List.of(
          new Layer(3, 256, 256, 32),
          new Layer(3, 512, 256, 16),
          new Layer(3, 256, 256, 8),
          new Layer(1, 256, 768, 16),
          new Layer(3, 64, 64, 32));

  private final cudnnHandle handle = new cudnnHandle();

  private CudnnConvolutions() {
    cudnnCreate(handle);
  }

  /// Prints a table, microseconds; one sentence and status 1 without a device or cuDNN 8.
  public static void main(String... none) {
    try {
      JCudnn.setExceptionsEnabled(true);
      long version = cudnnGetVersion();
      System.out.printf(
          "cuDNN %d.%d.%d; microseconds%n", version / 1000, version % 1000 / 100, version % 100);
      System.out.printf("%-26s%-6s%10s%10s%10s%n", "", "", "forward", "data", "weights");
      var convolutions = new CudnnConvolutions();
      for (Layer layer : LAYERS) {
        convolutions.print(layer, "f32", CUDNN_DATA_FLOAT);
        convolutions.print(layer, "bf16", CUDNN_DATA_BFLOAT16);
      }
    } catch (UnsatisfiedLinkError | CudaException e) {
      String reason = String.valueOf(e.getMessage()).lines().findFirst().orElse("").strip();
      System.err.printf(
          "retort bench cudnn: needs a GPU, its driver, and CUDA 11 with cuDNN 8 on the loader's path: %s%n",
          reason);
      System.exit(1);
    }
  }

  private void print(Layer layer, String type, int dataType) {
    cudnnTensorDescriptor x = layer.image(layer.in, dataType);
    cudnnTensorDescriptor y = layer.image(layer.out, dataType);
    cudnnFilterDescriptor weights = layer.weights(dataType);
    cudnnConvolutionDescriptor convolution = layer.convolution();
    System.out.printf(
        "%-26s%-6s%10.1f%10.1f%10.1f%n",
        layer,
        type,
        1e3 * forward(x, weights, convolution, y),
        1e3 * data(x, weights, convolution, y),
        1e3 * weights(x, weights, convolution, y));
  }

  /// Milliseconds of the fastest algorithm: cuDNN sorts them.
  private float forward(
      cudnnTensorDescriptor x,
      cudnnFilterDescriptor weights,
      cudnnConvolutionDescriptor convolution,
      cudnnTensorDescriptor y) {
    var found = new cudnnConvolutionFwdAlgoPerf[MOST_ALGORITHMS];
    cudnnFindConvolutionForwardAlgorithm(
        handle, x, weights, convolution, y, MOST_ALGORITHMS, new int[1], found);
    return found[0].time;
  }

  private float data(
      cudnnTensorDescriptor x,
      cudnnFilterDescriptor weights,
      cudnnConvolutionDescriptor convolution,
      cudnnTensorDescriptor y) {
    var found = new cudnnConvolutionBwdDataAlgoPerf[MOST_ALGORITHMS];
    cudnnFindConvolutionBackwardDataAlgorithm(
        handle, weights, y, convolution, x, MOST_ALGORITHMS, new int[1], found);
    return found[0].time;
  }

  private float weights(
      cudnnTensorDescriptor x,
      cudnnFilterDescriptor weights,
      cudnnConvolutionDescriptor convolution,
      cudnnTensorDescriptor y) {
    var found = new cudnnConvolutionBwdFilterAlgoPerf[MOST_ALGORITHMS];
    cudnnFindConvolutionBackwardFilterAlgorithm(
        handle, x, y, convolution, weights, MOST_ALGORITHMS, new int[1], found);
    return found[0].time;
  }

  /// One convolution with stride 1 that keeps the image's side.
  private record Layer(int kernel, int in, int out, int side) {

    cudnnTensorDescriptor image(int channels, int dataType) {
      var tensor = new cudnnTensorDescriptor();
      cudnnCreateTensorDescriptor(tensor);
      cudnnSetTensor4dDescriptor(
          tensor, CUDNN_TENSOR_NHWC, dataType, BATCH, channels, side, side);
      return tensor;
    }

    cudnnFilterDescriptor weights(int dataType) {
      var filter = new cudnnFilterDescriptor();
      cudnnCreateFilterDescriptor(filter);
      cudnnSetFilter4dDescriptor(filter, dataType, CUDNN_TENSOR_NHWC, out, in, kernel, kernel);
      return filter;
    }

    cudnnConvolutionDescriptor convolution() {
      var convolution = new cudnnConvolutionDescriptor();
      cudnnCreateConvolutionDescriptor(convolution);
      int padding = kernel / 2;
      cudnnSetConvolution2dDescriptor(
          convolution, padding, padding, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
      cudnnSetConvolutionMathType(convolution, CUDNN_TENSOR_OP_MATH);
      return convolution;
    }

    @Override
    public String toString() {
      return "conv2d %dx%d %d-%d %dx%d".formatted(kernel, kernel, in, out, side, side);
    }
  }
}
