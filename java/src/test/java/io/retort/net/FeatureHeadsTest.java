package io.retort.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.backend.CpuBackend;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.util.List;
import java.util.Random;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;

/// Heads on feature maps: one against a float64 computation, the shapes of all, whom the class
/// reaches.
class FeatureHeadsTest {
  private static final int WIDTH = 4;
  private static final FeatureHeads HEADS =
      new FeatureHeads(
          List.of(new FeatureMap(8, 8), new FeatureMap(4, 12), new FeatureMap(2, 3)), 3, WIDTH, 3);

  private static void with(BiConsumer<Tape, Parameters> use) {
    Backend cpu = CpuBackend.open();
    try (Parameters parameters = HEADS.plan().initialise(cpu.memory(), 3);
        Scope scope = new Scope(cpu.memory())) {
      use.accept(Tape.inference(cpu, scope), parameters);
    }
  }

  private static List<Var> features(Tape tape) {
    Random random = new Random(4);
    return HEADS.maps().stream()
        .map(map -> {
          Shape shape = Shape.of(2, map.side(), map.side(), map.channels());
          float[] values = new float[Math.toIntExact(shape.elements())];
          for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
          }
          return tape.constant(shape, values);
        })
        .toList();
  }

  private static Var classes(Tape tape, int first, int second) {
    float[] rows = new float[6];
    rows[first] = 1;
    rows[3 + second] = 1;
    return tape.constant(Shape.of(2, 3), rows);
  }

  /// A head on a map of side 2: its convolution sees the whole map, its norm all channels of one
  /// place.
  @Test
  void aHeadIsItsFormula() {
    with((tape, weights) -> {
      List<Var> features = features(tape);
      float[] logits =
          HEADS
              .apply(tape, weights, features, classes(tape, 2, 0), 0, 0, 0)
              .get(2)
              .value()
              .floats();

      float[] x = features.get(2).value().floats();
      for (int n = 0; n < 2; n++) {
        double[] h = convolved(weights, x, n);
        double mean = (h[0] + h[1] + h[2] + h[3]) / WIDTH;
        double variance = 0;
        for (double v : h) {
          variance += (v - mean) * (v - mean) / WIDTH;
        }
        double logit = at(weights, "logit.bias", 0);
        for (int c = 0; c < WIDTH; c++) {
          double normed = (h[c] - mean) / Math.sqrt(variance + 1e-5);
          double active = normed / (1 + Math.exp(-normed));
          logit += active * at(weights, "logit.weight", c);
          logit += active * at(weights, "embedding.weight", 3 * c + (n == 0 ? 2 : 0));
        }
        assertThat((double) logits[n]).isCloseTo(logit, within(1e-5));
      }
    });
  }

  private static double at(Parameters weights, String name, int index) {
    return weights.get("map2.head0." + name).value().floats()[index];
  }

  private static double[] convolved(Parameters weights, float[] x, int n) {
    double[] out = new double[WIDTH];
    for (int c = 0; c < WIDTH; c++) {
      out[c] = at(weights, "conv0.bias", c);
      for (int in = 0; in < 3; in++) {
        for (int place = 0; place < 4; place++) {
          // One pixel of padding: rows and columns 1 and 2 of the kernel meet the map.
          int tap = (place / 2 + 1) * 4 + place % 2 + 1;
          out[c] +=
              at(weights, "conv0.weight", (c * 3 + in) * 16 + tap) * x[(n * 4 + place) * 3 + in];
        }
      }
    }
    return out;
  }

  @Test
  void headsSeeTheWholeOrPlaces() {
    with((tape, weights) -> {
      Var classes = classes(tape, 0, 1);
      int[][] places = {{1, 1, 1}, {16, 4, 1}, {16, 4, 1}};
      for (int head = 0; head < 3; head++) {
        List<Var> logits = HEADS.apply(tape, weights, features(tape), classes, head, head, head);
        for (int map = 0; map < 3; map++) {
          assertThat(logits.get(map).shape()).isEqualTo(Shape.of(2, places[head][map]));
        }
      }
    });
  }

  @Test
  void theThirdHeadIsNotToldTheClass() {
    with((tape, weights) -> {
      for (int head = 0; head < 3; head++) {
        float[] one = logits(tape, weights, head, classes(tape, 0, 1));
        float[] other = logits(tape, weights, head, classes(tape, 2, 2));
        if (head == 2) {
          assertThat(one).isEqualTo(other);
        } else {
          assertThat(one).isNotEqualTo(other);
        }
      }
    });
  }

  private static float[] logits(Tape tape, Parameters weights, int head, Var classes) {
    return HEADS
        .apply(tape, weights, features(tape), classes, head, head, head)
        .getFirst()
        .value()
        .floats();
  }

  @Test
  void everyWeightBelongsToAHead() {
    with((tape, weights) ->
        weights
            .all()
            .forEach(weight ->
                assertThat(FeatureHeads.prefix(weight.name())).matches("map[0-2]\\.head[0-2]\\.")));
  }

  @Test
  void aHeadForEveryMap() {
    with((tape, weights) ->
        assertThatThrownBy(() -> HEADS.apply(tape, weights, features(tape), null, 0, 0))
            .isInstanceOf(ShapeException.class)
            .hasMessageContaining("a head for each of 3 maps, got 3 and 2"));
  }
}
