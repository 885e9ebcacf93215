package io.retort.bindings.cuda;

import io.retort.bindings.Downcall;
import io.retort.bindings.NativeLinkError;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/// A library of NVIDIA's beside the driver, found on this machine and loaded: cuBLASLt, cuBLAS,
/// cuDNN.
///
/// Nothing of them is needed to build or to run. They are looked for where the environment says
/// (the variable of the library, `CUDA_HOME`, `CUDA_PATH`), by the loader (`LD_LIBRARY_PATH` and
/// its cache), in the toolkit's folders under `/usr/local`, and in the wheels that Python packages
/// bring (`nvidia/*/lib`); the first that loads is taken.
public final class VendorLibrary {
  private static final List<String> TOOLKIT =
      List.of("lib64", "lib", "targets/x86_64-linux/lib", "lib/x86_64-linux-gnu");

  private final Path file;
  private final SymbolLookup symbols;

  private VendorLibrary(Path file, SymbolLookup symbols) {
    this.file = file;
    this.symbols = symbols;
  }

  /// A library of which Retort knows how it is called.
  public enum Kind {
    CUBLAS_LT("cuBLASLt", "RETORT_CUBLASLT", "libcublasLt.so.13", "libcublasLt.so.12"),
    /// Of CUDA 12, which JCuda was built against.
    CUBLAS("cuBLAS of CUDA 12", "RETORT_CUBLAS", "libcublas.so.12"),
    CUDNN("cuDNN", "RETORT_CUDNN", "libcudnn.so.9");

    private final String title;
    private final String variable;
    private final List<String> names;

    Kind(String title, String variable, String... names) {
      this.title = title;
      this.variable = variable;
      this.names = List.of(names);
    }

    /// As NVIDIA writes it.
    public String title() {
      return title;
    }

    /// The file names that it may have, newest first.
    public List<String> names() {
      return names;
    }
  }

  /// Looks for a library and loads it.
  ///
  /// @param environment of the process
  /// @return nothing if it is nowhere
  /// @throws NativeLinkError if the file that the library's variable names does not load
  public static Optional<VendorLibrary> find(Kind kind, Map<String, String> environment) {
    var named = named(kind, environment);
    if (named.isPresent()) {
      return named;
    }
    var home = Stream.of("CUDA_HOME", "CUDA_PATH").map(environment::get);
    var found = first(toolkits(home.filter(each -> each != null && !each.isEmpty())), kind);
    if (found.isEmpty()) {
      found = kind.names.stream().flatMap(name -> byLoader(name).stream()).findFirst();
    }
    if (found.isEmpty()) {
      found = first(toolkits(globbed("/usr/local", "cuda*")), kind);
    }
    return found.isEmpty() ? first(wheels(environment), kind) : found;
  }

  /// What [#find] says where there is none.
  public static String missing(Kind kind) {
    return "there is no %s: %s is not in the toolkit of CUDA_HOME or CUDA_PATH, on the loader's path, in /usr/local/cuda* or in Python's nvidia/*/lib; %s can name the file"
        .formatted(kind.title, String.join(" or ", kind.names), kind.variable);
  }

  private static Optional<VendorLibrary> named(Kind kind, Map<String, String> environment) {
    var named = environment.get(kind.variable);
    return named == null || named.isEmpty() ? Optional.empty() : Optional.of(open(Path.of(named)));
  }

  /// The library that goes with a driver: the emulator has look-alikes, and what else is on the
  /// machine does not work with it.
  public static Optional<VendorLibrary> beside(CudaLibrary driver, Kind kind) {
    if (driver.emulator().isEmpty()) {
      return find(kind, System.getenv());
    }
    var named = named(kind, System.getenv());
    return named.isPresent() || kind == Kind.CUDNN
        ? named
        : Optional.of(open(CudaImages.beside(kind.names.getFirst())));
  }

  /// A file by its path.
  ///
  /// @throws NativeLinkError if it does not load
  public static VendorLibrary open(Path file) {
    try {
      return new VendorLibrary(file, SymbolLookup.libraryLookup(file, Arena.global()));
    } catch (IllegalArgumentException e) {
      throw new NativeLinkError(
          Files.exists(file)
              ? "%s cannot be loaded".formatted(file)
              : "%s: there is no such file".formatted(file),
          e);
    }
  }

