package io.retort;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.ModelConfig;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.NpzFile;
import io.retort.checkpoint.OnnxListing;
import io.retort.checkpoint.StorageType;
import io.retort.checkpoint.TensorEntry;
import io.retort.checkpoint.TensorFile;
import io.retort.checkpoint.TorchFile;
import io.retort.checkpoint.TorchSample;
import io.retort.checkpoint.TorchSample.View;
import io.retort.data.DataException;
import io.retort.data.Datasets;
import io.retort.data.PictureHeader;
import io.retort.data.Pictures;
import io.retort.data.Png;
import io.retort.recipe.BuiltIn;
import io.retort.recipe.RecipeException;
import io.retort.recipe.RecipeReader;
import io.retort.report.EventsReader;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipFile;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// Damaged files of every format, as many as a few seconds each allow: read, or refused by the
/// format's own exception in one sentence; never a crash, never two seconds of work, never more
/// memory than twice the file and what reading takes anyway.
///
/// `-Dretort.fuzz.seconds=N` gives each format N seconds instead of three, `-Dretort.fuzz.seed=S`
/// another sequence.
class HostileFilesTest {
  private static final double SECONDS =
      Double.parseDouble(System.getProperty("retort.fuzz.seconds", "3"));
  private static final long SEED = Long.getLong("retort.fuzz.seed", 1);
  private static final long MOST_NANOS = TimeUnit.SECONDS.toNanos(2);

  /// Buffers of streams, inflaters, paths and exceptions, whatever the size of the file.
  private static final long FIXED_BYTES = 400_000;

  /// The YAML library makes about a kilobyte of short-lived objects for every key and value, of
  /// which a recipe may have 2,000.
  private static final long YAML_BYTES = 6_000_000;

  private static final ThreadMXBean THREAD = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  @TempDir private static Path folder;

  /// Reads a file and says how many bytes it gave.
  interface Reading {
    long read(Path file) throws IOException;
  }

  /// @param fixed makes a damaged seed a file again, such as by a checksum that fits
  record Format(String name, String file, List<byte[]> seeds, Fixing fixed, Reading reading) {
    @Override
    public String toString() {
      return name;
    }
  }

  interface Fixing {
    byte[] file(byte[] damaged, Random random) throws IOException;
  }

  private static Format plain(String name, String file, List<byte[]> seeds, Reading reading) {
    return new Format(name, file, seeds, (damaged, random) -> damaged, reading);
  }

  static Stream<Format> formats() throws IOException {
    return Stream.of(
        plain(
            "safetensors",
            "m.safetensors",
            List.of(
                golden("safetensors_cases/writer_reference.safetensors"),
                golden("safetensors_cases/ok_meta.safetensors"),
                golden("safetensors_cases/hole.safetensors")),
            HostileFilesTest::tensors),
        plain("shards", "m.safetensors.index.json", List.of(index()), HostileFilesTest::tensors),
        plain(
            "PyTorch",
            "m.pt",
            List.of(golden("pt_sample.pt"), nested(), overflowing()),
            HostileFilesTest::torch),
        new Format(
            "pickle",
            "p.pt",
            List.of(
                entry(golden("pt_sample.pt"), "data.pkl"),
                entry(nested(), "data.pkl"),
                entry(overflowing(), "data.pkl")),
            (damaged, random) -> Files.readAllBytes(sample().writeCode(file("w.pt"), damaged)),
            HostileFilesTest::torch),
        plain("npy", "a.npy", List.of(npy()), file -> NpyFile.read(file).shape().length),
        plain(
            "npz",
            "a.npz",
            List.of(golden("numpy_compressed.npz"), golden("fidref.npz")),
            HostileFilesTest::arrays),
        plain("IDX", "idx/train-images-idx3-ubyte", List.of(idx()), HostileFilesTest::idxFolder),
        plain("pictures", "set.zip", List.of(pictures()), HostileFilesTest::dataset),
        new Format(
            "PNG",
            "x.png",
            List.of(Pictures.png(9, 7, 3, 1), Pictures.png(64, 64, 1, 2)),
            HostileFilesTest::withChecksums,
            HostileFilesTest::png),
        plain("recipe", "r.yaml", recipes(), HostileFilesTest::recipe),
        plain("config", "config.json", List.of(config()), HostileFilesTest::config),
        plain(
            "events",
            "e.tfevents",
            List.of(golden("sample.tfevents")),
            file -> EventsReader.read(file).values().size()),
        plain(
            "ONNX",
            "m.onnx",
            List.of(golden("block_adm_attn2_opset17.onnx")),
            file -> OnnxListing.read(file).weights()));
  }

