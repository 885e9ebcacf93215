package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.Golden;
import io.retort.backend.CpuBackend;
import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.SafetensorsWriter;
import io.retort.checkpoint.TensorEntry;
import io.retort.checkpoint.TorchSample;
import io.retort.data.Pictures;
import io.retort.tensor.Memory;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// A user's own files through the command line: PyTorch and sharded models, pictures to train on.
class OwnFilesTest {
  private static final String TEACHER =
      """
      method: edm
      data: %s
      steps: 3
      network: {channels: 4, multipliers: [1, 1], attention: []}
      save: {every: 2, samples: 3}
      evaluation: {count: 0, teacher_steps: 1}
      edm: {batch: 4}
      """;

  @TempDir private Path folder;

  private void assertDenoises(Path model) {
    Path out = folder.resolve("d.npy");
    Path labels = TinyModel.npy("in/class_labels", folder.resolve("l.npy"));
    Path x = TinyModel.npy("in/x", folder.resolve("x.npy"));
    Path sigma = TinyModel.npy("in/sigma", folder.resolve("s.npy"));
    Call.of("denoise", model, "--x", x, "--sigma", sigma, "--labels", labels, "--out", out)
        .succeeded();
    float[] expected = TinyModel.values("out/D");
    Golden.assertClose("out/D", NpyFile.read(out).floats(), expected, 2e-5, 1e-4);
  }

  @Test
  void aModelMayBeAPyTorchFile() throws IOException {
    Path model = TinyModel.write(folder.resolve("model"));
    Path weights = model.resolve(ModelFile.WEIGHTS);
    TorchSample sample = new TorchSample();
    Map<String, Object> state = new LinkedHashMap<>();
    try (SafetensorsReader reader = SafetensorsReader.open(weights)) {
      int key = 0;
      for (TensorEntry entry : reader.entries()) {
        Object tensor =
            sample.tensor(Integer.toString(key++), reader.floats(entry.name()), entry.shape());
        state.put(entry.name(), tensor);
      }
    }
    Files.delete(weights);
    sample.write(model.resolve("model.pt"), state);
    assertDenoises(model);
    Path nested = model.resolve("training.pth");
    Map<String, Object> root = new LinkedHashMap<>();
    root.put("net", Map.of("w", sample.tensor("other", new float[] {1}, 1)));
    root.put("ema", state);
    sample.write(nested, root);
    assertDenoises(nested);
    assertDenoises(Path.of(nested + "#ema"));
    Call.of("inspect", Path.of(nested + "#net")).succeeded();
    Path snapshot = Files.write(folder.resolve("snapshot.pkl"), new byte[] {-128, 4, '.'});
    Call refused = Call.of("sample", snapshot, "--out", "x.png", "--count", 1);
    assertThat(refused.err()).contains("which reading would run as a program", "pickle.load");
  }

  @Test
  void aModelMayBeShards() throws IOException {
    Path model = TinyModel.write(folder.resolve("model"));
    Path weights = model.resolve(ModelFile.WEIGHTS);
    SafetensorsWriter[] shards = {new SafetensorsWriter(), new SafetensorsWriter()};
    StringBuilder map = new StringBuilder();
    try (SafetensorsReader reader = SafetensorsReader.open(weights)) {
      List<TensorEntry> entries = reader.entries();
      for (int i = 0; i < entries.size(); i++) {
        String name = entries.get(i).name();
        float[] values = reader.floats(name);
        shards[i % 2].floats(name, entries.get(i).shape(), () -> values);
        map.append(i == 0 ? "" : ",").append("\"%s\":\"s%d.safetensors\"".formatted(name, i % 2));
      }
    }
    shards[0].write(model.resolve("s0.safetensors"));
    shards[1].write(model.resolve("s1.safetensors"));
    Files.delete(weights);
    Path index = model.resolve("model.safetensors.index.json");
    Files.writeString(index, "{\"metadata\":{},\"weight_map\":{%s}}".formatted(map));
    assertDenoises(model);
    assertDenoises(index);
  }

  /// A configuration cannot ask for memory that the weights beside it do not fill.
  @Test
  void nothingIsAllocatedForWeightsThatDoNotFit() throws IOException {
    Path model = TinyModel.write(folder.resolve("model"));
    Path config = model.resolve(ModelFile.CONFIG);
    String text = Files.readString(config);
    String wide = text.replaceFirst("\"model_channels\": *\\d+", "\"model_channels\": 1024");
    assertThat(wide).isNotEqualTo(text);
    Files.writeString(config, wide);
    Memory none =
        (Memory)
            Proxy.newProxyInstance(
                Memory.class.getClassLoader(),
                new Class<?>[] {Memory.class},
                (proxy, method, arguments) -> {
                  throw new AssertionError("memory: " + method.getName());
                });

    assertThatThrownBy(() -> ModelFile.load(model, none))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("must be");
  }

