package io.retort.net;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.Golden;
import io.retort.backend.CpuBackend;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiTConfig.Names;
import io.retort.net.UNet2DConfig.Classes;
import io.retort.net.UNet2DConfig.Middle;
import io.retort.net.UNet2DConfig.Stage;
import io.retort.net.UNet2DConfig.Time;
import io.retort.op.Backend;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// Dropout inside diffusers' networks: off without a key, and the key names every mask.
final class DropoutKeysTest {
  private final Backend backend = CpuBackend.open();

  static Stream<Arguments> networks() {
    return Stream.of(
        Arguments.of(
            "unet2d_class_16",
            new UNet2D(
                new UNet2DConfig(
                    16,
                    3,
                    false,
                    false,
                    new Time(false, true, 0, 64),
                    new Classes(Classes.Kind.TABLE, 10),
                    List.of(16, 32),
                    List.of(Stage.PLAIN, Stage.ATTENTION),
                    List.of(Stage.ATTENTION, Stage.PLAIN),
                    1,
                    new Middle(true, true, 1, Middle.AS_OTHERS),
                    1,
                    false,
                    false,
                    8,
                    8,
                    1e-6,
                    true,
                    0.4))),
        Arguments.of(
            "dit_8",
            new DiT(
                new DiTConfig(
                    8,
                    4,
                    true,
                    2,
                    2,
                    16,
                    2,
                    128,
                    10,
                    0.1,
                    Names.DIFFUSERS,
                    1e-5,
                    false,
                    true,
                    false,
                    0.4))));
  }

  @ParameterizedTest
  @MethodSource("networks")
  void masksFollowTheKey(String file, DiffusionNet net) {
    PhiloxKey key = new PhiloxKey(1, Purpose.DROPOUT, 0, 0);
    float[] plain = run(file, net, null);
    assertThat(run(file, net, null)).isEqualTo(plain);
    float[] dropped = run(file, net, key);
    assertThat(run(file, net, key)).isEqualTo(dropped);
    assertThat(dropped).isNotEqualTo(plain);
    assertThat(run(file, net, new PhiloxKey(1, Purpose.DROPOUT, 1, 0))).isNotEqualTo(dropped);
  }

  private float[] run(String file, DiffusionNet net, @Nullable PhiloxKey key) {
    try (Golden golden = Golden.open(file);
        Parameters parameters = net.plan().allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      golden.load("w/", parameters);
      Tape tape = Tape.inference(backend, scope);
      Var x = tape.constant(golden.imageShape("in/x"), golden.images("in/x"));
      Var timesteps = UNet2DGoldenTest.timesteps(tape, golden);
      Var labels = UNet2DGoldenTest.labels(tape, golden, net);
      return net.apply(tape, parameters, x, timesteps, labels, key).value().floats();
    }
  }
}
