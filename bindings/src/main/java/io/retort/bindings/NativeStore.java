package io.retort.bindings.cpu;

import io.retort.bindings.NativeLinkError;
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
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;

/// A private directory of unpacked native libraries, `<root>/<first 16 digits of sha256>/<file
/// name>`.
///
/// A directory is used only if it belongs to this user and nobody else may write to it, so a file
/// in it is one that this user put there. A library is written to a temporary name, compared with
/// the checksum taken at build time and then renamed; a receipt beside it keeps size and
/// modification time, so later starts need not read 93 MB again.
final class NativeStore {
  private static final Set<PosixFilePermission> PRIVATE =
      PosixFilePermissions.fromString("rwx------");

  private static final String PLATFORM = "linux-x86_64/";

  private final Path root;
  private final ClassLoader jar;
  private final Map<String, Resource> resources;

  private NativeStore(Path root, ClassLoader jar, Map<String, Resource> resources) {
    this.root = root;
    this.jar = jar;
    this.resources = resources;
  }

  /// One native library in a jar, with what the build knew about it.
  record Resource(String path, String sha256, long bytes) {
    String fileName() {
      return path.substring(path.lastIndexOf('/') + 1);
    }
  }

  /// Opens a store for the libraries that the build lists in the resource `checksums`, in the first
  /// usable place: `$XDG_CACHE_HOME/retort`, `~/.cache/retort`, then a directory of this user in
  /// the temporary directory.
  ///
  /// @throws NativeLinkError if none is usable, with the reason for each
  static NativeStore open(ClassLoader jar, String checksums, Map<String, String> environment) {
    var reasons = new ArrayList<String>();
    for (var candidate : candidates(environment)) {
      try {
        Files.createDirectories(candidate.getParent());
        return new NativeStore(privateDirectory(candidate), jar, resources(jar, checksums));
      } catch (IOException e) {
        reasons.add(candidate + ": " + reason(e));
      }
    }
    throw new NativeLinkError(
        "No private directory for native libraries, tried " + String.join("; ", reasons));
  }

  private static Map<String, Resource> resources(ClassLoader jar, String checksums) {
    var resources = new HashMap<String, Resource>();
    try (var in = jar.getResourceAsStream(checksums)) {
      if (in == null) {
        throw new NativeLinkError(
            "The list of native libraries, " + checksums + ", is not in the jar");
      }
      for (var line : new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().toList()) {
        var fields = line.split(" +", -1);
        var path = fields[2];
        resources.put(
            path.substring(path.indexOf(PLATFORM) + PLATFORM.length()),
            new Resource(path, fields[0], Long.parseLong(fields[1])));
      }
    } catch (IOException e) {
      throw new NativeLinkError(checksums + " cannot be read", e);
    }
    return Map.copyOf(resources);
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

  /// Whether the jar has a library; names are the last parts of resource paths, `libgomp.so.1` or
  /// `avx2/libretort_cpu.so`.
  boolean has(String name) {
    return resources.containsKey(name);
  }

  /// The library as a file that only this user can have written.
  ///
  /// @throws NativeLinkError if the jar lacks it, or it cannot be written, or differs from what was
  ///   built
  Path unpack(String name) {
    var resource = resources.get(name);
    if (resource == null) {
      throw new NativeLinkError("The jar of the CPU library was built without " + name);
    }
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
      try (var in = jar.getResourceAsStream(resource.path())) {
        if (in == null) {
          throw new IOException(resource.path() + " is not on the class path");
        }
        var digesting = new DigestInputStream(in, digest());
        Files.copy(digesting, part, StandardCopyOption.REPLACE_EXISTING);
        actual = HexFormat.of().formatHex(digesting.getMessageDigest().digest());
      }
      if (!actual.equals(resource.sha256())) {
        throw new IOException(
            "its checksum is %s, the build recorded %s".formatted(actual, resource.sha256()));
      }
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