  /// What was loaded and saved again is the same file, bit by bit.
  @Test
  void aRoundTripChangesNothing() throws IOException {
    Path model = TinyModel.write(folder.resolve("model"));
    Path copy = Files.createDirectory(folder.resolve("copy"));
    try (ModelFile loaded = ModelFile.load(model, CpuBackend.open().memory())) {
      ModelFile.save(copy, loaded.denoiser(), loaded.parameters(), loaded.metadata());
    }
    try (SafetensorsReader before = SafetensorsReader.open(model.resolve(ModelFile.WEIGHTS));
        SafetensorsReader after = SafetensorsReader.open(copy.resolve(ModelFile.WEIGHTS))) {
      for (TensorEntry entry : after.entries()) {
        assertThat(after.bytes(entry.name())).isEqualTo(before.bytes(entry.name()));
      }
      assertThat(after.entries()).isNotEmpty();
    }
    Path again = Files.createDirectory(folder.resolve("again"));
    try (ModelFile loaded = ModelFile.load(copy, CpuBackend.open().memory())) {
      ModelFile.save(again, loaded.denoiser(), loaded.parameters(), loaded.metadata());
    }
    assertThat(again.resolve(ModelFile.WEIGHTS))
        .hasSameBinaryContentAs(copy.resolve(ModelFile.WEIGHTS));
  }

  @Test
  void aTeacherAndAStudentLearnFromAZipOfPictures() throws IOException {
    Path zip = Pictures.edmZip(folder.resolve("set.zip"), 40, 8, 3, 3);
    Path recipe =
        Files.writeString(folder.resolve("teacher.yaml"), TEACHER.formatted("fashion-mnist"));
    Path teacher = folder.resolve("teacher");
    Call trained = Call.of("train", recipe, "--data", zip, "--out", teacher, "--json");
    assertThat(trained.json().get("finished")).isEqualTo(true);
    assertThat(teacher.resolve("recipe.yaml")).content().contains("set.zip");
    assertThat(teacher.resolve("config.json")).content().contains("\"img_resolution\": 8");
    Path student =
        Files.writeString(
            folder.resolve("student.yaml"),
            """
            method: dmd2
            data: %s
            steps: 1
            evaluation: {count: 0, teacher_steps: 1}
            dmd2: {batch: 2, real_batch: 4, embedding: {width: 4, depth: 1}}
            """
                .formatted(zip));
    Call.of("distill", student, "--teacher", teacher, "--out", folder.resolve("student"))
        .succeeded();
    Call.of("eval", teacher, "--data", zip, "--count", 4).refused(1, "metric net");
  }

  /// From pictures alone to a measurement: a metric net of their own size, a teacher, its numbers.
  @Test
  void aModelIsMeasuredAgainstOnesOwnPictures() throws IOException {
    Path zip = Pictures.edmZip(folder.resolve("set.zip"), 200, 16, 3, 2);
    Path recipe =
        Files.writeString(folder.resolve("teacher.yaml"), TEACHER.formatted("fashion-mnist"));
    Path teacher = folder.resolve("teacher");
    Call.of("train", recipe, "--data", zip, "--out", teacher).succeeded();
    Call asked = Call.of("eval", teacher, "--data", zip, "--count", 16);
    asked.refused(1, "before its metric net is trained: retort train fashion-mnist-metric-net");
    Path net = Path.of(asked.err().replaceFirst("(?s).*--out (\\S+).*", "$1"));
    try {
      Call.of("train", "fashion-mnist-metric-net", "--data", zip, "--steps", 3, "--out", net)
          .succeeded();
      Map<?, ?> json =
          Call.of("eval", teacher, "--data", zip, "--count", 16, "--steps", 1, "--json").json();
      assertThat((List<?>) json.get("rows")).hasSize(2);
    } finally {
      try (var files = Files.walk(net)) {
        files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
      }
    }
  }

  @Test
  void picturesOfOnesOwnAreShown() throws IOException {
    Map<String, byte[]> files = new LinkedHashMap<>();
    for (int i = 0; i < 12; i++) {
      files.put("%s/%d.png".formatted(i % 2 == 0 ? "a" : "b", i), Pictures.png(6, 6, 3, i));
    }
    Path pets = Pictures.folder(folder.resolve("pets"), files);
    Path grid = folder.resolve("grid.png");
    Call shown = Call.of("data", "show", pets, "--count", 5, "--out", grid);
    assertThat(shown.succeeded().out()).contains("the first 5 of 11 training images");
    assertThat(grid).isNotEmptyFile();
    Files.write(pets.resolve("b/99.png"), Pictures.png(6, 7, 3, 1));
    Call.of("data", "show", pets, "--out", grid).refused(1, "must be 6x6 as the first picture is");
    Call.of("data", "show", folder.resolve("none"), "--out", grid)
        .refused(1, "is not a known data set, nor a path");
  }
}
