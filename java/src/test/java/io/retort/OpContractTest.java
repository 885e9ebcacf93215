package io.retort;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.grad.OpContract;
import io.retort.op.Activation;
import io.retort.op.Case;
import io.retort.op.Op;
import io.retort.op.OpCatalog;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/// Every op, every case, every backend present: the contract of [OpContract].
final class OpContractTest {

  @TestFactory
  Stream<DynamicNode> cpu() {
    OpContract contract = new OpContract(CpuBackend.open());
    return OpCatalog.cases().entrySet().stream()
        .map(entry ->
            DynamicContainer.dynamicContainer(
                entry.getKey().getSimpleName(),
                entry.getValue().get().stream().map(c -> test(contract, c))));
  }

  private static DynamicTest test(OpContract contract, Case c) {
    return DynamicTest.dynamicTest(
        c.op() + " " + c.name(), () -> assertThat(contract.check(c)).isEmpty());
  }

  @Test
  void everyOpHasCases() {
    assertThat(OpCatalog.cases().keySet()).containsExactlyInAnyOrder(permitted());
    OpCatalog.cases()
        .forEach((op, cases) -> assertThat(cases.get()).as(op.getSimpleName()).isNotEmpty());
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
    assertThat(new OpContract(CpuBackend.open()).check(impossible))
        .anyMatch(f -> f.startsWith("output"));
  }
}
