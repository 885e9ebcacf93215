package io.retort.cli;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.NpyFile;
import io.retort.diffusion.ImageSampler;
import io.retort.net.DiT;
import io.retort.net.DiffusionNet;
import io.retort.net.UNet;
import io.retort.op.Backend;
import io.retort.tensor.Shape;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// `retort denoise`: D(x; sigma), for comparing networks across implementations.
@Command(
    description = "One preconditioned forward pass D(x; sigma) for every image of an array.",
    footer = "%nExample: retort denoise model.safetensors --x x.npy --sigma s.npy --out d.npy")
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class DenoiseCommand implements Callable<Integer> {
  private static final int BATCH = 128;

  private final Console console;

  @Mixin private ModelArgument model;

  @Option(
      names = "--x",
      required = true,
      paramLabel = "X.npy",
      description = "Noised images, float (N, C, H, W).")
  private Path noised;

  @Option(
      names = "--sigma",
      required = true,
      paramLabel = "S.npy",
      description = "Noise levels above 0, float: one for each image, or one for all.")
  private Path sigma;

  @Option(
      names = "--labels",
      paramLabel = "L.npy",
      description = "Classes, int64 (N) or one-hot float (N, classes); without it: unconditional.")
  private @Nullable Path labels;

  @Option(
      names = "--augment",
      paramLabel = "A.npy",
      description =
          "For networks trained with augmentation: what was done to each image, float"
              + " (N, augment_dim); without it: nothing.")
  private @Nullable Path augment;

  @Option(
      names = "--guidance",
      paramLabel = "W",
      description =
          "Classifier-free guidance: null + W (class - null), of images with a class (default: 1,"
              + " none).")
  private double guidance = 1;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "D.npy",
      description = "Denoised images, float32 (N, C, H, W).")
  private Path out;

  @Mixin private DeviceOption device;
  @Mixin private CommonOptions common;

  DenoiseCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    OutputFile target = OutputFile.of(out, "npy");
    Backend backend = device.open(console, false);
    try (ModelFile loaded = model.load(backend)) {
      Shape image = loaded.denoiser().images(1);
      float[] x = ImageArrays.read(noised, image);
      int images = Math.toIntExact(x.length / image.elements());
      float[] levels = levels(images);
      int @Nullable [] classes = classes(loaded.denoiser().network(), images);
      if (guidance != 1 && loaded.denoiser().network().classes() == 0) {
        throw new UsageException("--guidance: the model is unconditional, it has no classes");
      }
      ImageSampler network =
          ImageSampler.of(backend, loaded.denoiser(), loaded.parameters(), 1).with(guidance, 0);
      float @Nullable [] told = augmentation(loaded.denoiser().network(), images);
      ImageArrays.write(target.path(), denoise(network, x, levels, classes, told), image);
      report(target, images);
    }
    device.profile(console);
    return ExitStatus.SUCCESS;
  }

  private float[] levels(int images) {
    NpyFile array = NpyFile.read(sigma);
    float[] values = array.floats();
    if (values.length != 1 && (values.length != images || array.shape()[0] != images)) {
      throw new CheckpointException(
          sigma,
          "",
          "must hold 1 noise level or %d, got shape %s"
              .formatted(images, ImageArrays.text(array.shape())));
    }
    for (float value : values) {
      if (!(value > 0) || Float.isInfinite(value)) {
        throw new CheckpointException(
            sigma, "", "a noise level must be finite and above 0, got " + value);
      }
    }
    var levels = new float[images];
    for (int i = 0; i < images; i++) {
      levels[i] = values[values.length == 1 ? 0 : i];
    }
    return levels;
  }

  /// Null for unconditional.
  private int @Nullable [] classes(DiffusionNet network, int images) {
    if (labels == null) {
      return null;
    }
    boolean rowForNone = network instanceof DiT && network.hasNullClass();
    return Labels.read(labels, network.classes(), rowForNone, images);
  }

  /// Null for images as they are.
  private float @Nullable [] augmentation(DiffusionNet network, int images) {
    if (augment == null) {
      return null;
    }
    long length = network instanceof UNet unet ? unet.augmentation() : 0;
    if (length == 0) {
      throw new UsageException("--augment: the model is not told how images were augmented");
    }
    NpyFile array = NpyFile.read(augment);
    if (!Arrays.equals(array.shape(), new long[] {images, length})) {
      throw new CheckpointException(
          augment,
          "",
          "must have shape (%d, %d), got %s"
              .formatted(images, length, ImageArrays.text(array.shape())));
    }
    return array.floats();
  }

  private static float[] denoise(
      ImageSampler network,
      float[] x,
      float[] sigma,
      int @Nullable [] classes,
      float @Nullable [] augmentation) {
    int size = x.length / sigma.length;
    int told = augmentation == null ? 0 : augmentation.length / sigma.length;
    var denoised = new float[x.length];
    int to;
    for (int from = 0; from < sigma.length; from = to) {
      to = Math.min(sigma.length, from + BATCH);
      float[] part =
          network.denoise(
              Arrays.copyOfRange(x, from * size, to * size),
              Arrays.copyOfRange(sigma, from, to),
              classes == null ? null : Arrays.copyOfRange(classes, from, to),
              augmentation == null
                  ? null
                  : Arrays.copyOfRange(augmentation, from * told, to * told));
      System.arraycopy(part, 0, denoised, from * size, part.length);
    }
    return denoised;
  }

  private void report(OutputFile target, int images) {
    if (common.json()) {
      var result = new LinkedHashMap<String, Object>();
      result.put("model", model.name());
      result.put("out", target.path().toString());
      result.put("count", images);
      console.json(result);
    } else {
      console.print("%s: %d images".formatted(target.path(), images));
    }
  }
}
