package io.retort.cli;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.ModelFile;
import io.retort.data.PngGrid;
import io.retort.diffusion.ImageSampler;
import io.retort.op.Backend;
import io.retort.tensor.Shape;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// `retort sample`: images from a model, the same ones for the same seed whatever the batch.
@Command(
    description = "Generates images. Image i of a seed is the same however many are drawn.",
    footer =
        "%nExamples:%n  retort sample runs/fashion-mnist-dmd2-el-1 --count 64 --steps 1 --out"
            + " grid.png%n  retort sample edm.safetensors --steps 18 --churn 40 --churn-min 0.05"
            + " --churn-max 50 --churn-noise 1.003 --out churned.png%n  retort sample"
            + " edm.safetensors --sampler dpmpp --steps 12 --guidance 2 --out fast.png")
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class SampleCommand implements Callable<Integer> {
  private static final int DEFAULT_COUNT = 64;

  private final Console console;

  @Mixin private ModelArgument model;

  @Option(names = "--count", paramLabel = "N", description = "How many images (default: 64).")
  private @Nullable Integer count;

  @Option(
      names = "--steps",
      paramLabel = "K",
      description =
          "Sampling steps, for heun 2K - 1 network calls, else K (default: as it was made for).")
  private @Nullable Integer steps;

  @Mixin private SamplerOptions sampling;

  @Option(
      names = "--seed",
      paramLabel = "S",
      description = "Of the latents and of noise added on the way (default: 0).")
  private long seed;

  @Option(
      names = "--labels",
      paramLabel = "0,1,..",
      description = "Classes, repeated to the count; or none (default: one after the other).")
  private @Nullable String labels;

  @Option(
      names = "--noise",
      paramLabel = "IN.npy",
      description = "Standard normal latents (N, C, H, W) instead of a seed.")
  private @Nullable Path noise;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "A .png grid, or .npy float32 (N, C, H, W), not clipped.")
  private Path out;

  @Mixin private DeviceOption device;
  @Mixin private CommonOptions common;

  SampleCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    Numbers.positive("--count", count);
    Numbers.upTo(Numbers.MOST_STEPS, "--steps", steps);
    Numbers.notNegative("--seed", seed);
    OutputFile target = OutputFile.of(out, "png", "npy");
    if (target.kind().equals("png")) {
      Numbers.upTo(Numbers.MOST_PICTURED, "--count for a .png", count);
    }
    Backend backend = device.open(console, false);
    try (ModelFile loaded = model.load(backend)) {
      draw(backend, loaded, target);
    }
    device.profile(console);
    return ExitStatus.SUCCESS;
  }

  private void draw(Backend backend, ModelFile loaded, OutputFile target) {
    ImageSampler sampler = sampling.of(backend, loaded, steps, seed);
    Shape image = loaded.denoiser().images(1);
    float[] latents = latents(sampler, image);
    int images = Math.toIntExact(latents.length / image.elements());
    int classes = loaded.denoiser().network().classes();
    int @Nullable [] wanted = Labels.parse(labels, classes, images);
    if (wanted == null && sampler.guidance() != 1) {
      throw new UsageException("--guidance needs classes, --labels none has none");
    }
    long started = System.nanoTime();
    float[] samples =
        sampler.sample(
            latents, wanted, done -> console.progress("%d of %d images".formatted(done, images)));
    double rate = images / ((System.nanoTime() - started) / 1e9);
    write(target, samples, image);
    report(target, images, sampler, rate);
  }

  private float[] latents(ImageSampler sampler, Shape image) {
    if (noise == null) {
      int images = count != null ? count : DEFAULT_COUNT;
      Numbers.upTo(Integer.MAX_VALUE / image.elements(), "--count for images of this size", images);
      return sampler.latents(seed, 0, images);
    }
    float[] given = ImageArrays.read(noise, image);
    long images = given.length / image.elements();
    if (count != null && count != images) {
      throw new CheckpointException(
          noise, "", "holds %d latents, but --count is %d".formatted(images, count));
    }
    return given;
  }

  private static void write(OutputFile target, float[] samples, Shape image) {
    if (target.kind().equals("npy")) {
      ImageArrays.write(target.path(), samples, image);
      return;
    }
    int height = Math.toIntExact(image.dim(1));
    int images = Math.toIntExact(samples.length / image.elements());
    target.write(
        PngGrid.fitting(images, height)
            .png(
                samples,
                images,
                height,
                Math.toIntExact(image.dim(2)),
                Math.toIntExact(image.dim(3))));
  }

  private void report(OutputFile target, int images, ImageSampler sampler, double rate) {
    if (!common.json()) {
      console.print(
          "%s: %d images, NFE %d, %.1f images/s"
              .formatted(target.path(), images, sampler.evaluations(), rate));
      return;
    }
    var result = new LinkedHashMap<String, Object>();
    result.put("model", model.name());
    result.put("out", target.path().toString());
    result.put("count", images);
    result.put("steps", sampler.steps());
    result.put("nfe", sampler.evaluations());
    result.put("seed", seed);
    result.put("images_per_second", rate);
    console.json(result);
  }
}
