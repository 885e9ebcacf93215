package io.retort.bindings.cpu;

import io.retort.bindings.Downcall;
import io.retort.bindings.NativeCallException;
import io.retort.bindings.NativeLinkError;
import io.retort.bindings.NativeStore;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// `libretort_cpu.so` and the libraries it needs, loaded once for the life of the process.
///
/// A class of operations binds its functions once and calls them with raw addresses:
///
/// ```java
/// private static final MethodHandle FORWARD = NativeLibrary.bind("rt_silu_forward", "ppl");
/// // try { status = (int) FORWARD.invokeExact(x, y, n); } catch (Throwable e) { throw ...; }
/// // NativeLibrary.check(status, "rt_silu_forward");
/// ```
///
/// The environment may say `RETORT_CPU_ISA` (avx512, avx2, base) to use another build of the
/// library than the best one, and `RETORT_THREADS` to use fewer threads than there are cores.
public final class NativeLibrary {
  private static final Linker LINKER = Linker.nativeLinker();
  private static final Cpu CPU = Cpu.detect();
  private static final int THREADS = chooseThreads(System.getenv("RETORT_THREADS"));
  private static final String CHECKSUMS = "io/retort/bindings/linux-x86_64/natives.sha256";
  private static final ClassLoader CLASS_LOADER = NativeLibrary.class.getClassLoader();
  private static final FunctionDescriptor TEXT = FunctionDescriptor.of(ValueLayout.ADDRESS);
  private static final long TEXT_BYTES = 1 << 20;

  private static final String ISA;
  private static final Path FILE;
  private static final SymbolLookup SYMBOLS;
  private static final Map<String, String> SIGNATURES;
  private static final MethodHandle LAST_ERROR;

  static {
    configureOpenMp();
    var store =
        NativeStore.open(
            CLASS_LOADER::getResourceAsStream, CHECKSUMS, "linux-x86_64/", System.getenv());
    ISA = chooseIsa(System.getenv("RETORT_CPU_ISA"), store);
    // In this order: each library finds the ones it needs by the names already loaded.
    load(store.unpack("libgomp.so.1"));
    load(store.unpack("libdnnl.so.3"));
    FILE = store.unpack(ISA + "/libretort_cpu.so");
    SYMBOLS = load(FILE);
    LAST_ERROR = LINKER.downcallHandle(symbol("rt_last_error"), TEXT);
    SIGNATURES = signatures();
  }

  private NativeLibrary() {}

  /// A handle on one operation; `signature` as [Downcall] says.
  ///
  /// @throws NativeLinkError if the library has no such operation or compiled it with another
  ///   signature
  public static MethodHandle bind(String name, String signature) {
    var actual = SIGNATURES.get(name);
    if (actual == null) {
      throw new NativeLinkError("%s: not in %s".formatted(name, FILE));
    }
    if (!actual.equals(signature)) {
      throw new NativeLinkError(
          "%s: Java binds (%s), the library has (%s)".formatted(name, signature, actual));
    }
    return Downcall.bind(symbol(name), signature);
  }

  /// Returns if `status` is success.
  ///
  /// @throws NativeCallException with the library's sentence otherwise
  public static void check(int status, String call) {
    if (status != 0) {
      throw new NativeCallException(call, status, text(LAST_ERROR));
    }
  }

  /// What a class of operations throws from the `catch` around `invokeExact`: nothing but a bug of
  /// ours gets there.
  public static AssertionError unreachable(Throwable thrown) {
    return Downcall.unreachable(thrown);
  }

  /// The processor that the library was chosen for.
  public static Cpu cpu() {
    return CPU;
  }

  /// The instruction set of the loaded library: `avx512`, `avx2` or `base`.
  public static String isa() {
    return ISA;
  }

  /// How many threads native operations start with: the cores of this process or `RETORT_THREADS`,
  /// whichever is less.
  public static int defaultThreads() {
    return THREADS;
  }

  /// The unpacked file that was loaded.
  public static Path file() {
    return FILE;
  }

