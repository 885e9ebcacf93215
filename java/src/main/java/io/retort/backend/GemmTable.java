package io.retort.backend;

import io.retort.bindings.cuda.Cublas;
import io.retort.bindings.cuda.Cublas.Element;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/// Who multiplies which shape on one device, with the times that decided it.
///
/// Who multiplies decides the last bits of a result, and where both are about as fast a second
/// measurement may decide otherwise. A run must be reproducible bit for bit all the same, so a
/// shape is measured once and the decision kept: in a file of the user's cache, one for each
/// device, library and build of the kernels, which every process reads before it measures, and in
/// which the first decision stands; and in the directory of each run, from which a resumed run
/// takes its decisions before it looks into the cache. A rule that knows no times would need
/// neither, but which of both is faster depends on the device and on the library's version. Who
/// wants the same bits on another machine takes the run's table along, or [GemmPolicy#OWN].
final class GemmTable {
  private static final String HEAD = "# Who multiplied what, microseconds each; measured on ";
  private static final String COLUMNS = "# product\tby\town\tlibrary";
  private static final String OWN = "own";
  private static final String LIBRARY = "library";
  private static final int HASH_DIGITS = 16;

  private final String identity;
  private final @Nullable Path file;
  private final Map<String, Entry> entries = new TreeMap<>();

  /// @param own microseconds of Retort's kernels
  /// @param library microseconds of NVIDIA's library, NaN where it has no kernel
  record Entry(boolean byLibrary, double own, double library) {}

  private GemmTable(String identity, @Nullable Path file) {
    this.identity = identity;
    this.file = file;
  }

  /// The table of the user's cache for a device.
  ///
  /// @param identity device, library and kernels, in a line
  /// @param folder where such files are kept, or null for a table that is kept nowhere
  static GemmTable open(String identity, @Nullable Path folder) {
    if (folder == null) {
      return new GemmTable(identity, null);
    }
    String hash =
        HexFormat.of().formatHex(CudaContext.sha256(identity.getBytes(StandardCharsets.UTF_8)));
    var table = new GemmTable(identity, folder.resolve(hash.substring(0, HASH_DIGITS) + ".tsv"));
    table.read();
    return table;
  }

  /// `$XDG_CACHE_HOME/retort/products`, or the same below `~/.cache`.
  static Path folder() {
    String cache = System.getenv("XDG_CACHE_HOME");
    Path base =
        cache != null && cache.startsWith("/")
            ? Path.of(cache)
            : Path.of(System.getProperty("user.home"), ".cache");
    return base.resolve("retort").resolve("products");
  }

  /// A shape in words: `bf16 64x 128x256x32 nt bias`, the middle m, n, k.
  static String name(Cublas.Product p) {
    return "%s %dx %dx%dx%d %s%s%s%s%s"
        .formatted(
            p.type().name().toLowerCase(Locale.ROOT),
            p.count(),
            p.m(),
            p.n(),
            p.k(),
            p.transposeA() ? "t" : "n",
            p.transposeB() ? "t" : "n",
            p.biased() ? " bias" : "",
            p.result() == p.type() ? "" : " to " + Element.F32.name().toLowerCase(Locale.ROOT),
            p.alignedC() ? "" : " unaligned");
  }

  /// What stands for a shape, if anything does.
  synchronized @Nullable Entry get(String name) {
    return entries.get(name);
  }

  /// Enters a decision, unless another process was first.
  ///
  /// @return the one that stands
  synchronized Entry decide(String name, Entry measured) {
    if (file == null || !decideInFile(file, name, measured)) {
      entries.putIfAbsent(name, measured);
    }
    return entries.getOrDefault(name, measured);
  }

  /// Whether that was possible; a cache that cannot be written keeps nothing, and the run its own.
  private boolean decideInFile(Path path, String name, Entry measured) {
    Path folder = path.resolveSibling("");
    try {
      Files.createDirectories(folder);
      Path lock = path.resolveSibling(path.getFileName() + ".lock");
      try (var channel =
              FileChannel.open(lock, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
          var held = channel.lock()) {
        if (!held.isValid()) {
          return false;
        }
        read();
        entries.putIfAbsent(name, measured);
        Path part = Files.createTempFile(folder, "products", ".part");
        Files.writeString(part, text());
        Files.move(part, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      }
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  /// Takes what the file has over; what this process has decided or adopted already stays.
  private void read() {
    if (file != null && Files.isRegularFile(file)) {
      try {
        parse(Files.readString(file)).forEach(entries::putIfAbsent);
      } catch (IOException e) {
        // as good as none: shapes are measured again
      }
    }
  }

  /// Lines that are none of ours, such as the last of a writer that was killed, are passed over.
  private static Map<String, Entry> parse(String text) {
    Map<String, Entry> parsed = new TreeMap<>();
    text.lines()
        .filter(line -> !line.startsWith("#"))
        .map(line -> line.split("\t", -1))
        .filter(columns -> columns.length == 4)
        .filter(columns -> columns[1].equals(OWN) || columns[1].equals(LIBRARY))
        .forEach(columns -> {
          try {
            var entry =
                new Entry(
                    columns[1].equals(LIBRARY),
                    Double.parseDouble(columns[2]),
                    Double.parseDouble(columns[3]));
            parsed.put(columns[0], entry);
          } catch (NumberFormatException e) {
            // passed over as well
          }
        });
    return parsed;
  }

  /// The table as a file.
  synchronized String text() {
    var text = new StringBuilder(HEAD).append(identity).append('\n').append(COLUMNS).append('\n');
    entries.forEach((name, entry) ->
        text.append(
            String.format(
                Locale.ROOT,
                "%s\t%s\t%.2f\t%.2f%n",
                name,
                entry.byLibrary ? LIBRARY : OWN,
                entry.own,
                entry.library)));
    return text.toString();
  }

  /// Takes the decisions of a file over, before all that this table has.
  ///
  /// @return whether they were made on this device, with this library and these kernels; others are
  ///   not taken
  synchronized boolean adopt(String text) {
    if (!text.startsWith(HEAD + identity + "\n")) {
      return false;
    }
    entries.putAll(parse(text));
    return true;
  }

  /// How many of the shapes the library multiplies.
  synchronized String summary() {
    long byLibrary = entries.values().stream().filter(Entry::byLibrary).count();
    return "for %d of %d shapes so far".formatted(byLibrary, entries.size());
  }
}
