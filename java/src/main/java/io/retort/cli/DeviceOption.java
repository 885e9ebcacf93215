package io.retort.cli;

import io.retort.backend.CpuBackend;
import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.backend.GemmPolicy;
import io.retort.backend.KernelProfile;
import io.retort.backend.MeasuredPeaks;
import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.CudaException;
import io.retort.op.Backend;
import io.retort.op.UnsupportedOpException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Stack;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.IParameterPreprocessor;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;

/// Where a command computes.
final class DeviceOption {
  private static final String CUDA = "cuda";
  private static final String KERNELS = "kernels";
  private static final List<String> DETAILS = List.of(KERNELS, "shapes");

  @Option(
      names = "--device",
      paramLabel = "cpu|cuda|auto",
      description = "Where to compute; auto says what it chose and why (default: auto).")
  private @Nullable String device;

  @Option(
      names = "--cuda-library",
      paramLabel = "PATH|emulator",
      description =
          "The CUDA driver to use instead of the system's; the emulator runs the kernels on the"
              + " processor, to test them.")
  private @Nullable String library;

  @Option(
      names = "--cuda-binding",
      paramLabel = "panama|jcuda",
      description = "How Java calls the CUDA driver (default: panama).")
  private String binding = "panama";

  @Option(
      names = "--cuda-gemm",
      paramLabel = "auto|own|cublas",
      description =
          "Who multiplies matrices on a CUDA device: Retort's kernels, cuBLAS, or whoever was"
              + " faster when a shape was first met there (default: auto).")
  private String gemm = "auto";

  @Option(
      names = "--cuda-graphs",
      paramLabel = "on|off",
      description =
          "Whether each phase of a training step is captured and started as one CUDA graph; off"
              + " launches its kernels one by one (default: on).")
  private String graphs = "on";

  @Option(
      names = "--profile",
      arity = "0..1",
      fallbackValue = KERNELS,
      preprocessor = Detail.class,
      paramLabel = "kernels|shapes",
      description =
          "Afterwards, a table of where the time went: by kernel, or by kernel and shape.")
  private @Nullable String profile;

  private @Nullable KernelProfile kernels;
  private long opened;

  /// What follows `--profile` after a space belongs to it only if it is one of its values: a file
  /// may follow too.
  private static final class Detail implements IParameterPreprocessor {
    @Override
    public boolean preprocess(
        Stack<String> rest, CommandSpec command, ArgSpec option, Map<String, Object> info) {
      boolean attached = "=".equals(info.get("separator"));
      if (!attached && (rest.isEmpty() || !DETAILS.contains(rest.peek()))) {
        rest.push(KERNELS);
      }
      return false;
    }
  }

  /// A backend and why it is the one.
  record Choice(Backend backend, String reason) {
    @Override
    public String toString() {
      return backend.description() + ", because " + reason;
    }
  }

  /// Opens the chosen backend; says so if it was asked to choose, or if `announced`.
  ///
  /// @param announced whether the choice is worth a line even if the user left it open
  Backend open(Console console, boolean announced) {
    validate();
    Choice choice = choose();
    if ("auto".equals(device) || device == null && announced) {
      console.announce("device: " + choice);
    }
    if (choice.backend() instanceof CudaBackend cuda) {
      cuda.useGraphs("on".equals(graphs), console::note);
    }
    return profile == null ? choice.backend() : timed(choice.backend());
  }

  private Backend timed(Backend backend) {
    if (!(backend instanceof CpuBackend)) {
      throw new UsageException(
          "--profile times the processor's kernels; for a GPU's use: retort bench ops");
    }
    kernels = new KernelProfile(backend);
    opened = System.nanoTime();
    return kernels.backend();
  }

  /// Shows where the time since [#open] went, if `--profile` asked for it.
  void profile(Console console) {
    if (kernels == null) {
      return;
    }
    double wall = (System.nanoTime() - opened) / 1e9 - kernels.ownSeconds();
    List<KernelProfile.Row> rows = kernels.rows();
    MeasuredPeaks peaks = MeasuredPeaks.of(CpuBackend.open());
    console.note(new ProfileTable(rows, peaks, wall, "shapes".equals(profile)).text());
  }

  /// How the phases of training reach a GPU, in one line.
  String graphSummary() {
    return "on".equals(graphs)
        ? "a phase of training is one CUDA graph from its second run on"
        : "off: every kernel is launched by itself";
  }

  /// Says after the work what became of its phases on the device.
  void report(Console console, Backend backend) {
    if (backend instanceof CudaBackend cuda) {
      cuda.graphReport().forEach(console::note);
    }
  }

  /// Refuses options that make no sense, without loading anything.
  void validate() {
    if (device != null && !Arrays.asList("cpu", CUDA, "auto").contains(device)) {
      throw new UsageException("--device must be cpu, cuda or auto, got '%s'".formatted(device));
    }
    if (library != null && !CUDA.equals(device)) {
      throw new UsageException("--cuda-library goes with --device cuda");
    }
    if (profile != null && !DETAILS.contains(profile)) {
      throw new UsageException("--profile must be kernels or shapes, got '%s'".formatted(profile));
    }
    if (!Arrays.asList("on", "off").contains(graphs)) {
      throw new UsageException("--cuda-graphs must be on or off, got '%s'".formatted(graphs));
    }
    binding();
    if (gemm() == GemmPolicy.CUBLAS && !CUDA.equals(device)) {
      throw new UsageException("--cuda-gemm cublas goes with --device cuda");
    }
  }

  /// The device by its name, without loading anything; what `auto` will choose is not known yet.
  String name() {
    return device == null ? "auto" : device;
  }

  CudaBinding binding() {
    return switch (binding) {
      case "panama" -> CudaBinding.PANAMA;
      case "jcuda" -> CudaBinding.JCUDA;
      default ->
          throw new UsageException(
              "--cuda-binding must be panama or jcuda, got '%s'".formatted(binding));
    };
  }

  private GemmPolicy gemm() {
    return switch (gemm) {
      case "auto" -> GemmPolicy.AUTO;
      case "own" -> GemmPolicy.OWN;
      case "cublas" -> GemmPolicy.CUBLAS;
      default ->
          throw new UsageException(
              "--cuda-gemm must be auto, own or cublas, got '%s'".formatted(gemm));
    };
  }

  /// The driver's library if it is not the system's.
  @Nullable String library() {
    return library;
  }

  /// What computes on this machine, and why.
  Choice choose() {
    return switch (name()) {
      case "cpu" -> new Choice(CpuBackend.open(), "you asked for it");
      case CUDA -> new Choice(cuda(), "you asked for it");
      default -> auto();
    };
  }

  private CudaBackend cuda() {
    try {
      return CudaBackend.open(binding(), library, gemm());
    } catch (NativeLinkError e) {
      throw new NativeLinkError("--device cuda: " + e.getMessage(), e);
    }
  }

  private Choice auto() {
    try {
      return new Choice(CudaBackend.open(binding(), library, gemm()), "there is a CUDA device");
    } catch (NativeLinkError | CudaException | UnsupportedOpException e) {
      return new Choice(CpuBackend.open(), String.valueOf(e.getMessage()));
    }
  }
}
