package io.retort.checkpoint;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/// An `.onnx` file in ONNX Runtime, which also checks its structure and types.
public final class OrtModel implements AutoCloseable {
  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final OrtSession session;
  private final Map<String, OnnxTensor> inputs = new HashMap<>();

  public OrtModel(Path file) {
    try (var options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(2);
      session = environment.createSession(file.toString(), options);
    } catch (OrtException e) {
      throw new AssertionError(e);
    }
  }

  public OrtModel set(String name, float[] values, long... dims) {
    try {
      return put(name, OnnxTensor.createTensor(environment, FloatBuffer.wrap(values), dims));
    } catch (OrtException e) {
      throw new AssertionError(e);
    }
  }

  public OrtModel set(String name, long[] values) {
    try {
      long[] dims = {values.length};
      return put(name, OnnxTensor.createTensor(environment, LongBuffer.wrap(values), dims));
    } catch (OrtException e) {
      throw new AssertionError(e);
    }
  }

  private OrtModel put(String name, OnnxTensor tensor) {
    OnnxTensor former = inputs.put(name, tensor);
    if (former != null) {
      former.close();
    }
    return this;
  }

  /// The values of the only output.
  public float[] run() {
    try (var result = session.run(inputs)) {
      FloatBuffer values = ((OnnxTensor) result.get(0)).getFloatBuffer();
      var copy = new float[values.remaining()];
      values.get(copy);
      return copy;
    } catch (OrtException e) {
      throw new AssertionError(e);
    }
  }

  /// Names and types of inputs and outputs as the runtime sees them, and the model's metadata.
  public String described() {
    try {
      var text = new StringBuilder();
      session
          .getInputInfo()
          .forEach((name, info) -> text.append(name).append(' ').append(info).append('\n'));
      session
          .getOutputInfo()
          .forEach((name, info) -> text.append(name).append(' ').append(info).append('\n'));
      return text.append(session.getMetadata().getCustomMetadata()).toString();
    } catch (OrtException e) {
      throw new AssertionError(e);
    }
  }

  /// The largest difference of two arrays.
  public static double distance(float[] a, float[] b) {
    if (a.length != b.length) {
      throw new AssertionError("%d values and %d".formatted(a.length, b.length));
    }
    double largest = 0;
    for (int i = 0; i < a.length; i++) {
      double difference = Math.abs((double) a[i] - b[i]);
      if (!(difference <= Double.MAX_VALUE)) {
        throw new AssertionError(Arrays.asList(i, a[i], b[i]).toString());
      }
      largest = Math.max(largest, difference);
    }
    return largest;
  }

  @Override
  public void close() {
    inputs.values().forEach(OnnxTensor::close);
    try {
      session.close();
    } catch (OrtException e) {
      throw new AssertionError(e);
    }
  }
}
