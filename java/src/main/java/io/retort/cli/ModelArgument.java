package io.retort.cli;

import io.retort.checkpoint.ModelFile;
import io.retort.op.Backend;
import io.retort.recipe.Recipe.Precision;
import java.nio.file.Path;
import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.TypeConversionException;

/// The model a command works with.
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class ModelArgument {
  /// What can be a model.
  static final String WHAT =
      "A run directory, a diffusers model or pipeline, or a .safetensors, .safetensors.index.json"
          + " or .pt file (FILE.pt#NAME: one of its state dicts) with config.json beside it.";

  @Parameters(paramLabel = "MODEL", description = WHAT)
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
}
