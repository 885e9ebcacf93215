package io.retort.checkpoint;

import io.retort.Golden;
import io.retort.backend.CpuBackend;
import io.retort.checkpoint.OnnxExport.Labels;
import io.retort.op.Backend;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalDouble;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// The networks of [DiffusersVariantsTest] in ONNX Runtime, which hosts with a GPU need not have.
final class DiffusersOnnxTest {
  @TempDir private Path folder;

  @ParameterizedTest
  @MethodSource("io.retort.checkpoint.DiffusersVariantsTest#variants")
  void onnxRuntimeDenoisesTheSame(String variant) throws IOException {
    try (Golden golden = Golden.open(DiffusersVariantsTest.FILE)) {
      DiffusersVariantsTest.write(golden, variant, folder);
      String prefix = variant + "/";
      boolean conditional = golden.has(prefix + "in/labels");
      Labels labels = conditional ? Labels.ONE_HOT : Labels.NONE;
      Path file = folder.resolve("model.onnx");
      Backend cpu = CpuBackend.open();
      try (ModelFile model = ModelFile.load(folder, cpu.memory())) {
        new OnnxExport(17, labels, OptionalDouble.empty()).write(file, model, cpu);
      }
      try (OrtModel ort = new OrtModel(file)) {
        for (String input : conditional ? List.of("x", "sigma", "labels") : List.of("x", "sigma")) {
          String name = prefix + "in/" + input;
          ort.set(input, golden.floats(name), golden.shape(name).dims());
        }
        Golden.assertClose("D", ort.run(), golden.floats(prefix + "out/D"), 2e-5, 1e-4);
      }
    }
  }
}
