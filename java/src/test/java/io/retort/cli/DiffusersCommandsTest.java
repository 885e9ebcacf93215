package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.Golden;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.SafetensorsWriter;
import io.retort.data.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// `denoise`, `sample` and `inspect` on a pipeline folder as diffusers saves it.
final class DiffusersCommandsTest {
  private static final String UNET = "older names, velocity";
  private static final String TRANSFORMER = "transformer, older class";

  @TempDir private Path folder;

  /// A pipeline of one of the variants: the network in `part`, its scheduler beside that.
  private Path pipeline(String variant, String part) throws IOException {
    Path pipeline = Files.createDirectory(folder.resolve("pipeline"));
    Path network = Files.createDirectory(pipeline.resolve(part));
    try (Golden golden = Golden.open("diffusers_variants")) {
      Map<String, Object> config = new LinkedHashMap<>(Json.parseObject(golden.metadata(variant)));
      Object scheduler = config.remove("scheduler");
      if (scheduler != null) {
        Path file = Files.createDirectory(pipeline.resolve("scheduler"));
        Files.writeString(file.resolve("scheduler_config.json"), Json.write(scheduler));
      }
      Files.writeString(network.resolve("config.json"), Json.write(config));
      Files.writeString(pipeline.resolve("model_index.json"), "{}");
      SafetensorsWriter writer = new SafetensorsWriter();
      String prefix = variant + "/w/";
      for (String name : golden.names(prefix)) {
        writer.floats(name, golden.shape(prefix + name).dims(), () -> golden.floats(prefix + name));
      }
      writer.write(network.resolve("diffusion_pytorch_model.safetensors"));
    }
    return pipeline;
  }

  private Path array(String variant, String name) {
    Path file = folder.resolve(name.replace('/', '-') + ".npy");
    try (Golden golden = Golden.open("diffusers_variants")) {
      String tensor = variant + "/" + name;
      NpyFile.write(file, golden.floats(tensor), golden.shape(tensor).dims());
    }
    return file;
  }

  private void assertDenoised(String variant, Path out) {
    try (Golden golden = Golden.open("diffusers_variants")) {
      NpyFile array = NpyFile.read(out);
      assertThat(array.shape()).isEqualTo(golden.shape(variant + "/out/D").dims());
      Golden.assertClose("D", array.floats(), golden.floats(variant + "/out/D"), 2e-5, 1e-4);
    }
  }

  @Test
  void aPipelinesUNetDenoisesWithItsScheduler() throws IOException {
    Path pipeline = pipeline(UNET, "unet");
    Path out = folder.resolve("d.npy");
    for (Path model : new Path[] {pipeline, pipeline.resolve("unet")}) {
      Call.of(
              "denoise",
              model,
              "--x",
              array(UNET, "in/x"),
              "--sigma",
              array(UNET, "in/sigma"),
              "--out",
              out)
          .succeeded();
      assertDenoised(UNET, out);
    }
  }

  @Test
  void aTransformerDenoisesWithClasses() throws IOException {
    Path out = folder.resolve("d.npy");
    Call.of(
            "denoise",
            pipeline(TRANSFORMER, "transformer"),
            "--x",
            array(TRANSFORMER, "in/x"),
            "--sigma",
            array(TRANSFORMER, "in/sigma"),
            "--labels",
            array(TRANSFORMER, "in/labels"),
            "--out",
            out)
        .succeeded();
    assertDenoised(TRANSFORMER, out);
  }

  @Test
  void theNumberAfterTheLastClassIsNone() throws IOException {
    String variant = "facebook's transformer";
    Path model = pipeline(variant, "transformer");
    Path ids = folder.resolve("ids.npy");
    float[] rows = NpyFile.read(array(variant, "in/labels")).floats();
    long[] classes = {5, 5};
    for (int i = 0; i < rows.length; i++) {
      classes[i / 5] = rows[i] == 1 ? i % 5 : classes[i / 5];
    }
    NpyFile.write(ids, classes, 2);
    Path out = folder.resolve("d.npy");
    Path x = array(variant, "in/x");
    Path sigma = array(variant, "in/sigma");
    Call.of("denoise", model, "--x", x, "--sigma", sigma, "--labels", ids, "--out", out)
        .succeeded();
    assertDenoised(variant, out);
  }

