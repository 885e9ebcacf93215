package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.bindings.cuda.CudaEmulator;
import io.retort.bindings.cuda.CudaException;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.PanamaDriver;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/// What is collected is started whole, in order and with this run's data; what repeats is captured;
/// what cannot be is said.
final class CudaGraphsTest {
  private final PanamaDriver driver = PanamaDriver.open(CudaLibrary.open(CudaLibrary.EMULATOR));
  private final CudaContext context = CudaContext.open(driver, CudaDevice.list(driver).getFirst());
  private final CudaElementwise elementwise = new CudaElementwise(context);
  private final CudaRandom random = new CudaRandom(context);
  private final CudaQueue queue = context.queue();
  private final CudaGraphs graphs = queue.graphs();
  private final List<String> remarks = new ArrayList<>();
  private int ran;

  @BeforeEach
  void collect() {
    graphs.tell(remarks::add);
    queue.enable(true);
  }

  @AfterEach
  void nothingLeaks() {
    assertThat(context.memory().liveBlocks()).isZero();
    context.close();
  }

  private <T> T together(String unit, Supplier<T> work) {
    return queue.collect(unit, work);
  }

  /// `2 x + shift` of one number that the host says.
  private float affine(Scope scope, float x, double shift) {
    return together(
            "affine",
            () -> {
              Tensor tensor = scope.of(Shape.of(1), x);
              elementwise.affine(tensor, 2, shift, tensor);
              return tensor;
            })
        .item();
  }

  @Test
  void everyRunTakesItsOwnData() {
    for (int i = 1; i <= 5; i++) {
      try (Scope scope = new Scope(context.memory())) {
        assertThat(affine(scope, i, 1)).isEqualTo(2 * i + 1);
      }
    }

    assertThat(graphs.size()).isEqualTo(1);
    assertThat(remarks)
        .containsExactly(
            "cuda graphs: affine is captured, 2 kernels, fills and copies in one launch");
    assertThat(graphs.report())
        .containsExactly(
            "cuda graphs: affine ran 5 times with 1.2 launches a run, 4 times with one; graphs: 1,"
                + " of up to 2 nodes");
  }

  @Test
  void randomStreamsGoOnWithTheStep() {
    for (long step = 1L << 33; step < (1L << 33) + 4; step++) {
      PhiloxKey key = new PhiloxKey(7, Purpose.NOISE, 3, step);
      try (Scope scope = new Scope(context.memory())) {
        Tensor collected = together("noise", () -> normal(scope, key));
        assertThat(collected.floats()).isEqualTo(normal(scope, key).floats());
      }
    }
    assertThat(graphs.size()).isEqualTo(1);
  }

  private Tensor normal(Scope scope, PhiloxKey key) {
    Tensor out = scope.allocate(Shape.of(37));
    random.normal(out, key, 0, 1);
    return out;
  }

  @Test
  void readingInsideStartsWhatIsCollected() {
    for (int i = 1; i <= 3; i++) {
      float given = i;
      try (Scope scope = new Scope(context.memory())) {
        Tensor result =
            together(
                "reading",
                () -> {
                  Tensor x = scope.of(Shape.of(2), given, 2 * given);
                  elementwise.affine(x, 2, 0, x);
                  float read = x.floats()[1];
                  Tensor y = scope.of(Shape.of(2), read, read + 1);
                  elementwise.affine(y, 1, 1, y);
                  return y;
                });
        assertThat(result.floats()).containsExactly(4 * i + 1, 4 * i + 2);
      }
    }
    assertThat(graphs.size()).isEqualTo(2);
  }

  @Test
  void otherArgumentsAreOtherWork() {
    for (int round = 0; round < 3; round++) {
      for (int shift = 1; shift <= 3; shift++) {
        try (Scope scope = new Scope(context.memory())) {
          assertThat(affine(scope, 5, shift)).isEqualTo(10 + shift);
        }
      }
    }
    assertThat(graphs.size()).isEqualTo(3);
  }

