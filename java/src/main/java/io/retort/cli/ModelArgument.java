package io.retort.cli;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.ModelFile;
import io.retort.diffusion.ImageSampler;
import io.retort.diffusion.KarrasSigmas;
import io.retort.op.Backend;
import io.retort.recipe.Recipe.Precision;
import java.nio.file.Path;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.TypeConversionException;

/// The model a command works with.
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class ModelArgument {
  private static final int DEFAULT_STEPS = 18;

  @Parameters(
      paramLabel = "MODEL",
      description =
          "A run directory, or a .safetensors, .safetensors.index.json or .pt file (FILE.pt#NAME:"
              + " one of its state dicts) with config.json beside it.")
  private Path path;

  @Option(
      names = "--precision",
      paramLabel = "NAME",
      converter = PrecisionConverter.class,
      description = "Of the network's activations: float32 (default) or bfloat16, which is faster.")
  private Precision precision = Precision.FLOAT32;

  /// The name of the model in results.
  String name() {
    return path.toString();
  }

  /// Loads it; the caller closes it.
  ModelFile load(Backend backend) {
    return ModelFile.load(path, backend.memory()).in(precision.compute());
  }

  /// A sampler as the model was made for: its metadata says how many network evaluations and which
  /// highest noise level; without metadata 18 steps from EDM's 80.
  ///
  /// @param steps wanted instead, null for the model's own
  static ImageSampler sampler(Backend backend, ModelFile model, @Nullable Integer steps) {
    ImageSampler plain = ImageSampler.of(backend, model.denoiser(), model.parameters(), 1);
    KarrasSigmas edm = KarrasSigmas.EDM;
    return new ImageSampler(
        backend,
        model.denoiser(),
        model.parameters(),
        steps != null ? steps : steps(model),
        new KarrasSigmas(edm.min(), number(model, ModelFile.SIGMA_MAX, edm.max()), edm.rho()),
        plain.batch());
  }

  /// Names as recipes spell them.
  private static final class PrecisionConverter implements ITypeConverter<Precision> {
    @Override
    public Precision convert(String name) {
      for (Precision precision : Precision.values()) {
        if (precision.name().toLowerCase(Locale.ROOT).equals(name)) {
          return precision;
        }
      }
      throw new TypeConversionException("must be float32 or bfloat16, got \"" + name + "\"");
    }
  }

  private static int steps(ModelFile model) {
    double evaluations = number(model, ModelFile.EVALUATIONS, 2 * DEFAULT_STEPS - 1);
    return (int) Math.clamp((evaluations + 1) / 2, 1, 1000);
  }

  private static double number(ModelFile model, String key, double fallback) {
    String text = model.metadata().get(key);
    if (text == null) {
      return fallback;
    }
    try {
      double number = Double.parseDouble(text);
      if (number > 0 && number <= 1e6) {
        return number;
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw new CheckpointException(
        model.file(), "", "metadata %s must be a number above 0, got %s".formatted(key, text));
  }
}
