package io.retort.bindings.cuda;

import io.retort.bindings.NativeLinkError;
import io.retort.bindings.NativeStore;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/// The compiled kernels in the jar: one module image for each family and target.
///
/// A target is `emulator`, `sm_80` (machine code of one architecture) or `compute_80` (PTX, which
/// the driver compiles). Images are compared with the checksums that the build took.
public final class CudaImages {
  private static final String FOLDER = "io/retort/bindings/cuda/";
  private static final String CHECKSUMS = FOLDER + "modules.sha256";
  private static final String DRIVER = "libcuda.so.1";

  private CudaImages() {}

  private static final class Store {
    static final NativeStore STORE =
        NativeStore.open(
            path -> CudaImages.class.getModule().getResourceAsStream(path),
            CHECKSUMS,
            FOLDER,
            System.getenv());
  }

  /// Every target that the build compiled for.
  public static Set<String> targets() {
    var targets = new TreeSet<String>();
    Store.STORE.names().forEach(name -> targets.add(name.substring(0, name.indexOf('/'))));
    return targets;
  }

  /// What a device of this compute capability runs, machine code before PTX.
  public static Optional<String> target(int major, int minor) {
    return choose(targets(), major, minor);
  }

  /// Machine code runs on later devices of the same major number, unless it says `a`: then on its
  /// own alone. PTX is compiled for any later device.
  static Optional<String> choose(Set<String> targets, int major, int minor) {
    int capability = 10 * major + minor;
    return targets.stream()
        .filter(target -> target.startsWith("sm_") || target.startsWith("compute_"))
        .filter(target -> {
          int built = capability(target);
          if (target.endsWith("a")) {
            return built == capability;
          }
          return built <= capability && (target.startsWith("compute_") || built / 10 == major);
        })
        .max(
            Comparator.comparing((String target) -> target.startsWith("sm_"))
                .thenComparing(CudaImages::capability)
                .thenComparing(target -> target.endsWith("a")));
  }

  private static int capability(String target) {
    return Integer.parseInt(target.replaceAll("[^0-9]", ""));
  }

  /// The image of a family, as `cuModuleLoadDataEx` takes it.
  ///
  /// @throws NativeLinkError if the jar has none for this target
  public static byte[] read(String target, String family) {
    if (target.startsWith("compute_")) {
      var text = Store.STORE.read(target + "/" + family + ".ptx");
      return Arrays.copyOf(text, text.length + 1); // the driver wants PTX to end with a zero
    }
    var suffix = target.equals(CudaLibrary.EMULATOR) ? ".so" : ".cubin";
    return Store.STORE.read(target + "/" + family + suffix);
  }

  /// The emulator's driver library as a file.
  static Path emulator() {
    return beside(DRIVER);
  }

  /// A library of the emulator's as a file.
  ///
  /// @param name `libcuda.so.1`, `libcublasLt.so.13`
  static Path beside(String name) {
    var library = CudaLibrary.EMULATOR + "/" + name;
    if (!Store.STORE.has(library)) {
      throw new NativeLinkError(
          "CUDA library emulator: its %s is not part of this build".formatted(name));
    }
    return Store.STORE.unpack(library);
  }
}
