package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.GemmTable.Entry;
import io.retort.bindings.cuda.CudaEmulator;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.PanamaDriver;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Shapes are measured once, decisions are kept and obeyed, and both sides compute the same.
final class GemmChooserTest {
  private static final PanamaDriver DRIVER =
      PanamaDriver.open(CudaLibrary.open(CudaLibrary.EMULATOR));
  private static final CudaContext CONTEXT =
      CudaContext.open(DRIVER, CudaDevice.list(DRIVER).getFirst());
  private static final CublasGemm LIBRARY = CublasGemm.open(CONTEXT, CudaBinding.PANAMA);
  private static final String SHAPE = "f32 1x 8x12x16 nt bias";

  @TempDir private Path folder;

  @AfterAll
  static void close() {
    LIBRARY.close();
    CONTEXT.close();
  }

  private static CudaProduct products(GemmTable table) {
    var chooser = new GemmChooser(CONTEXT, LIBRARY, table);
    var gemm = new CudaGemm(CONTEXT, CudaTiling::fastest, chooser);
    return new CudaProduct(gemm, new CudaReduction(CONTEXT));
  }

  /// A dense layer of [#SHAPE], with as many kernels launched as the result says.
  private static long launches(CudaProduct products, DType type) {
    CudaEmulator emulator = CONTEXT.emulator().orElseThrow();
    try (var scope = new Scope(CONTEXT.memory())) {
      Tensor x = filled(scope, 1, 8, 16);
      Tensor weight = filled(scope, 0.5f, 12, 16);
      Tensor bias = filled(scope, 3, 12);
      var casts = new CudaElementwise(CONTEXT);
      Tensor input = scope.allocate(x.shape(), type);
      Tensor y = scope.allocate(Shape.of(8, 12), type);
      Tensor out = scope.allocate(Shape.of(8, 12));
      casts.cast(x, input);
      CONTEXT.synchronize();
      long before = emulator.count(CudaEmulator.Count.LAUNCHES);
      products.linear(input, weight, bias, y);
      CONTEXT.synchronize();
      long launched = emulator.count(CudaEmulator.Count.LAUNCHES) - before;
      casts.cast(y, out);
      assertThat(out.floats()).containsOnly(11);
      return launched;
    }
  }

  private static Tensor filled(Scope scope, float value, long... dims) {
    Tensor tensor = scope.allocate(Shape.of(dims));
    float[] values = new float[Math.toIntExact(tensor.elements())];
    Arrays.fill(values, value);
    return tensor.set(values);
  }

  @Test
  void aShapeIsMeasuredOnceAndKept() throws IOException {
    var table = GemmTable.open("this device", folder);
    CudaProduct products = products(table);

    assertThat(launches(products, DType.F32)).as("both, many times").isGreaterThan(5);
    assertThat(launches(products, DType.F32)).as("one of both, once").isLessThanOrEqualTo(1);

    Entry entry = table.get(SHAPE);
    assertThat(entry).isNotNull();
    assertThat(List.of(entry.own(), entry.library())).allMatch(time -> time > 0);
    var again = GemmTable.open("this device", folder);
    assertThat(again.text()).isEqualTo(table.text());
    assertThat(launches(products(again), DType.F32)).as("not again").isLessThanOrEqualTo(1);
    assertThat(GemmTable.open("another device", folder).get(SHAPE)).isNull();
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void whatTheTableSaysIsDone(DType type) {
    String shape = type == DType.F32 ? SHAPE : SHAPE.replace("f32", "bf16");
    var own = GemmTable.open("x", null);
    own.decide(shape, new Entry(false, 1, 2));
    var library = GemmTable.open("x", null);
    library.decide(shape, new Entry(true, 2, 1));

    // bf16 has its weights packed first, and its bias added after the library's product
    long packing = type == DType.F32 ? 0 : 1;
    long bias = type == DType.F32 ? 0 : 1;
    assertThat(launches(products(own), type)).isEqualTo(packing + 1);
    assertThat(launches(products(library), type)).isEqualTo(packing + bias);
  }

  /// The first run measures in the middle of what is collected, the second is launched one by one,
  /// the third becomes a graph.
  @Test
  void whatIsCollectedBecomesAGraph() {
    var library = GemmTable.open("x", null);
    library.decide(SHAPE, new Entry(true, 2, 1));
    for (GemmTable table : List.of(library, GemmTable.open("y", null))) {
      CudaProduct products = products(table);
      CudaQueue queue = CONTEXT.queue();
      queue.enable(true);
      try (var scope = new Scope(CONTEXT.memory())) {
        Tensor x = filled(scope, 1, 8, 16);
        Tensor weight = filled(scope, 0.5f, 12, 16);
        Tensor bias = filled(scope, 3, 12);
        Tensor y = scope.allocate(Shape.of(8, 12));
        for (int run = 0; run < 4; run++) {
          y.zero();
          queue.collect(
              "unit",
              () -> {
                products.linear(x, weight, bias, y);
                return y;
              });
          assertThat(y.floats()).as("run %d", run).containsOnly(11);
        }
        assertThat(queue.graphs().size()).isPositive();
      } finally {
        queue.enable(false);
      }
    }
  }

  @Test
  void theFirstDecisionStands() {
    var first = GemmTable.open("this device", folder);
    var second = GemmTable.open("this device", folder);
    var decision = new Entry(true, 2, 1);

    assertThat(first.decide(SHAPE, decision)).isEqualTo(decision);
    assertThat(second.decide(SHAPE, new Entry(false, 1, 2))).isEqualTo(decision);
    assertThat(second.summary()).isEqualTo("for 1 of 1 shapes so far");
  }

  @Test
  void aRunsTableComesBeforeTheCache() {
    var cache = GemmTable.open("this device", folder);
    cache.decide(SHAPE, new Entry(false, 1, 2));
    cache.decide("another shape", new Entry(true, 2, 1));
    var run = GemmTable.open("this device", null);
    run.decide(SHAPE, new Entry(true, 4, 3));

    assertThat(cache.adopt(run.text())).isTrue();
    assertThat(cache.get(SHAPE)).isEqualTo(new Entry(true, 4, 3));
    assertThat(cache.get("another shape")).isEqualTo(new Entry(true, 2, 1));
    assertThat(cache.adopt(GemmTable.open("that device", null).text())).isFalse();
  }

  @Test
  void aDamagedCacheIsMeasuredAnew() throws IOException {
    var table = GemmTable.open("this device", folder);
    table.decide(SHAPE, new Entry(true, 2, 1));
    table.decide("another shape", new Entry(true, 2, Double.NaN));
    try (var files = Files.list(folder)) {
      Path file = files.filter(each -> each.toString().endsWith(".tsv")).findFirst().orElseThrow();
      String text = Files.readString(file);
      Files.writeString(file, text.substring(0, text.lastIndexOf("library")) + "librar");
    }

    var read = GemmTable.open("this device", folder);

    assertThat(read.get(SHAPE)).isNull();
    assertThat(read.get("another shape")).isEqualTo(new Entry(true, 2, Double.NaN));
  }

  @Test
  void aCacheThatCannotBeWrittenKeepsNothing() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "no folder");
    var table = GemmTable.open("this device", file.resolve("products"));

    assertThat(table.decide(SHAPE, new Entry(true, 2, 1)).byLibrary()).isTrue();
    assertThat(table.get(SHAPE)).isNotNull();
  }

  @Test
  void aHairIsNotEnough() {
    assertThat(GemmChooser.decision(100, 98).byLibrary()).isFalse();
    assertThat(GemmChooser.decision(100, 90).byLibrary()).isTrue();
  }
}
