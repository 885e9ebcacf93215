package io.retort.grad;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.op.Backend;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/// Gradients are added up, but for the first of a parameter after zeroing: an op writes that where
/// it belongs.
final class ParameterGradientsTest {
  private final Backend backend = CpuBackend.open();
  private final Scope scope = new Scope(backend.memory());
  private final Parameters net = new Parameters(scope, shapes());
  private final Parameter weight = net.weight("layer");
  private final Parameter bias = net.bias("layer");

  private static SequencedMap<String, Shape> shapes() {
    SequencedMap<String, Shape> shapes = new LinkedHashMap<>();
    shapes.put("layer.weight", Shape.of(2, 3));
    shapes.put("layer.bias", Shape.of(2));
    return shapes;
  }

  @AfterEach
  void close() {
    scope.close();
  }

  /// The layer at x = (1, 2, 3), whose weight's gradient is x for both outputs and whose bias's 1.
  private Var layer(Tape tape) {
    Var x = tape.constant(Shape.of(1, 3), 1f, 2f, 3f);
    return x.linear(tape.use(weight), tape.use(bias)).sum();
  }

  private void backward(Function<Tape, Var> loss) {
    Tape tape = new Tape(backend, scope, Set.of(net));
    tape.backward(loss.apply(tape));
  }

  private void expect(float times) {
    assertThat(weight.gradient().floats())
        .containsExactly(times, 2 * times, 3 * times, times, 2 * times, 3 * times);
    assertThat(bias.gradient().floats()).containsExactly(times, times);
  }

  @Test
  void theFirstIsWrittenAndTheNextOnesAreAdded() {
    weight.gradient().set(9f, 9, 9, 9, 9, 9); // not seen: nothing was added since the zeroes
    backward(this::layer);
    expect(1);
    backward(this::layer);
    expect(2);
    net.zeroGradients();
    backward(tape -> layer(tape).scale(3));
    expect(3);
  }

  @Test
  void usesOnOneTapeAreAddedUp() {
    backward(tape -> layer(tape).add(layer(tape)));
    expect(2);
    net.zeroGradients();
    backward(tape -> layer(tape).add(layer(tape)).add(layer(tape)));
    expect(3);
  }

  @Test
  void aWeightIsAddedToWhereAnotherOpHasItsGradient() {
    backward(tape -> layer(tape).add(tape.use(weight).sum()));
    assertThat(weight.gradient().floats()).containsExactly(2, 3, 4, 2, 3, 4);
    assertThat(bias.gradient().floats()).containsExactly(1, 1);
  }

  /// An op that makes a gradient elsewhere has it added.
  @Test
  void anyOpMayMakeTheFirst() {
    backward(tape -> tape.use(weight).scale(5).sum());
    assertThat(weight.gradient().floats()).containsOnly(5);
    backward(this::layer);
    assertThat(weight.gradient().floats()).containsExactly(6, 7, 8, 6, 7, 8);
  }

  @Test
  void whatALossDoesNotReachStaysZero() {
    backward(tape -> {
      layer(tape);
      return tape.use(bias).sum();
    });
    assertThat(weight.gradient().floats()).containsOnly(0);
    assertThat(bias.gradient().floats()).containsOnly(1);
    backward(this::layer);
    assertThat(weight.gradient().floats()).containsExactly(1, 2, 3, 1, 2, 3);
    assertThat(bias.gradient().floats()).containsOnly(2);
  }
}
