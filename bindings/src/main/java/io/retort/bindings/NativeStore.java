package io.retort.bindings;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// The native code that the build packed into the jars, with its checksums, and a private directory
/// of what was unpacked: `<root>/<first 16 digits of sha256>/<file name>`.
///
/// A directory is used only if it belongs to this user and nobody else may write to it, so a file
/// in it is one that this user put there. A library is written to a temporary name, compared with
/// the checksum taken at build time and then renamed; a receipt beside it keeps size and
/// modification time, so later starts need not read 93 MB again.
public final class NativeStore {
  private static final Set<PosixFilePermission> PRIVATE =
      PosixFilePermissions.fromString("rwx------");

  private final Path root;
  private final Jar jar;
  private final Map<String, Resource> resources;

  private NativeStore(Path root, Jar jar, Map<String, Resource> resources) {
    this.root = root;
    this.jar = jar;
    this.resources = resources;
  }

  /// Where resources are read: a class loader's `getResourceAsStream`, or a module's for those in
  /// its own packages.
  @FunctionalInterface
  public interface Jar {
    @Nullable InputStream open(String path) throws IOException;
  }

  /// One file of native code in a jar, with what the build knew about it.
  public record Resource(String path, String sha256, long bytes) {
    public String fileName() {
      return path.substring(path.lastIndexOf('/') + 1);
    }
  }

  /// Opens a store for the files that the build lists in the resource `checksums`, a file being
  /// known by what follows `prefix` in its path.
  ///
  /// @throws NativeLinkError if there is no private directory, with the reason for each tried
  public static NativeStore open(
      Jar jar, String checksums, String prefix, Map<String, String> environment) {
    var resources = new LinkedHashMap<String, Resource>();
    for (var resource : listed(jar, checksums)) {
      var path = resource.path();
      resources.put(path.substring(path.indexOf(prefix) + prefix.length()), resource);
    }
    return new NativeStore(directory(environment), jar, resources);
  }

  /// Opens a store for one file of somebody else's jar, known by its file name.
  public static NativeStore open(Jar jar, Resource resource, Map<String, String> environment) {
    return new NativeStore(directory(environment), jar, Map.of(resource.fileName(), resource));
  }

  private static List<Resource> listed(Jar jar, String checksums) {
    try (var in = jar.open(checksums)) {
      if (in == null) {
        throw new NativeLinkError(
            "The list of native libraries, " + checksums + ", is not in the jar");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8)
          .lines()
          .map(line -> line.split(" +", -1))
          .map(fields -> new Resource(fields[2], fields[0], Long.parseLong(fields[1])))
          .toList();
    } catch (IOException e) {
      throw new NativeLinkError(checksums + " cannot be read", e);
    }
  }

  /// The first usable of `$XDG_CACHE_HOME/retort`, `~/.cache/retort` and a directory of this user
  /// in the temporary directory.
  private static Path directory(Map<String, String> environment) {
    var reasons = new ArrayList<String>();
    for (var candidate : candidates(environment)) {
      try {
        Files.createDirectories(candidate.getParent());
        return privateDirectory(candidate);
      } catch (IOException e) {
        reasons.add(candidate + ": " + reason(e));
      }
    }
    throw new NativeLinkError(
        "No private directory for native libraries, tried " + String.join("; ", reasons));
  }

  private static Iterable<Path> candidates(Map<String, String> environment) {
    var candidates = new ArrayList<Path>();
    var cache = environment.get("XDG_CACHE_HOME");
    if (cache != null && cache.startsWith("/")) {
      candidates.add(Path.of(cache, "retort"));
    }
    var home = environment.getOrDefault("HOME", System.getProperty("user.home"));
    if (home != null && home.startsWith("/")) {
      candidates.add(Path.of(home, ".cache", "retort"));
    }
    candidates.add(
        Path.of(System.getProperty("java.io.tmpdir"), "retort-" + uid()).toAbsolutePath());
    return candidates;
  }

  /// What the build packed, `libgomp.so.1` or `avx2/libretort_cpu.so`, in the order of its list.
  public Set<String> names() {
    return Collections.unmodifiableSet(resources.keySet());
  }

  /// Whether the jar has a file of that name.
  public boolean has(String name) {
    return resources.containsKey(name);
  }

  /// The contents of a file, compared with its checksum.
  ///
  /// @throws NativeLinkError if the jar lacks it or it differs from what was built
  public byte[] read(String name) {
    var resource = resource(name);
    try (var in = stream(resource)) {
      var bytes = in.readAllBytes();
      requireGenuine(HexFormat.of().formatHex(digest().digest(bytes)), resource);
      return bytes;
    } catch (IOException e) {
      throw new NativeLinkError("%s could not be read: %s".formatted(name, reason(e)), e);
    }
  }

