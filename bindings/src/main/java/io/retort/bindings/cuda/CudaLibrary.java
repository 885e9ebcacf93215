package io.retort.bindings.cuda;

import io.retort.bindings.Downcall;
import io.retort.bindings.NativeLinkError;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// The library that answers driver calls in this process: NVIDIA's `libcuda.so.1`, or the emulator.
///
/// Chosen once, because handles of functions are constants and because whatever else needs
/// `libcuda.so.1`, such as JCuda, gets the one that is already loaded.
public final class CudaLibrary {
  /// The name by which the emulator in the jar is chosen.
  public static final String EMULATOR = "emulator";

  private static final String DRIVER = "libcuda.so.1";

  private static @Nullable CudaLibrary opened;

  private final String name;
  private final SymbolLookup symbols;

  private CudaLibrary(String name, SymbolLookup symbols) {
    this.name = name;
    this.symbols = symbols;
  }

  /// Loads a library, or returns it if it is the one already loaded.
  ///
  /// @param wanted a path, `emulator`, or null for the driver that the loader finds
  /// @throws NativeLinkError if it does not load, or another one is loaded already
  public static synchronized CudaLibrary open(@Nullable String wanted) {
    var name = wanted == null ? DRIVER : wanted;
    if (wanted != null && !wanted.equals(EMULATOR) && !Files.isRegularFile(Path.of(wanted))) {
      throw new NativeLinkError("CUDA library %s: there is no such file".formatted(wanted));
    }
    var current = opened;
    if (current == null) {
      current = new CudaLibrary(name, load(name));
      opened = current;
    }
    if (!current.name.equals(name)) {
      throw new NativeLinkError(
          "CUDA library %s cannot be used, this process uses %s".formatted(name, current.name));
    }
    return current;
  }

  /// The library of this process.
  static synchronized CudaLibrary opened() {
    if (opened == null) {
      throw new IllegalStateException("CudaLibrary.open comes before the first driver call");
    }
    return opened;
  }

  private static SymbolLookup load(String name) {
    if (name.equals(DRIVER)) {
      try {
        return SymbolLookup.libraryLookup(DRIVER, Arena.global());
      } catch (IllegalArgumentException e) {
        throw new NativeLinkError(
            "there is no CUDA driver (the loader finds no %s)".formatted(DRIVER), e);
      }
    }
    var file = name.equals(EMULATOR) ? CudaImages.emulator() : Path.of(name);
    try {
      return SymbolLookup.libraryLookup(file.toAbsolutePath(), Arena.global());
    } catch (IllegalArgumentException e) {
      throw new NativeLinkError("CUDA library %s cannot be loaded".formatted(file), e);
    }
  }

  /// What it was chosen by: a path, `emulator` or `libcuda.so.1`.
  public String name() {
    return name;
  }

  /// The controls of the emulator, if that is what was loaded.
  public Optional<CudaEmulator> emulator() {
    return symbols.find(CudaEmulator.SET).isPresent()
        ? Optional.of(new CudaEmulator(this))
        : Optional.empty();
  }

  /// A handle on a function; `signature` as [Downcall] says.
  ///
  /// @throws NativeLinkError if the library has no such function
  MethodHandle bind(String function, String signature) {
    return Downcall.bind(symbol(function), signature);
  }

  MemorySegment symbol(String function) {
    return symbols
        .find(function)
        .orElseThrow(() ->
            new NativeLinkError(
                "%s has no %s: it is no CUDA driver, or one older than CUDA 12.4"
                    .formatted(name, function)));
  }
}
