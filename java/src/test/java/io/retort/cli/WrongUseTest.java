package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.NpzFile;
import io.retort.data.Pictures;
import io.retort.diffusion.Denoiser;
import io.retort.grad.Parameters;
import io.retort.net.SongUNet;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// What a user does wrong with files: every call fails with its status and one sentence that says
/// what to change, within two seconds of processor time, and leaves nothing behind.
class WrongUseTest {
  private static final long MOST_NANOS = TimeUnit.SECONDS.toNanos(2);

  @TempDir private static Path folder;

  @BeforeAll
  static void write() throws IOException {
    TinyModel.write(folder.resolve("model"));
    TinyModel.npy("in/x", folder.resolve("x.npy"));
    TinyModel.npy("in/sigma", folder.resolve("s.npy"));

    npy("x1.npy", new float[64], 1, 1, 8, 8);
    npy("flat.npy", new float[128], 2, 64);
    npy("nhwc.npy", new float[128], 2, 8, 8, 1);
    npy("none.npy", new float[0], 0, 1, 8, 8);
    float[] broken = new float[128];
    broken[7] = Float.NaN;
    npy("nan.npy", broken, 2, 1, 8, 8);
    npy("zero.npy", new float[2], 2);
    npy("minus.npy", new float[] {-1, 1}, 2);
    npy("infinite.npy", new float[] {Float.POSITIVE_INFINITY, 1}, 2);
    npy("three.npy", new float[] {1, 1, 1}, 3);
    NpyFile.write(folder.resolve("integers.npy"), new long[128], 2, 1, 8, 8);
    NpyFile.write(folder.resolve("labels99.npy"), new long[] {0, 99}, 2);
    NpyFile.write(folder.resolve("labels-2.npy"), new long[] {0, -2}, 2);
    NpyFile.write(folder.resolve("labels3.npy"), new long[] {0, 1, 2}, 3);
    npy("float-labels.npy", new float[] {1, 2}, 2);
    Files.write(folder.resolve("empty"), new byte[0]);
    for (String kind : List.of("npy", "npz", "png", "pt", "onnx", "safetensors", "zip")) {
      Files.write(folder.resolve("empty." + kind), new byte[0]);
    }
    Files.writeString(folder.resolve("text.npy"), "1 2 3\n");
    Files.writeString(folder.resolve("text"), "some words\n".repeat(100));
    Files.createDirectory(folder.resolve("folder"));
    Files.createDirectory(folder.resolve("folder.npy"));
    Path bare = Files.createDirectory(folder.resolve("bare"));
    Files.copy(folder.resolve("model/model.safetensors"), bare.resolve("model.safetensors"));
    Path odd = Files.createDirectory(folder.resolve("odd"));
    Files.copy(folder.resolve("model/model.safetensors"), odd.resolve("model.safetensors"));
    Files.createDirectory(odd.resolve("config.json"));
    Path cut = Files.createDirectory(folder.resolve("cut"));
    byte[] whole = Files.readAllBytes(folder.resolve("model/model.safetensors"));
    Files.write(cut.resolve("model.safetensors"), Arrays.copyOf(whole, whole.length / 2));
    Files.copy(folder.resolve("model/config.json"), cut.resolve("config.json"));
    Path other = Files.createDirectory(folder.resolve("other"));
    Files.write(other.resolve("model.safetensors"), whole);
    Files.writeString(
        other.resolve("config.json"),
        Files.readString(folder.resolve("model/config.json"), StandardCharsets.UTF_8)
            .replaceFirst("\"img_channels\": *1", "\"img_channels\": 3"));
    writeModelOf28();
  }

  /// For `eval`, whose data set has images of that size.
  private static void writeModelOf28() throws IOException {
    var config = new SongUNet.Config(28, 1, 10, 4, List.of(1, 1), 1, List.of(), 0, 0);
    Denoiser denoiser = new Denoiser(new SongUNet(config), 0.5);
    Path model = Files.createDirectory(folder.resolve("m28"));
    try (Parameters weights = denoiser.network().plan().initialise(CpuBackend.open().memory(), 1)) {
      ModelFile.save(model, denoiser, weights, Map.of());
    }
    var statistics = new LinkedHashMap<String, NpyFile>();
    statistics.put("mu", NpyFile.of(new double[4], 4));
    statistics.put("sigma", NpyFile.of(new double[16], 4, 4));
    NpzFile.write(folder.resolve("stats.npz"), statistics);
    var few = new LinkedHashMap<String, NpyFile>();
    few.put("arr_0", NpyFile.of(new byte[20 * 784], 20, 28, 28, 1));
    NpzFile.write(folder.resolve("few.npz"), few);
    Pictures.edmZip(folder.resolve("small.zip"), 3, 4, 1, 2);
  }

