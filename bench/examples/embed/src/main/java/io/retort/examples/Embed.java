package io.retort.examples;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.awt.image.BufferedImage;
import java.io.File;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.Map;
import java.util.Random;
import javax.imageio.ImageIO;

/// A program that is not Retort and draws from a student that Retort distilled.
///
/// It needs ONNX Runtime and the file that `retort export RUN --out student.onnx` wrote, of a
/// student of 28x28 grey images in ten classes. ONNX Runtime's jar on the class path, this file
/// runs as it is: `java -cp onnxruntime-1.29.0.jar Embed.java student.onnx picture.png`.
public final class Embed {
  private static final int SIDE = 28;

  private Embed() {}

  /// Draws one image of each class.
  ///
  /// @param arguments the student's `.onnx` file, the `.png` file to write
  public static void main(String[] arguments) throws OrtException, IOException {
    long[] classes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    Random random = new Random(1);
    float[] normals = new float[classes.length * SIDE * SIDE];
    for (int i = 0; i < normals.length; i++) {
      normals[i] = (float) random.nextGaussian();
    }
    ImageIO.write(row(draw(arguments[0], normals, classes)), "png", new File(arguments[1]));
  }

  /// Images `(N, C, H, W)`, about in [-1, 1].
  ///
  /// @param student path of the `.onnx` file
  /// @param normals standard normal numbers, one for each pixel
  /// @param classes one for each image
  static float[][][][] draw(String student, float[] normals, long[] classes) throws OrtException {
    OrtEnvironment ort = OrtEnvironment.getEnvironment();
    long[] shape = {classes.length, 1, SIDE, SIDE};
    try (OrtSession session = ort.createSession(student);
        OnnxTensor noise = OnnxTensor.createTensor(ort, FloatBuffer.wrap(normals), shape);
        OnnxTensor labels = OnnxTensor.createTensor(ort, classes);
        OrtSession.Result drawn = session.run(Map.of("noise", noise, "labels", labels))) {
      return (float[][][][]) drawn.get("image").orElseThrow().getValue();
    }
  }

  /// Grey images side by side.
  private static BufferedImage row(float[][][][] images) {
    var row = new BufferedImage(images.length * SIDE, SIDE, BufferedImage.TYPE_BYTE_GRAY);
    for (int i = 0; i < images.length; i++) {
      for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
          int grey = Math.clamp(Math.round(images[i][0][y][x] * 127.5 + 127.5), 0, 255);
          row.getRaster().setSample(i * SIDE + x, y, 0, grey);
        }
      }
    }
    return row;
  }
}