  /// The version of oneDNN that is loaded, such as `3.13.0`.
  public static String oneDnnVersion() {
    var function =
        LINKER.downcallHandle(symbol("dnnl_version"), FunctionDescriptor.of(ValueLayout.ADDRESS));
    MemorySegment version;
    try {
      version = (MemorySegment) function.invokeExact();
    } catch (Throwable e) {
      throw unreachable(e);
    }
    int[] numbers = version.reinterpret(3 * Integer.BYTES).toArray(ValueLayout.JAVA_INT);
    return "%d.%d.%d".formatted(numbers[0], numbers[1], numbers[2]);
  }

  /// Every operation of the library with its signature.
  public static Map<String, String> operations() {
    return SIGNATURES;
  }

  private static String text(MethodHandle function) {
    MemorySegment text;
    try {
      text = (MemorySegment) function.invokeExact();
    } catch (Throwable e) {
      throw unreachable(e);
    }
    return text.reinterpret(TEXT_BYTES).getString(0);
  }

  private static SymbolLookup load(Path file) {
    try {
      return SymbolLookup.libraryLookup(file, Arena.global());
    } catch (IllegalArgumentException e) {
      throw new NativeLinkError(
          "%s cannot be loaded; `ldd %s` says what it lacks, and its file system must allow execution"
              .formatted(file, file),
          e);
    }
  }

  private static MemorySegment symbol(String name) {
    return SYMBOLS
        .find(name)
        .orElseThrow(() -> new NativeLinkError("%s: no such symbol in %s".formatted(name, FILE)));
  }

  private static Map<String, String> signatures() {
    var signatures = new HashMap<String, String>();
    text(LINKER.downcallHandle(symbol("rt_signature_table"), TEXT))
        .lines()
        .map(line -> line.split(":", -1))
        .forEach(parts -> signatures.put(parts[0], parts[1]));
    return Map.copyOf(signatures);
  }

  /// The best build that both the processor and the jar have.
  private static String chooseIsa(@Nullable String wanted, NativeStore store) {
    var usable = CPU.isas().stream().filter(isa -> store.has(isa + "/libretort_cpu.so")).toList();
    if (usable.isEmpty()) {
      throw new NativeLinkError(
          "No build of the CPU library fits %s, which can run %s"
              .formatted(CPU.model(), CPU.isas()));
    }
    if (wanted == null) {
      return usable.getFirst();
    }
    if (!usable.contains(wanted)) {
      throw new NativeLinkError(
          "RETORT_CPU_ISA must be one of %s here, got %s".formatted(usable, wanted));
    }
    return wanted;
  }

  private static int chooseThreads(@Nullable String wanted) {
    if (wanted == null) {
      return CPU.cores();
    }
    try {
      int threads = Integer.parseInt(wanted);
      if (threads >= 1) {
        return Math.min(threads, CPU.cores());
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw new NativeLinkError("RETORT_THREADS must be a whole number of at least 1, got " + wanted);
  }

  /// libgomp reads its settings when it is loaded. Spinning threads starve every other process on
  /// the machine, so waiting ones sleep unless the user has said otherwise.
  private static void configureOpenMp() {
    var setenv =
        LINKER.downcallHandle(
            LINKER.defaultLookup().findOrThrow("setenv"),
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT,
                ValueLayout.ADDRESS,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_INT));
    var settings =
        Map.of(
            "GOMP_SPINCOUNT", "0",
            "OMP_WAIT_POLICY", "passive",
            "OMP_NUM_THREADS", Integer.toString(THREADS));
    try (var arena = Arena.ofConfined()) {
      for (var setting : settings.entrySet()) {
        var name = arena.allocateFrom(setting.getKey());
        var value = arena.allocateFrom(setting.getValue());
        int keepsWhatIsThere = 0;
        int status = (int) setenv.invokeExact(name, value, keepsWhatIsThere);
        if (status != 0) {
          throw new NativeLinkError("setenv failed for " + setting.getKey());
        }
      }
    } catch (NativeLinkError e) {
      throw e;
    } catch (Throwable e) {
      throw unreachable(e);
    }
  }
}
