package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.Golden;
import io.retort.backend.CpuBackend;
import io.retort.checkpoint.OnnxExport.Labels;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.ImageSampler;
import io.retort.net.SongUNet;
import io.retort.op.Backend;
import io.retort.recipe.BuiltIn;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.OptionalDouble;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// What ONNX Runtime computes from exported models against what the engine computes.
class OnnxExportTest {
  /// Of D, over all noise levels: what the project promises.
  private static final double BOUND = 2e-5;

  private static final float[] SIGMAS = {0.002f, 0.03f, 0.2f, 0.7f, 3, 17, 80};

  @TempDir private Path folder;
  private final Backend backend = CpuBackend.open();
  private long liveBefore;

  @BeforeEach
  void count() {
    liveBefore = backend.memory().liveBlocks();
  }

  @AfterEach
  void nothingLeaks() {
    assertThat(backend.memory().liveBlocks()).isEqualTo(liveBefore);
  }

  private ModelFile teacher() {
    try {
      var url = BuiltIn.class.getResource("teacher-fashion-mnist-embedded/model.safetensors");
      return ModelFile.load(Path.of(url.toURI()), backend.memory());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  private ModelFile tiny(Golden golden) {
    var net = new SongUNet(new SongUNet.Config(8, 1, 3, 8, List.of(1, 2), 1, List.of(4), 0, 0));
    var parameters = net.plan().allocate(backend.memory());
    golden.load("w/", parameters);
    return new ModelFile(folder, new Denoiser(net, 0.5), parameters, new LinkedHashMap<>());
  }

  private OrtModel exported(ModelFile model, int opset, Labels labels, OptionalDouble oneStep) {
    Path file = folder.resolve("model.onnx");
    new OnnxExport(opset, labels, oneStep).write(file, model, backend);
    return new OrtModel(file);
  }

  @ParameterizedTest
  @CsvSource({"17", "18", "19", "20", "21"})
  void theReferencesNumbersComeOut(int opset) {
    try (Golden golden = Golden.open("songunet_tiny_8");
        ModelFile model = tiny(golden);
        OrtModel ort = exported(model, opset, Labels.ONE_HOT, OptionalDouble.empty())) {
      float[] d =
          ort.set("x", golden.floats("in/x"), 2, 1, 8, 8)
              .set("sigma", golden.floats("in/sigma"), 2)
              .set("labels", golden.floats("in/class_labels"), 2, 3)
              .run();
      Golden.assertClose("D", d, golden.floats("out/D"), 2e-5, 1e-4);
      ort.set("labels", new float[6], 2, 3);
      Golden.assertClose("D_uncond", ort.run(), golden.floats("out/D_uncond"), 2e-5, 1e-4);
    }
  }

  @ParameterizedTest
  @CsvSource({"17,IDS", "17,ONE_HOT", "17,NONE", "21,IDS", "21,NONE"})
  void theTeacherIsTheSameFromOneNoiseLevelToTheNext(int opset, Labels labels) {
    try (ModelFile model = teacher();
        OrtModel ort = exported(model, opset, labels, OptionalDouble.empty())) {
      for (int batch : new int[] {1, 7, 4}) {
        float[] sigma = Arrays.copyOf(SIGMAS, batch);
        float[] x = noised(model.denoiser().images(batch), sigma);
        int[] classes = new int[batch];
        Arrays.setAll(classes, i -> (3 * i + batch) % 10);
        give(ort, labels, classes);
        Shape image = model.denoiser().images(1);
        ort.set("x", nchw(x, image), batch, image.dim(3), image.dim(1), image.dim(2))
            .set("sigma", sigma, batch);
        float[] expected = engine(model).denoise(x, sigma, labels == Labels.NONE ? null : classes);
        double distance = OrtModel.distance(ort.run(), nchw(expected, image));
        assertThat(distance).isLessThan(BOUND);
      }
    }
  }

  private static void give(OrtModel ort, Labels labels, int[] classes) {
    if (labels == Labels.IDS) {
      ort.set("labels", Arrays.stream(classes).asLongStream().toArray());
    } else if (labels == Labels.ONE_HOT) {
      float[] rows = new float[classes.length * 10];
      for (int i = 0; i < classes.length; i++) {
        rows[10 * i + classes[i]] = 1;
      }
      ort.set("labels", rows, classes.length, 10);
    }
  }

  @ParameterizedTest
  @CsvSource({"17,IDS", "17,NONE", "21,IDS"})
  void oneStepIsTheSamplers(int opset, Labels labels) {
    try (ModelFile model = teacher();
        OrtModel ort = exported(model, opset, labels, OptionalDouble.of(80))) {
      ImageSampler sampler = engine(model);
      Shape image = model.denoiser().images(1);
      for (int batch : new int[] {5, 1}) {
        float[] latents = sampler.latents(3, 0, batch);
        int[] classes = new int[batch];
        Arrays.setAll(classes, i -> 9 - i);
        give(ort, labels, classes);
        ort.set("noise", nchw(latents, image), batch, 1, 28, 28);
        float[] expected =
            sampler.sample(latents, labels == Labels.NONE ? null : classes, done -> {});
        double distance = OrtModel.distance(ort.run(), nchw(expected, image));
        assertThat(distance).isLessThan(BOUND);
      }
    }
  }

  @Test
  void minusOneIsNoClass() {
    try (Golden golden = Golden.open("songunet_tiny_8");
        ModelFile model = tiny(golden);
        OrtModel ort = exported(model, 17, Labels.IDS, OptionalDouble.empty())) {
      ort.set("x", golden.floats("in/x"), 2, 1, 8, 8)
          .set("sigma", golden.floats("in/sigma"), 2)
          .set("labels", new long[] {-1, -1});
      Golden.assertClose("D_uncond", ort.run(), golden.floats("out/D_uncond"), 2e-5, 1e-4);
    }
  }

  private ImageSampler engine(ModelFile model) {
    return ImageSampler.of(backend, model.denoiser(), model.parameters(), 1);
  }

  private static float[] noised(Shape shape, float[] sigma) {
    var x = new float[Math.toIntExact(shape.elements())];
    Philox.normals(new PhiloxKey(5, Purpose.NOISE, 0, 0), x);
    int size = x.length / sigma.length;
    for (int i = 0; i < x.length; i++) {
      x[i] = (float) Math.sin(i * 0.01) * 0.5f + sigma[i / size] * x[i];
    }
    return x;
  }

  /// Images `(N, H, W, C)` as `(N, C, H, W)`.
  static float[] nchw(float[] values, Shape image) {
    int pixels = Math.toIntExact(image.dim(1) * image.dim(2));
    int channels = Math.toIntExact(image.dim(3));
    var planes = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      int sample = i / (pixels * channels);
      int pixel = i / channels % pixels;
      planes[(sample * channels + i % channels) * pixels + pixel] = values[i];
    }
    return planes;
  }
}