  @Test
  void whatNeverRepeatsIsLaunchedAndTheReasonSaidOnce() {
    for (int i = 1; i <= 40; i++) {
      try (Scope scope = new Scope(context.memory())) {
        assertThat(affine(scope, 1, i)).isEqualTo(2 + i);
      }
    }

    assertThat(graphs.size()).isZero();
    assertThat(remarks)
        .containsExactly(
            "cuda graphs: affine has not repeated itself in 16 runs, so its kernels are launched"
                + " one by one (entry 2, rt_affine_f32, has other arguments)");
  }

  @Test
  void eachPieceIsComparedWithItselfInTheRunBefore() {
    for (int i = 1; i <= 17; i++) {
      double shift = i;
      try (Scope scope = new Scope(context.memory())) {
        together(
            "pieces",
            () -> {
              Tensor x = scope.allocate(Shape.of(1)).zero();
              elementwise.affine(x, 1, shift, x);
              x.item();
              Tensor y = scope.allocate(Shape.of(3)).zero();
              elementwise.affine(y, 1, shift, y);
              return y;
            });
      }
    }

    assertThat(remarks)
        .containsExactly(
            "cuda graphs: pieces has not repeated itself in 16 runs, so its kernels are launched"
                + " one by one (entry 2, rt_affine_f32, has other arguments)");
  }

  @Test
  void aSegmentIsWrittenAfterWhatWasCollectedBefore() {
    for (int i = 1; i <= 3; i++) {
      MemorySegment given = MemorySegment.ofArray(new float[] {i, 2 * i});
      try (Scope scope = new Scope(context.memory())) {
        Tensor sum =
            together(
                "segment",
                () -> {
                  Tensor x = scope.of(Shape.of(2), 5f, 6f);
                  Tensor early = scope.allocate(Shape.of(2)).copyFrom(x);
                  x.set(given);
                  elementwise.affine(x, 10, 0, x);
                  elementwise.accumulate(early, x);
                  return x;
                });
        assertThat(sum.floats()).containsExactly(10 * i + 5, 20 * i + 6);
      }
    }
    assertThat(graphs.size()).isEqualTo(1);
  }

  @Test
  void dataOfAnySizeFit() {
    for (int elements : new int[] {1, 100_000, 1_000_000, 100_000}) {
      float[] values = new float[elements];
      values[elements - 1] = 3;
      try (Scope scope = new Scope(context.memory())) {
        Tensor result =
            together(
                "sizes",
                () -> {
                  Tensor first = scope.of(Shape.of(2), 1f, 2f);
                  Tensor x = scope.of(Shape.of(elements), values);
                  elementwise.affine(x, 1, 1, x);
                  elementwise.affine(first, 1, 1, first);
                  return x.view(scope, Shape.of(1), elements - 1)
                      .copyFrom(first.view(scope, Shape.of(1), 1));
                });
        assertThat(result.item()).isEqualTo(3);
      }
    }
  }

  @Test
  void aCaptureThatFailsIsSaidAndTheWorkIsDone() {
    try (Scope scope = new Scope(context.memory())) {
      assertThat(affine(scope, 1, 1)).isEqualTo(3);
    }
    try (Scope scope = new Scope(context.memory())) {
      Tensor result =
          together(
              "affine",
              () -> {
                Tensor tensor = scope.of(Shape.of(1), 2f);
                elementwise.affine(tensor, 2, 1, tensor);
                driver.streamBeginCapture(context.stream()); // so that no second one can begin
                return tensor;
              });
      long graph = driver.streamEndCapture(context.stream());
      long executable = driver.graphInstantiate(graph);
      driver.graphLaunch(executable, context.stream());
      assertThat(result.item()).isEqualTo(5);
      driver.graphExecDestroy(executable);
      driver.graphDestroy(graph);
    }

    assertThat(remarks)
        .singleElement()
        .asString()
        .startsWith(
            "cuda graphs: affine cannot be captured, so its kernels are launched one by one: ")
        .contains("cuStreamBeginCapture");
    assertThat(graphs.size()).isZero();
  }

  @Test
  void aLaunchThatTheDriverRefusesNamesItsKernel() {
    CudaKernel kernel = new CudaModule(context, "elementwise").kernel("rt_affine_f32", "pffpl");

    assertThatThrownBy(() ->
            together(
                "wrong",
                () -> {
                  kernel.begin().address(0).f32(1).f32(1).address(0).i64(0).launch(1, 5000);
                  return 0;
                }))
        .isInstanceOf(CudaException.class)
        .hasMessageContaining("rt_affine_f32");
    assertThat(queue.collecting()).isFalse();
  }