  @Test
  void aUNetWithClassesNeedsOneForEveryImage() throws IOException {
    String variant = "class as a timestep";
    Path model = pipeline(variant, "unet");
    Path out = folder.resolve("d.npy");
    Path x = array(variant, "in/x");
    Path sigma = array(variant, "in/sigma");
    Call.of("denoise", model, "--x", x, "--sigma", sigma, "--out", out)
        .refused(1, "the network has no null class, every image needs a class in [0, 5)");
    Call.of("sample", model, "--count", 1, "--labels", "none", "--out", out)
        .refused(1, "the network has no null class");
    Call.of("sample", model, "--count", 1, "--steps", 1, "--out", out).succeeded();
  }

  @Test
  void aPipelineSamples() throws IOException {
    Path pipeline = pipeline(UNET, "unet");
    for (String out : new String[] {"a.npy", "b.npy"}) {
      Call.of("sample", pipeline, "--count", 3, "--steps", 2, "--out", folder.resolve(out))
          .succeeded();
    }
    assertThat(folder.resolve("a.npy")).hasSameBinaryContentAs(folder.resolve("b.npy"));
    NpyFile images = NpyFile.read(folder.resolve("a.npy"));
    assertThat(images.shape()).containsExactly(3, 3, 8, 8);
    for (float value : images.floats()) {
      assertThat(value).isFinite();
    }
    Call.of("sample", pipeline, "--count", 4, "--steps", 1, "--out", folder.resolve("g.png"))
        .succeeded();
  }

  @Test
  void itsWeightsAreListed() throws IOException {
    Path weights = pipeline(UNET, "unet").resolve("unet/diffusion_pytorch_model.safetensors");
    Call listed = Call.of("inspect", weights);
    listed.succeeded();
    assertThat(listed.out()).contains("down_blocks.1.attentions.0.query.weight");
  }

  @Test
  void wrongConfigurationsAreRefused() throws IOException {
    Path pipeline = pipeline(UNET, "unet");
    Path config = pipeline.resolve("unet/config.json");
    String plain = Files.readString(config);
    refused(
        pipeline,
        config,
        plain.replace("\"AttnDownBlock2D\"", "\"KDownBlock2D\""),
        "down_block_types must be of");
    refused(
        pipeline,
        config,
        plain.replaceFirst("\\{", "{\"_class_name\":\"UNet2DConditionModel\","),
        "_class_name must be one of");
    refused(pipeline, config, plain.replace("\"silu\"", "\"mish\""), "act_fn must be one of");
    refused(
        pipeline,
        config,
        plain.replaceFirst("\"sample_size\": ?8", "\"sample_size\":null"),
        "sample_size must be an integer");
    refused(
        pipeline,
        config,
        plain.replaceFirst("\\{", "{\"cross_attention_dim\":768,"),
        "cross_attention_dim");
    Files.writeString(config, plain);
    Path scheduler = pipeline.resolve("scheduler/scheduler_config.json");
    String noise = Files.readString(scheduler);
    refused(
        pipeline,
        scheduler,
        noise.replace("scaled_linear", "sigmoid"),
        "scheduler: beta_schedule must be one of");
    refused(
        pipeline,
        scheduler,
        noise.replace("EulerDiscreteScheduler", "ScoreSdeVpScheduler"),
        "scheduler: _class_name must be one of");
  }

  private void refused(Path pipeline, Path file, String text, String reason) throws IOException {
    Files.writeString(file, text);
    Call.of("sample", pipeline, "--count", 1, "--out", folder.resolve("x.npy")).refused(1, reason);
  }
}
