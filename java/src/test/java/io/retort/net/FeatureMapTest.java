package io.retort.net;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/// The maps that U-Nets show discriminators: as they are declared, the last one the bottleneck.
class FeatureMapTest {
  private static final SongUNet SONG =
      new SongUNet(new SongUNet.Config(16, 1, 3, 8, List.of(1, 2, 3), 1, List.of(8), 0, 0));

  private static final DhariwalUNet DHARIWAL =
      new DhariwalUNet(
          new DhariwalUNet.Config(8, 1, 1, 3, 32, List.of(1, 2), 4, 2, List.of(), 0, 0, 0));

  private static void check(UNet net, List<FeatureMap> maps) {
    assertThat(net.maps()).isEqualTo(maps);
    Backend cpu = CpuBackend.open();
    try (Parameters parameters = net.plan().initialise(cpu.memory(), 3);
        Scope scope = new Scope(cpu.memory())) {
      Tape tape = Tape.inference(cpu, scope);
      Shape shape = Shape.of(2, net.resolution(), net.resolution(), 1);
      float[] pixels = new float[Math.toIntExact(shape.elements())];
      for (int i = 0; i < pixels.length; i++) {
        pixels[i] = (float) Math.sin(i);
      }
      Var x = tape.constant(shape, pixels);
      Var noise = tape.constant(Shape.of(2), 0.1f, 0.4f);
      Var labels = tape.constant(Shape.of(2, 3), 1f, 0f, 0f, 0f, 0f, 1f);

      List<Var> features = net.features(tape, parameters, x, noise, labels, null);

      List<FeatureMap> made = new ArrayList<>();
      for (Var map : features) {
        Shape of = map.shape();
        assertThat(of).isEqualTo(Shape.of(2, of.dim(1), of.dim(1), of.last()));
        made.add(new FeatureMap((int) of.dim(1), (int) of.last()));
      }
      assertThat(made).isEqualTo(maps);
      assertThat(features.getLast().value().floats())
          .isEqualTo(net.encode(tape, parameters, x, noise, labels, null).value().floats());
    }
  }

  @Test
  void ofEveryLevelOfSongsNetwork() {
    check(SONG, List.of(new FeatureMap(16, 8), new FeatureMap(8, 16), new FeatureMap(4, 24)));
  }

  @Test
  void ofEveryLevelOfDhariwalsNetwork() {
    check(DHARIWAL, List.of(new FeatureMap(8, 32), new FeatureMap(4, 64)));
  }
}