  /// The library as a file that only this user can have written.
  ///
  /// @throws NativeLinkError if the jar lacks it, or it cannot be written, or differs from what was
  ///   built
  public Path unpack(String name) {
    var resource = resource(name);
    try {
      var directory = privateDirectory(root.resolve(resource.sha256().substring(0, 16)));
      var file = directory.resolve(resource.fileName());
      if (!genuine(file, resource)) {
        write(file, resource);
      }
      return file;
    } catch (IOException e) {
      throw new NativeLinkError(
          "%s could not be unpacked to %s: %s".formatted(resource.fileName(), root, reason(e)), e);
    }
  }

  private Resource resource(String name) {
    var resource = resources.get(name);
    if (resource == null) {
      throw new NativeLinkError("The jar of the native libraries was built without " + name);
    }
    return resource;
  }

  private InputStream stream(Resource resource) throws IOException {
    var in = jar.open(resource.path());
    if (in == null) {
      throw new IOException(resource.path() + " is not on the class path");
    }
    return in;
  }

  private static void requireGenuine(String sha256, Resource resource) throws IOException {
    if (!sha256.equals(resource.sha256())) {
      throw new IOException(
          "its checksum is %s, the build recorded %s".formatted(sha256, resource.sha256()));
    }
  }

  private static boolean genuine(Path file, Resource resource) throws IOException {
    if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) || !ours(file)) {
      return false;
    }
    if (Files.size(file) != resource.bytes()) {
      return false;
    }
    var receipt = receiptOf(file);
    if (Files.isRegularFile(receipt, LinkOption.NOFOLLOW_LINKS)
        && Files.readString(receipt).equals(receipt(file, resource))) {
      return true;
    }
    try (var in = Files.newInputStream(file)) {
      if (!sha256(in).equals(resource.sha256())) {
        return false;
      }
    }
    replace(receipt, receipt(file, resource));
    return true;
  }

  private void write(Path file, Resource resource) throws IOException {
    var part = Files.createTempFile(file.getParent(), resource.fileName(), ".part");
    try {
      String actual;
      try (var in = stream(resource)) {
        var digesting = new DigestInputStream(in, digest());
        Files.copy(digesting, part, StandardCopyOption.REPLACE_EXISTING);
        actual = HexFormat.of().formatHex(digesting.getMessageDigest().digest());
      }
      requireGenuine(actual, resource);
      Files.setPosixFilePermissions(part, PRIVATE);
      Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(part);
    }
    replace(receiptOf(file), receipt(file, resource));
  }

  private static void replace(Path file, String text) throws IOException {
    var part = Files.createTempFile(file.getParent(), "receipt", ".part");
    try {
      Files.writeString(part, text);
      Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(part);
    }
  }

  private static Path receiptOf(Path file) {
    return file.resolveSibling(file.getFileName() + ".receipt");
  }

  private static String receipt(Path file, Resource resource) throws IOException {
    return "%s %d %s%n"
        .formatted(
            resource.sha256(), Files.size(file), Files.getLastModifiedTime(file).toInstant());
  }

  /// Creates the directory with mode 700 or checks that an existing one is a real directory of this
  /// user with that mode.
  private static Path privateDirectory(Path directory) throws IOException {
    if (!Files.exists(directory, LinkOption.NOFOLLOW_LINKS)) {
      Files.createDirectories(directory, PosixFilePermissions.asFileAttribute(PRIVATE));
    }
    if (!Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS)) {
      throw new IOException("not a directory");
    }
    if (!ours(directory)) {
      throw new IOException("belongs to another user");
    }
    if (!Files.getPosixFilePermissions(directory).equals(PRIVATE)) {
      Files.setPosixFilePermissions(directory, PRIVATE);
    }
    var probe = Files.createTempFile(directory, "probe", ".part");
    Files.delete(probe);
    return directory;
  }

  private static boolean ours(Path path) throws IOException {
    return Files.getAttribute(path, "unix:uid", LinkOption.NOFOLLOW_LINKS).equals(uid());
  }

  private static Object uid() {
    try {
      return Files.getAttribute(Path.of("/proc/self"), "unix:uid");
    } catch (IOException e) {
      throw new NativeLinkError("The user of this process cannot be read from /proc/self", e);
    }
  }

  private static String sha256(InputStream in) throws IOException {
    var digest = digest();
    var block = new byte[1 << 16];
    for (int n = in.read(block); n >= 0; n = in.read(block)) {
      digest.update(block, 0, n);
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }

  private static String reason(IOException e) {
    var message = e.getMessage();
    return message == null
        ? e.getClass().getSimpleName()
        : e.getClass().getSimpleName() + " " + message;
  }
}
