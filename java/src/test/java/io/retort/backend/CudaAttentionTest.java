package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.bindings.cuda.CudaLibrary;
import io.retort.grad.OpContract;
import io.retort.op.Attention;
import io.retort.op.Case;
import io.retort.op.Case.Input;
import io.retort.op.SelfAttention;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// Every kernel of attention: each width a head is padded to, whole and with a tail, with more
/// tokens than a block owns and more than a tile has.
final class CudaAttentionTest {
  private static final CudaBackend CUDA =
      CudaBackend.open(CudaBinding.PANAMA, CudaLibrary.EMULATOR);

  static List<Case> cases() {
    return List.of(
        across(1, 130, 5, 32),
        across(2, 3, 70, 40),
        across(1, 70, 66, 64),
        across(1, 67, 20, 65),
        across(1, 20, 67, 128),
        across(1, 9, 70, 129),
        across(1, 70, 9, 256),
        across(1, 66, 10, 257),
        across(1, 10, 70, 264),
        across(1, 3, 4, 520),
        Case.of("packed, 9 channels", new SelfAttention(3), Input.normal(2, 7, 81)),
        Case.of("packed, 72 channels", new SelfAttention(2), Input.normal(1, 67, 432)));
  }

  private static Case across(int heads, long queries, long keys, long channels) {
    return Case.of(
        "%d heads, %d queries, %d keys, %d channels".formatted(heads, queries, keys, channels),
        new Attention(heads),
        Input.normal(1, queries, heads * channels),
        Input.normal(1, keys, heads * channels),
        Input.normal(1, keys, heads * channels));
  }

  private static Case halves(Case contract) {
    Input[] inputs = contract.inputs().stream().map(Input::bf16).toArray(Input[]::new);
    return Case.of(contract.name() + " in bf16", contract.op(), inputs)
        .within(1e-2, 1e-2, "output and incoming gradient are rounded to 2^-8");
  }

  @ParameterizedTest
  @MethodSource("cases")
  void anyWidth(Case contract) {
    assertThat(new OpContract(contract).check(CUDA)).as(contract.name()).isEmpty();
    assertThat(new OpContract(halves(contract)).check(CUDA)).as(contract.name()).isEmpty();
  }
}