  @Test
  void aFailureInsideDropsWhatWasCollected() {
    try (Scope scope = new Scope(context.memory())) {
      Tensor x = scope.of(Shape.of(1), 1f);
      assertThatThrownBy(() ->
              together(
                  "failing",
                  () -> {
                    elementwise.affine(x, 5, 0, x);
                    throw new IllegalStateException("stop");
                  }))
          .hasMessage("stop");

      assertThat(x.item()).isEqualTo(1);
      elementwise.affine(x, 2, 0, x);
      assertThat(x.item()).isEqualTo(2);
    }
  }

  /// `(x + 1) factor` where the product is derived work; counts how often that was run.
  private float derived(Scope scope, float x, double factor, Object signature) {
    return together(
            "derived",
            () -> {
              Tensor tensor = scope.of(Shape.of(1), x);
              elementwise.affine(tensor, 1, 1, tensor);
              queue.derived(
                  () -> signature,
                  () -> {
                    ran++;
                    Tensor own = scope.allocate(Shape.of(1));
                    elementwise.affine(tensor, factor, 0, own);
                    tensor.copyFrom(own);
                  });
              return tensor;
            })
        .item();
  }

  @Test
  void derivedWorkOfOneSignatureRunsOnce() {
    for (int i = 1; i <= 4; i++) {
      try (Scope scope = new Scope(context.memory())) {
        assertThat(derived(scope, i, 3, "three")).isEqualTo(3 * (i + 1));
        assertThat(derived(scope, i, 5, "five")).isEqualTo(5 * (i + 1));
      }
    }

    // `five` once more, since it finds other blocks in use when `three` is not run.
    assertThat(ran).isEqualTo(3);
  }

  @Test
  void derivedWorkRunsAgainWhenItsBlocksAreGone() {
    for (int i = 1; i <= 2; i++) {
      try (Scope scope = new Scope(context.memory())) {
        assertThat(derived(scope, i, 3, "three")).isEqualTo(3 * (i + 1));
      }
      context.memory().trim();
    }

    assertThat(ran).isEqualTo(2);
  }

  @Test
  void derivedWorkThatTakesDataIsNoneAndRunsEveryTime() {
    for (int i = 1; i <= 3; i++) {
      float given = i;
      try (Scope scope = new Scope(context.memory())) {
        Tensor result =
            together(
                "data",
                () -> {
                  Tensor tensor = scope.allocate(Shape.of(1));
                  queue.derived(() -> "data", () -> tensor.set(given));
                  return tensor;
                });
        assertThat(result.item()).isEqualTo(given);
      }
    }
  }

  @Test
  void addressesFollowFromTheBlocksInUse() {
    CudaMemory memory = context.memory();
    List<Long> first = together("arena", () -> takeAndGiveBack(memory, true));
    List<Long> second = together("arena", () -> takeAndGiveBack(memory, false));

    assertThat(second).isEqualTo(first);
    assertThat(memory.liveBlocks()).isZero();
    assertThat(memory.waitingBytes()).isPositive();
    memory.trim();
    assertThat(memory.waitingBytes()).isZero();
  }

  /// Four blocks of one size, given back in either order.
  private static List<Long> takeAndGiveBack(CudaMemory memory, boolean forwards) {
    List<Long> blocks = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      blocks.add(memory.allocate(1000 + i));
    }
    for (int i = 0; i < 4; i++) {
      memory.free(blocks.get(forwards ? i : 3 - i), 1000);
    }
    return blocks;
  }

  @Test
  void blocksThatWaitGiveWayToOtherRequests() {
    CudaEmulator emulator = context.emulator().orElseThrow();
    emulator.set("memory", "64M");
    CudaMemory memory = context.memory();
    try {
      together(
          "large",
          () -> {
            memory.free(memory.allocate(40 << 20), 40 << 20);
            return 0;
          });
      long other = memory.allocate(41 << 20);

      assertThat(other).isNotZero();
      memory.free(other, 41 << 20);
    } finally {
      emulator.set("memory", "2G");
    }
  }
}
