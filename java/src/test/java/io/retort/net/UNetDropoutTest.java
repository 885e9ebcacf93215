package io.retort.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.backend.CpuBackend;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/// Every block of a U-Net has dropout masks of its own, and none are those of the labels.
final class UNetDropoutTest {
  private static final PhiloxKey KEY = new PhiloxKey(3, Purpose.DROPOUT, 0, 0);

  private final Backend backend = CpuBackend.open();

  /// `2 blocks + 3` residual blocks.
  private static SongUNet net(int blocks, double dropout) {
    return net(List.of(1), blocks, dropout, SongVariant.DDPMPP);
  }

  private static SongUNet net(
      List<Integer> levels, int blocks, double dropout, SongVariant variant) {
    return new SongUNet(
        new SongUNet.Config(4, 1, 0, 4, levels, blocks, List.of(), dropout, 0, variant));
  }

  private float[] run(SongUNet net, @Nullable PhiloxKey key) {
    try (Scope scope = new Scope(backend.memory());
        Parameters parameters = net.plan().initialise(backend.memory(), 1)) {
      Tape tape = Tape.inference(backend, scope);
      Var x = tape.constant(Shape.of(1, 4, 4, 1), new float[16]);
      Var noise = tape.constant(Shape.of(1), new float[] {0.5f});
      return net.apply(tape, parameters, x, noise, null, key).value().floats();
    }
  }

  @Test
  void moreBlocksThanStreamsAreRefused() {
    assertThat(run(net(30, 0.5), KEY)).hasSize(16);
    assertThatThrownBy(() -> run(net(31, 0.5), KEY))
        .hasMessage(
            "unet: a network trained with dropout must have at most 63 blocks; set dropout to 0");
  }

  /// 63 blocks on three levels, and two convolutions of the auxiliary image that drop nothing.
  @Test
  void auxiliaryPartsTakeNoStream() {
    assertThat(run(net(List.of(1, 1, 1), 9, 0.5, SongVariant.NCSNPP), KEY)).hasSize(16);
    assertThatThrownBy(() -> run(net(List.of(1, 1, 1), 10, 0.5, SongVariant.NCSNPP), KEY))
        .hasMessageContaining("at most 63 blocks");
  }

  @Test
  void withoutDropoutAnyDepthWorks() {
    float[] plain = run(net(31, 0.5), null);
    assertThat(run(net(31, 0), KEY)).isEqualTo(plain);
  }
}
