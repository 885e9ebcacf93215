package io.retort.cli;

import io.retort.backend.CpuBackend;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.OnnxExport;
import io.retort.checkpoint.OnnxExport.Labels;
import io.retort.op.Backend;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.OptionalDouble;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `retort export`: a model for use elsewhere.
@Command(
    description = "Writes a model for use elsewhere: ONNX with everything inside, or safetensors.",
    footer = {
      "%nAn .onnx file is one graph for any batch; images are float32 (N, C, H, W), about in [-1,"
          + " 1].",
      "  --one-step     noise -> image: what `retort sample --steps 1 --noise` draws. The default"
          + " of a",
      "                 student of one step; the noise level is in the graph, give standard"
          + " normals.",
      "  --no-one-step  x, sigma (N) -> D: one call of the denoiser, as `retort denoise`, for"
          + " samplers",
      "                 of your own. The default of every other model.",
      "A model with classes has an input `labels` too: int64 (N), -1 for none.",
      "A .safetensors file holds the weights under their own names, with config.json beside it.",
      "%nExamples:",
      "  retort export runs/fashion-mnist-dmd2-el-1 --out student.onnx",
      "  retort export runs/teacher --opset 21 --out teacher.onnx",
      "  retort export runs/fashion-mnist-dmd2-el-1 --out student/model.safetensors",
      "%nIn Java: OrtEnvironment.getEnvironment().createSession(\"student.onnx\"); a whole program"
          + " is in",
      "bench/examples/embed."
    })
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class ExportCommand implements Callable<Integer> {
  private static final String ONNX = "onnx";
  private static final String SAFETENSORS = "safetensors";
  private static final int OPSET = 17;

  private final Console console;

  @Parameters(paramLabel = "MODEL", description = ModelArgument.WHAT)
  private Path path;

  @Option(
      names = "--format",
      paramLabel = "onnx|safetensors",
      description = "What to write (default: as --out ends).")
  private @Nullable String format;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "An .onnx or .safetensors file.")
  private Path out;

  @Option(
      names = "--opset",
      paramLabel = "N",
      description =
          "ONNX operator set, 17 to 21 (default: 17, which every runtime has). From 21 on group"
              + " norm is one node, which ONNX Runtime takes apart on a CPU: 17 is faster there.")
  private @Nullable Integer opset;

  @Option(
      names = "--one-step",
      negatable = true,
      description = "From noise to images, or the denoiser (default: as the model was made for).")
  private @Nullable Boolean oneStep;

  @Option(
      names = "--labels",
      paramLabel = "ids|one-hot|none",
      description =
          "How the graph takes classes: int64 (N), float (N, classes), or not at all, every image"
              + " unconditional (default: ids).")
  private @Nullable String labels;

  @Mixin private CommonOptions common;

  ExportCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    String kind = kind();
    Labels taken = labels();
    if (kind.equals(SAFETENSORS) && (opset != null || oneStep != null || labels != null)) {
      throw new UsageException("--opset, --one-step and --labels go with --format onnx");
    }
    if (opset != null && (opset < 17 || opset > 21)) {
      throw new UsageException("--opset must be from 17 to 21, got %d".formatted(opset));
    }
    OutputFile target = OutputFile.of(out, kind);
    Backend backend = CpuBackend.open();
    try (ModelFile loaded = ModelFile.load(path, backend.memory())) {
      if (kind.equals(SAFETENSORS)) {
        loaded.copyTo(target.path());
        report(target, SAFETENSORS, null);
      } else {
        onnx(loaded, taken, target, backend);
      }
    }
    return ExitStatus.SUCCESS;
  }

  private String kind() {
    String kind = format != null ? format : OutputFile.kind(out, ONNX, SAFETENSORS);
    return switch (kind) {
      case ONNX, SAFETENSORS -> kind;
      case "pt", "pth", "pytorch", "torch", "torchscript" ->
          throw new UsageException(
              "--format must be onnx or safetensors, got '%s'; PyTorch reads safetensors"
                  .formatted(kind));
      default ->
          throw new UsageException(
              "--format must be onnx or safetensors, got '%s'".formatted(kind));
    };
  }

  private Labels labels() {
    return switch (labels == null ? "ids" : labels) {
      case "ids" -> Labels.IDS;
      case "one-hot" -> Labels.ONE_HOT;
      case "none" -> Labels.NONE;
      default ->
          throw new UsageException(
              "--labels must be ids, one-hot or none, got '%s'".formatted(labels));
    };
  }

  private void onnx(ModelFile model, Labels taken, OutputFile target, Backend backend) {
    if (labels != null && taken != Labels.NONE && model.denoiser().network().classes() == 0) {
      throw new UsageException("--labels: the model is unconditional, it takes no labels");
    }
    boolean generator = oneStep != null ? oneStep : model.oneStep();
    OnnxExport export =
        new OnnxExport(
            opset != null ? opset : OPSET,
            taken,
            generator ? OptionalDouble.of(model.sigmaMax()) : OptionalDouble.empty());
    report(target, ONNX, export.write(target.path(), model, backend));
  }

  private void report(OutputFile target, String kind, OnnxExport.@Nullable Summary summary) {
    if (common.json()) {
      var result = new LinkedHashMap<String, Object>();
      result.put("model", path.toString());
      result.put("format", kind);
      result.put("out", target.path().toString());
      if (summary != null) {
        result.put("bytes", summary.bytes());
        result.put("nodes", summary.nodes());
        result.put("inputs", summary.inputs());
        result.put("outputs", summary.outputs());
      }
      console.json(result);
    } else if (summary == null) {
      console.print(
          "%s: the weights; %s: the network"
              .formatted(target.path(), target.path().resolveSibling(ModelFile.CONFIG)));
    } else {
      console.print(
          "%s: %s, %d nodes%n  in   %s%n  out  %s"
              .formatted(
                  target.path(),
                  TextTable.bytes(summary.bytes()),
                  summary.nodes(),
                  String.join("%n       ".formatted(), summary.inputs()),
                  String.join("%n       ".formatted(), summary.outputs())));
    }
  }
}