  @ParameterizedTest
  @MethodSource("formats")
  @Timeout(value = 15, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
  void damageIsRefusedQuicklyAndCheaply(Format format) throws IOException {
    Path file = file(format.file);
    Files.createDirectories(file.getParent());
    for (int i = 0; i < 20; i++) {
      for (byte[] seed : format.seeds) {
        Files.write(file, format.fixed.file(seed.clone(), new Random(0)));
        attempt(format, file, "the seed itself");
      }
    }
    long end = System.nanoTime() + (long) (SECONDS * 1e9);
    long cases = 0;
    long accepted = 0;
    while (System.nanoTime() < end) {
      Random random = new Random(SEED * 1_000_003 + cases);
      byte[] damaged = format.fixed.file(Mutation.of(format.seeds, random), random);
      Files.write(file, damaged);
      accepted += attempt(format, file, "case " + cases) ? 1 : 0;
      cases++;
    }
    System.out.printf("%s: %,d damaged files, %,d still readable%n", format.name, cases, accepted);
    assertThat(cases).isGreaterThan(10);
  }

  /// Whether the file could be read.
  ///
  /// What is over a limit is measured again: code that runs for the first time loads classes.
  private static boolean attempt(Format format, Path file, String which) throws IOException {
    long fixed = format.name.equals("recipe") ? YAML_BYTES : FIXED_BYTES;
    Cost cost = cost(format, file, which);
    for (int again = 0; again < 2 && !cost.excess(Files.size(file), fixed).isEmpty(); again++) {
      cost = cost(format, file, which);
    }
    String excess = cost.excess(Files.size(file), fixed);
    if (!excess.isEmpty()) {
      throw failure(format, file, which, excess, null);
    }
    return cost.accepted;
  }

  /// @param given bytes that were read out of the file
  private record Cost(boolean accepted, long given, long nanos, long bytes) {
    String excess(long size, long fixed) {
      return nanos > MOST_NANOS
          ? nanos / 1_000_000 + " ms"
          : bytes > fixed + 2 * (size + given)
              ? "%d bytes for a file of %d".formatted(bytes, size)
              : "";
    }
  }

  private static Cost cost(Format format, Path file, String which) throws IOException {
    long allocated = THREAD.getCurrentThreadAllocatedBytes();
    long busy = THREAD.getCurrentThreadCpuTime();
    long given = 0;
    boolean accepted = true;
    try {
      given = format.reading.read(file);
    } catch (CheckpointException | DataException | RecipeException refused) {
      accepted = false;
      if (refused.getMessage().lines().count() != 1) {
        throw failure(format, file, which, "a refusal of several lines", refused);
      }
    } catch (RuntimeException | Error | IOException crash) {
      throw failure(format, file, which, "a crash", crash);
    }
    return new Cost(
        accepted,
        given,
        THREAD.getCurrentThreadCpuTime() - busy,
        THREAD.getCurrentThreadAllocatedBytes() - allocated);
  }

  private static AssertionError failure(
      Format format, Path file, String which, String what, Throwable cause) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    String hex = bytes.length > 4000 ? "" : " " + HexFormat.of().formatHex(bytes);
    return new AssertionError(
        "%s, %s of seed %d: %s%s".formatted(format.name, which, SEED, what, hex), cause);
  }

  private static Path file(String name) {
    return folder.resolve(name);
  }

  private static long tensors(Path file) {
    try (TensorFile opened = TensorFile.open(file)) {
      return values(opened);
    }
  }

  private static long torch(Path file) {
    try (TensorFile all = TorchFile.everything(file)) {
      all.entries().forEach(entry -> all.data(entry.name()).byteSize());
    }
    try (TensorFile opened = TensorFile.open(file)) {
      return values(opened);
    }
  }

  private static long values(TensorFile opened) {
    long given = 0;
    for (TensorEntry entry : opened.entries()) {
      opened.data(entry.name());
      if (entry.type() == StorageType.F32) {
        given += 4L * opened.floats(entry.name()).length;
      }
    }
    return given;
  }

  private static long arrays(Path file) {
    long given = 0;
    try (NpzFile opened = NpzFile.open(file)) {
      opened.entries();
      for (String name : opened.names()) {
        given += bytes(opened.read(name));
      }
    }
    return given;
  }

  private static long bytes(NpyFile array) {
    long bytes = Long.parseLong(array.typeName().substring(1));
    for (long dimension : array.shape()) {
      bytes *= dimension;
    }
    return 2 * bytes;
  }

  private static long idxFolder(Path images) throws IOException {
    Path labels = images.resolveSibling("train-labels-idx1-ubyte");
    if (!Files.exists(labels)) {
      byte[] two = {0, 0, 8, 1, 0, 0, 0, 2, 0, 1};
      Files.write(labels, two);
      Files.write(images.resolveSibling("t10k-labels-idx1-ubyte"), two);
      Files.write(images.resolveSibling("t10k-images-idx3-ubyte"), idx());
    }
    return Datasets.get(images.getParent().toString()).train().pixels().length;
  }

