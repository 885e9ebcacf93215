package io.retort;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.grad.OpContract;
import io.retort.op.Activation;
import io.retort.op.Backend;
import io.retort.op.Case;
import io.retort.op.Op;
import io.retort.op.OpCatalog;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/// Every op, every case on the CPU: the contract of [OpContract].
final class OpContractTest {
  /// A case with its reference, which all backends share.
  record Checked(Case contract, OpContract check) {}

  private static final Map<Class<? extends Op>, List<Checked>> CASES =
      OpCatalog.cases().entrySet().stream()
          .collect(
              Collectors.toMap(
                  Map.Entry::getKey,
                  entry ->
                      entry.getValue().get().stream()
                          .map(c -> new Checked(c, new OpContract(c)))
                          .toList()));

  @TestFactory
  Stream<DynamicNode> cpu() {
    Backend backend = CpuBackend.open();
    return everyCase(checked -> assertThat(checked.check.check(backend)).isEmpty());
  }

  static Stream<DynamicNode> everyCase(Consumer<Checked> body) {
    return everyCase(op -> true, body);
  }

  static Stream<DynamicNode> everyCase(
      Predicate<Class<? extends Op>> which, Consumer<Checked> body) {
    return CASES.entrySet().stream()
        .filter(entry -> which.test(entry.getKey()))
        .sorted(Map.Entry.comparingByKey((a, b) -> a.getName().compareTo(b.getName())))
        .map(entry ->
            DynamicContainer.dynamicContainer(
                entry.getKey().getSimpleName(),
                entry.getValue().stream()
                    .map(checked ->
                        DynamicTest.dynamicTest(
                            checked.contract.op() + " " + checked.contract.name(),
                            () -> body.accept(checked)))));
  }

  @Test
  void everyOpHasCases() {
    assertThat(OpCatalog.cases().keySet()).containsExactlyInAnyOrder(permitted());
    CASES.forEach((op, cases) -> assertThat(cases).as(op.getSimpleName()).isNotEmpty());
  }

  @SuppressWarnings("unchecked") // the permitted subclasses of Op are ops
  private static Class<? extends Op>[] permitted() {
    return (Class<? extends Op>[]) Op.class.getPermittedSubclasses();
  }

  @Test
  void theContractCanFail() {
    Case impossible =
        Case.of("exact", new Activation(Activation.Kind.SILU, 0), Case.Input.normal(64))
            .within(0, 0, "no float32 result equals float64 to the bit");
    assertThat(new OpContract(impossible).check(CpuBackend.open()))
        .anyMatch(f -> f.startsWith("output"));
  }
}
