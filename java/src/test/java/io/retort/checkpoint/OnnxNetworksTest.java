package io.retort.checkpoint;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.checkpoint.OnnxExport.Labels;
import io.retort.data.Json;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.ImageSampler;
import io.retort.net.DiffusionNet;
import io.retort.op.Backend;
import io.retort.tensor.Shape;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// Every reference network under `golden/` in ONNX Runtime against the engine, over all noise
/// levels: none of them has export code of its own. Networks that predict noise multiply their
/// error by sigma, so the bound of 2e-5 is one of the largest value where that is above 1.
class OnnxNetworksTest {
  private static final float[] SIGMAS = {0.002f, 0.02f, 0.2f, 0.7f, 3, 17, 80};

  @TempDir private Path folder;
  private final Backend backend = CpuBackend.open();

  /// Reference files that hold a network's weights and its `config.json`.
  static List<String> networks() throws IOException, URISyntaxException {
    Path golden = Path.of(OnnxNetworksTest.class.getResource("/golden").toURI());
    try (Stream<Path> files = Files.list(golden)) {
      return files
          .filter(file -> file.toString().endsWith(".safetensors") && holdsNetwork(file))
          .map(file -> file.getFileName().toString())
          .sorted()
          .toList();
    }
  }

  private static boolean holdsNetwork(Path file) {
    try (SafetensorsReader reader = SafetensorsReader.open(file)) {
      return reader.metadata().containsKey("config") && reader.contains("in/x");
    }
  }

  @Test
  void theReferencesAreThere() throws IOException, URISyntaxException {
    assertThat(networks()).contains("songunet_tiny_8.safetensors");
  }

  @ParameterizedTest
  @MethodSource("networks")
  void aNetworkIsTheSame(String name) throws URISyntaxException {
    Path file = Path.of(getClass().getResource("/golden/" + name).toURI());
    try (SafetensorsReader reader = SafetensorsReader.open(file)) {
      String config = requireNonNull(reader.metadata().get("config"));
      compare(reader, ModelConfig.denoiser(Json.parseObject(config)));
    }
  }

  private void compare(SafetensorsReader reader, Denoiser denoiser) {
    DiffusionNet net = denoiser.network();
    try (var parameters = net.plan().allocate(backend.memory())) {
      parameters.all().forEach(p -> p.value().set(reader.floats("w/" + p.name())));
      ModelFile model = new ModelFile(reader.file(), denoiser, parameters, new LinkedHashMap<>());
      ImageSampler engine = ImageSampler.of(backend, denoiser, parameters, 1);
      Shape image = denoiser.images(1);
      float[] z = engine.latents(4, 0, SIGMAS.length);
      for (int opset : new int[] {17, 21}) {
        Path graph = folder.resolve("net.onnx");
        new OnnxExport(opset, Labels.IDS, OptionalDouble.empty()).write(graph, model, backend);
        compare(graph, engine, z, image, net.classes());
      }
    }
  }

  private static void compare(
      Path graph, ImageSampler engine, float[] z, Shape image, int classes) {
    int size = Math.toIntExact(image.elements());
    float[] x = new float[z.length];
    int[] labels = new int[SIGMAS.length];
    long[] ids = new long[SIGMAS.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = 0.5f * (float) Math.sin(0.01 * i) + SIGMAS[i / size] * z[i];
    }
    for (int i = 0; i < labels.length && classes > 0; i++) {
      labels[i] = i % classes;
      ids[i] = labels[i];
    }
    float[] expected = engine.denoise(x, SIGMAS, classes > 0 ? labels : null);
    try (OrtModel ort = new OrtModel(graph)) {
      ort.set(
              "x",
              OnnxExportTest.nchw(x, image),
              SIGMAS.length,
              image.dim(3),
              image.dim(1),
              image.dim(2))
          .set("sigma", SIGMAS, SIGMAS.length);
      if (classes > 0) {
        ort.set("labels", ids);
      }
      float[] d = ort.run();
      float[] planes = OnnxExportTest.nchw(expected, image);
      double largest = 1;
      for (float value : planes) {
        largest = Math.max(largest, Math.abs(value));
      }
      assertThat(OrtModel.distance(d, planes)).as("largest %g", largest).isLessThan(2e-5 * largest);
    }
  }
}