  private static long dataset(Path file) {
    return Datasets.get(file.toString()).test().pixels().length;
  }

  private static long png(Path file) throws IOException {
    PictureHeader header = PictureHeader.read(file);
    return 2L * header.width() * header.height()
        + (header.plain() ? Png.decode("x.png", Files.readAllBytes(file)).pixels().length : 0);
  }

  private static long recipe(Path file) {
    return RecipeReader.read(file, List.of()).data().length();
  }

  private static long config(Path file) {
    return ModelConfig.read(file).network().resolution() > 0 ? 1 : 0;
  }

  /// Half of the damaged pictures get checksums that fit, so that what lies behind them is seen.
  private static byte[] withChecksums(byte[] png, Random random) {
    if (random.nextBoolean()) {
      ByteBuffer bytes = ByteBuffer.wrap(png);
      for (int at = 8; at >= 0 && at + 12 <= png.length; ) {
        int length = bytes.getInt(at);
        if (length < 0 || length > png.length - at - 12) {
          break;
        }
        var crc = new CRC32();
        crc.update(png, at + 4, length + 4);
        bytes.putInt(at + 8 + length, (int) crc.getValue());
        at += 12 + length;
      }
    }
    return png;
  }

  private static byte[] golden(String name) throws IOException {
    try (var in = HostileFilesTest.class.getResourceAsStream("/golden/" + name)) {
      return Objects.requireNonNull(in, name).readAllBytes();
    }
  }

  private static byte[] index() throws IOException {
    Files.write(file("s.safetensors"), golden("safetensors_cases/ok.safetensors"));
    return "{\"metadata\": {\"total_size\": 16}, \"weight_map\": {\"a\": \"s.safetensors\"}}"
        .getBytes(StandardCharsets.UTF_8);
  }

  private static TorchSample sample() {
    // As long as those of the golden file, and one for the nested sample.
    return new TorchSample()
        .storage("0", 0, 1, 2, 3, 4, 5, 6, 7)
        .storage("1", new byte[6])
        .storage("2", new byte[8])
        .storage("9", 1, 2, 3);
  }

  private static byte[] nested() throws IOException {
    TorchSample sample = sample();
    Map<String, Object> root = new LinkedHashMap<>();
    root.put("step", 7L);
    root.put("loss", 0.5);
    root.put("ema", Map.of("w", sample.tensor("9", new float[] {1, 2, 3}, 3)));
    root.put("names", List.of("a", "b"));
    return Files.readAllBytes(sample.write(file("nested.pt"), root));
  }

  /// A storage whose bits are 2^64, which a long takes for none, and views as large.
  private static byte[] overflowing() throws IOException {
    TorchSample sample = sample().storage("3");
    long most = 1L << 59;
    Map<String, Object> root = new LinkedHashMap<>();
    root.put("w", new View("3", most, 0, new long[] {1L << 30, 1 << 20}, new long[] {1, 1}));
    root.put("v", new View("3", most, most - 1, new long[] {1}, new long[] {1}));
    root.put("u", new View("0", 8, 0, new long[] {0, 1L << 40, 1L << 40}, new long[] {1, 1, 1}));
    return Files.readAllBytes(sample.write(file("overflowing.pt"), root));
  }

  private static byte[] entry(byte[] zip, String suffix) throws IOException {
    try (var opened = new ZipFile(Files.write(file("of.zip"), zip).toFile())) {
      var found = opened.stream().filter(e -> e.getName().endsWith(suffix)).findFirst();
      return opened.getInputStream(found.orElseThrow()).readAllBytes();
    }
  }

  private static byte[] npy() throws IOException {
    NpyFile.write(file("seed.npy"), new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
    return Files.readAllBytes(file("seed.npy"));
  }

  private static byte[] idx() {
    return ByteBuffer.allocate(16 + 40).putInt(0x803).putInt(2).putInt(4).putInt(5).array();
  }

  private static byte[] pictures() throws IOException {
    return Files.readAllBytes(Pictures.edmZip(file("seed.zip"), 3, 4, 1, 2));
  }

  private static List<byte[]> recipes() {
    List<byte[]> recipes = new ArrayList<>();
    BuiltIn.recipes().forEach(r -> recipes.add(BuiltIn.recipe(r).getBytes(StandardCharsets.UTF_8)));
    return recipes;
  }

  private static byte[] config() {
    return """
    {"precond": "EDMPrecond", "sigma_data": 0.5, "model_type": "SongUNet", "img_resolution": 16,
    "img_channels": 3, "label_dim": 10, "model_channels": 16, "channel_mult": [1, 2],
    "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.1, "augment_dim": 9}
    """
        .getBytes(StandardCharsets.UTF_8);
  }
}
