package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.grad.OpContract;
import io.retort.op.Case;
import io.retort.op.Case.Input;
import io.retort.op.Conv2d;
import org.junit.jupiter.api.Test;

/// Shapes that the processor computes in a way of its own, too large for every backend's contract.
final class CpuConvolutionTest {

  @Test
  void wideBfloat16ImagesAreMultipliedByWinograd() {
    var contract =
        Case.of(
                "bf16, wide images",
                new Conv2d(1, 1, 1),
                Input.normal(1, 16, 17, 64).bf16(),
                Input.normal(64, 64, 3, 3),
                Input.normal(64))
            .within(3e-1, 1e-2, "weights and result rounded to 2^-8 in sums of 576 products")
            .gradientsWithin(4);
    assertThat(new OpContract(contract).check(CpuBackend.open())).isEmpty();
  }

  @Test
  void manyTilesAreCutIntoBlocks() {
    var contract =
        Case.of(
                "many tiles",
                new Conv2d(1, 1, 1),
                Input.normal(3, 17, 18, 32),
                Input.normal(32, 32, 3, 3),
                Input.normal(32))
            .within(5e-4, 1e-5, "sums of 300 products of size 1, transforms that cost a digit")
            .gradientsWithin(20);
    assertThat(new OpContract(contract).check(CpuBackend.open())).isEmpty();
  }
}