  private static Stream<Path> toolkits(Stream<String> homes) {
    return homes.flatMap(home -> TOOLKIT.stream().map(folder -> Path.of(home, folder)));
  }

  /// Where pip and conda put NVIDIA's wheels, of every Python that is in a usual place.
  static Stream<Path> wheels(Map<String, String> environment) {
    var prefixes = new ArrayList<String>();
    for (var variable : List.of("VIRTUAL_ENV", "CONDA_PREFIX")) {
      var prefix = environment.get(variable);
      if (prefix != null && !prefix.isEmpty()) {
        prefixes.add(prefix);
      }
    }
    prefixes.add(environment.getOrDefault("HOME", "") + "/.local");
    prefixes.addAll(List.of("/usr/local", "/usr", "/opt/conda"));
    return prefixes.stream()
        .flatMap(prefix ->
            Stream.concat(
                Stream.of(Path.of(prefix, "lib")),
                globbed(prefix + "/lib", "python3*")
                    .flatMap(python ->
                        Stream.of("site-packages", "dist-packages")
                            .map(packages -> python + "/" + packages + "/nvidia"))
                    .flatMap(nvidia -> globbed(nvidia, "*"))
                    .map(each -> Path.of(each, "lib"))));
  }

  /// What of a folder fits a pattern, the last by its name first: `cuda-13.1` before `cuda-12.6`.
  private static Stream<String> globbed(String folder, String pattern) {
    var path = Path.of(folder);
    var matcher = FileSystems.getDefault().getPathMatcher("glob:" + pattern);
    try (var entries = Files.list(path)) {
      return entries
          .filter(entry -> matcher.matches(entry.getFileName()))
          .map(Path::toString)
          .sorted(Comparator.reverseOrder())
          .toList()
          .stream();
    } catch (IOException e) {
      return Stream.empty(); // a folder that is not there has nothing
    }
  }

  private static Optional<VendorLibrary> first(Stream<Path> folders, Kind kind) {
    return folders
        .flatMap(folder -> kind.names.stream().map(folder::resolve))
        .filter(Files::exists)
        .flatMap(file -> loaded(file).stream())
        .findFirst();
  }

  /// A file that does not load, such as one for another machine, is as good as none.
  private static Optional<VendorLibrary> loaded(Path file) {
    try {
      return Optional.of(open(file));
    } catch (NativeLinkError e) {
      return Optional.empty();
    }
  }

  private static Optional<VendorLibrary> byLoader(String name) {
    try {
      var symbols = SymbolLookup.libraryLookup(name, Arena.global());
      return Optional.of(new VendorLibrary(mapped(name), symbols));
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  /// Where the loader found a library.
  private static Path mapped(String name) {
    try (var maps = Files.lines(Path.of("/proc/self/maps"))) {
      return maps.filter(line -> line.contains("/" + name))
          .map(line -> Path.of(line.substring(line.indexOf('/'))))
          .findFirst()
          .orElse(Path.of(name));
    } catch (IOException e) {
      return Path.of(name);
    }
  }

  /// The file that was loaded.
  public Path file() {
    return file;
  }

  /// Whether the library has a function.
  public boolean has(String function) {
    return symbols.find(function).isPresent();
  }

  /// A handle on a function that returns a status; `signature` as [Downcall] says.
  ///
  /// @throws NativeLinkError if the library has no such function
  MethodHandle bind(String function, String signature) {
    return Downcall.bind(symbol(function), signature);
  }

  /// Calls a function without arguments that returns a `size_t`, as those do that tell versions.
  ///
  /// @throws NativeLinkError if the library has no such function
  public long ask(String function) {
    var handle =
        Linker.nativeLinker()
            .downcallHandle(symbol(function), FunctionDescriptor.of(ValueLayout.JAVA_LONG));
    try {
      return (long) handle.invokeExact();
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
  }

  private MemorySegment symbol(String function) {
    return symbols
        .find(function)
        .orElseThrow(() ->
            new NativeLinkError(
                "%s has no %s: it is another library, or of another version than CUDA 12 or 13"
                    .formatted(file, function)));
  }

  @Override
  public String toString() {
    return file.toString();
  }
}