  private static void npy(String name, float[] values, long... shape) {
    NpyFile.write(folder.resolve(name), values, shape);
  }

  private static void assertRefused(String line, int status, String words) {
    Object[] arguments =
        Arrays.stream(line.split(" ")).map(word -> word.replace("@", folder + "/")).toArray();
    ThreadMXBean thread = ManagementFactory.getThreadMXBean();
    long before = thread.getCurrentThreadCpuTime();
    Call.of(arguments).refused(status, words);
    assertThat(thread.getCurrentThreadCpuTime() - before).isLessThan(MOST_NANOS);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          @model --x @x1.npy --sigma @s.npy          | 1 | 2
          @model --x @flat.npy --sigma @s.npy        | 1 | must have shape (N, 1, 8, 8), got (2, 64)
          @model --x @nhwc.npy --sigma @s.npy        | 1 | must have shape (N, 1, 8, 8), got (2, 8, 8, 1)
          @model --x @none.npy --sigma @s.npy        | 1 | must have shape (N, 1, 8, 8)
          @model --x @nan.npy --sigma @s.npy         | 1 | not finite
          @model --x @integers.npy --sigma @s.npy    | 1 | must be a float array, got i8
          @model --x @empty.npy --sigma @s.npy       | 1 | empty.npy
          @model --x @text.npy --sigma @s.npy        | 1 | is not a .npy file
          @model --x @folder.npy --sigma @s.npy      | 1 | folder.npy
          @model --x @missing.npy --sigma @s.npy     | 1 | missing.npy
          @model --x @model/config.json --sigma @s.npy | 1 | is not a .npy file
          @model --x @x.npy --sigma @zero.npy        | 1 | zero.npy
          @model --x @x.npy --sigma @minus.npy       | 1 | minus.npy
          @model --x @x.npy --sigma @infinite.npy    | 1 | infinite.npy
          @model --x @x.npy --sigma @three.npy       | 1 | three.npy
          @model --x @x.npy --sigma @folder          | 1 | folder
          @model --x @x.npy --sigma @s.npy --labels @labels99.npy | 1 | 99
          @model --x @x.npy --sigma @s.npy --labels @labels-2.npy | 1 | -2
          @model --x @x.npy --sigma @s.npy --labels @labels3.npy  | 1 | labels3.npy
          @model --x @x.npy --sigma @s.npy --labels @float-labels.npy | 1 | must be an integer array, got f4
          @model --x @x.npy --sigma @s.npy --labels @empty | 1 | empty
          @bare --x @x.npy --sigma @s.npy            | 1 | config.json
          @odd --x @x.npy --sigma @s.npy             | 1 | config.json
          @cut --x @x.npy --sigma @s.npy             | 1 | model.safetensors
          @other --x @x.npy --sigma @s.npy           | 1 | must be
          @folder --x @x.npy --sigma @s.npy          | 1 | holds no model.safetensors
          @missing --x @x.npy --sigma @s.npy         | 1 | does not exist
          @empty --x @x.npy --sigma @s.npy           | 1 | config.json
          @text --x @x.npy --sigma @s.npy            | 1 | config.json
          """)
  void denoise(String line, int status, String words) {
    assertRefused("denoise " + line + " --out @d.npy", status, words);
    assertThat(folder.resolve("d.npy")).doesNotExist();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          @model --out @no/such/d.npy | 1 | no/such
          @model --out @folder.npy    | 1 | folder.npy
          @model                      | 2 | --out
          """)
  void denoiseSomewhere(String line, int status, String words) {
    assertRefused("denoise --x @x.npy --sigma @s.npy " + line, status, words);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          @model --count 0 --out @a.npy                | 2 | --count
          @model --count -3 --out @a.npy               | 2 | --count
          @model --count many --out @a.npy             | 2 | --count
          @model --steps 0 --out @a.npy                | 2 | --steps
          @model --labels 3 --out @a.npy               | 2 | from 0 to 2
          @model --labels x --out @a.npy               | 2 | --labels
          @model --out @a.jpg                          | 2 | --out
          @model --out @no/a.npy                       | 1 | @no
          @model --out @folder.npy                     | 1 | folder.npy
          @model --noise @flat.npy --out @a.npy        | 1 | must have shape
          @model --noise @folder --out @a.npy          | 1 | folder
          @model --noise @empty.npy --out @a.npy       | 1 | empty.npy
          @model --sampler best --out @a.npy           | 2 | --sampler
          @model --guidance NaN --out @a.npy           | 2 | --guidance
          @model --seed x --out @a.npy                 | 2 | --seed
          @bare --out @a.npy                           | 1 | config.json
          """)
  void sample(String line, int status, String words) {
    assertRefused("sample " + line, status, words.replace("@", folder + "/"));
    assertThat(folder.resolve("a.npy")).doesNotExist();
    assertThat(folder.resolve("a.jpg")).doesNotExist();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          @model --format tflite --out @m.tflite       | 2 | --format
          @model --out @m.xyz                          | 2 | .onnx
          @model --out @no/m.onnx                      | 1 | no/m.onnx
          @model --out @folder                         | 2 | folder
          @model --format onnx --opset 3 --out @m.onnx | 2 | --opset
          @missing --out @m.onnx                       | 1 | does not exist
          @folder --out @m.onnx                        | 1 | holds no model.safetensors
          @cut --out @m.onnx                           | 1 | model.safetensors
          @bare --out @m.onnx                          | 1 | config.json
          @empty.pt --out @m.onnx                      | 1 | config.json
          """)
  void export(String line, int status, String words) {
    assertRefused("export " + line, status, words);
    assertThat(folder.resolve("m.onnx")).doesNotExist();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          @empty             | 1 | empty
          @empty.npy         | 1 | empty.npy
          @empty.npz         | 1 | empty.npz
          @empty.png         | 1 | empty.png
          @empty.pt          | 1 | empty.pt
          @empty.onnx        | 1 | is no ONNX file
          @empty.safetensors | 1 | at least 8 bytes
          @empty.zip         | 1 | empty.zip
          @folder            | 1 | folder
          @missing           | 1 | missing
          @text              | 1 | text
          @text.npy          | 1 | text.npy
          @cut/model.safetensors | 1 | model.safetensors
          /dev/null          | 1 | is not a regular file
          @model.pt#ema      | 1 | model.pt
          """)
  void inspect(String line, int status, String words) {
    assertRefused("inspect " + line, status, words);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          @m28                                                            | 2 | --data
          @m28 --data no-such-set                                         | 1 | no-such-set
          @m28 --data @folder                                             | 1 | folder
          @m28 --data fashion-mnist-embedded --metrics best               | 2 | best
          @m28 --data fashion-mnist-embedded --count 0                    | 2 | --count
          @m28 --data fashion-mnist-embedded --count 9000000              | 1 | there are only
          @model --data fashion-mnist-embedded                            | 1 | the model makes
          @m28 --data fashion-mnist-embedded --reference @missing.npz     | 1 | missing.npz
          @m28 --data fashion-mnist-embedded --reference @missing         | 1 | does not exist
          @m28 --data fashion-mnist-embedded --reference @empty.npz       | 1 | empty.npz
          @m28 --data fashion-mnist-embedded --reference @folder          | 1 | folder
          @m28 --data fashion-mnist-embedded --reference @stats.npz       | 1 | statistics of 4 features
          @m28 --data fashion-mnist-embedded --reference @x.npy           | 1 | holds 8x8x1 images
          @m28 --data fashion-mnist-embedded --reference @flat.npy        | 1 | got f4 of shape (2, 64)
          @m28 --data fashion-mnist-embedded --reference @integers.npy    | 1 | got i8
          @m28 --data fashion-mnist-embedded --reference @nan.npy         | 1 | finite
          @m28 --data fashion-mnist-embedded --reference @small.zip       | 1 | images, fashion-mnist-embedded has 28x28x1
          @m28 --data fashion-mnist-embedded --count 100 --reference @few.npz | 1 | holds 20 images, fewer than --count 100
          """)
  void eval(String line, int status, String words) {
    assertRefused("eval " + line, status, words);
  }

  /// The reference takes the place of the training images in every row, the floor's too.
  @Test
  void evalAgainstAReferenceSaysWhatItIsAndHowMany() {
    String[] line = {
      "eval",
      folder + "/m28",
      "--data",
      "fashion-mnist-embedded",
      "--count",
      "20",
      "--steps",
      "1",
      "--metrics",
      "fid"
    };
    String[] against = Arrays.copyOf(line, line.length + 2);
    against[line.length] = "--reference";
    against[line.length + 1] = folder + "/few.npz";
    String usual = Call.of((Object[]) line).succeeded().out();
    String black = Call.of((Object[]) against).succeeded().out();
    assertThat(usual).contains(" training images; floor: held-out real images; n = 20");
    assertThat(black)
        .contains("Reference: 20 images of " + folder + "/few.npz; floor: held-out real images;")
        .contains("n = 20 in every row");
    assertThat(black.lines().toList().get(1)).isNotEqualTo(usual.lines().toList().get(1));
  }
}
