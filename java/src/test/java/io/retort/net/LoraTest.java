package io.retort.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.backend.CpuBackend;
import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiTConfig.Names;
import io.retort.net.Lora.Layers;
import io.retort.op.Backend;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/// Low-rank adapters of a small U-Net with attention: linear layers, convolutions of 1x1 and 3x3.
class LoraTest {
  private static final int RANK = 3;
  private static final double ALPHA = 6;

  private final Backend cpu = CpuBackend.open();
  private final SongUNet base =
      new SongUNet(new SongUNet.Config(8, 1, 3, 8, List.of(1, 1), 1, List.of(4), 0, 0));
  private final Lora lora = new Lora(base, RANK, ALPHA, Layers.ALL);
  private final Parameters weights = base.plan().initialise(cpu.memory(), 1);
  private final Parameters adapters = lora.plan().initialise(cpu.memory(), 2);

  @AfterEach
  void free() {
    weights.close();
    adapters.close();
  }

  private static void perturb(Parameters parameters) {
    Random random = new Random(3);
    for (Parameter each : parameters.all()) {
      float[] values = each.value().floats();
      for (int i = 0; i < values.length; i++) {
        values[i] += (float) (0.1 * random.nextGaussian());
      }
      each.value().set(values);
    }
  }

  private Var output(Tape tape, Parameters used) {
    float[] images = new float[2 * 64];
    for (int i = 0; i < images.length; i++) {
      images[i] = (float) Math.sin(i);
    }
    return base.apply(
        tape,
        used,
        tape.constant(Shape.of(2, 8, 8, 1), images),
        tape.constant(Shape.of(2), 0.1f, -0.3f),
        tape.constant(Shape.of(2, 3), 1f, 0f, 0f, 0f, 0f, 1f),
        null);
  }

  private float[] plain(Parameters used) {
    try (Scope scope = new Scope(cpu.memory())) {
      return output(Tape.inference(cpu, scope), used).value().floats();
    }
  }

  private float[] adapted() {
    try (Scope scope = new Scope(cpu.memory())) {
      Tape tape = Tape.inference(cpu, scope);
      return output(tape, lora.adapt(tape, weights, adapters)).value().floats();
    }
  }

  @Test
  void beginsAsTheBaseToTheBit() {
    perturb(weights);

    assertThat(adapted()).isEqualTo(plain(weights));
  }

  @Test
  void addsTheScaledProductToEveryLinearLayerAndConvolution() {
    perturb(adapters);
    try (Parameters merged = base.plan().allocate(cpu.memory())) {
      lora.merge(cpu, weights, adapters, merged);

      int changed = 0;
      for (Parameter each : weights.all()) {
        float[] before = each.value().floats();
        float[] after = merged.get(each.name()).value().floats();
        if (!adapters.has(each.name() + ".lora_up")) {
          assertThat(after).as(each.name()).isEqualTo(before);
          assertThat(each.shape().rank()).as(each.name()).isEqualTo(1);
          continue;
        }
        changed++;
        float[] up = adapters.get(each.name() + ".lora_up").value().floats();
        float[] down = adapters.get(each.name() + ".lora_down").value().floats();
        int in = down.length / RANK;
        for (int i = 0; i < before.length; i++) {
          double product = 0;
          for (int r = 0; r < RANK; r++) {
            product += (double) up[i / in * RANK + r] * down[r * in + i % in];
          }
          assertThat((double) after[i]).isCloseTo(before[i] + ALPHA / RANK * product, within(1e-6));
        }
      }
      assertThat(changed).isGreaterThan(20);
      assertThat(plain(merged)).isEqualTo(adapted()).isNotEqualTo(plain(weights));
    }
  }

  @Test
  void gradientsReachTheAdaptersAlone() {
    perturb(adapters);
    weights.zeroGradients();
    adapters.zeroGradients();
    try (Scope scope = new Scope(cpu.memory())) {
      Tape tape = new Tape(cpu, scope, Set.of(adapters));
      Var made = output(tape, lora.adapt(tape, weights, adapters));
      Var untouched = output(tape, weights);
      assertThat(untouched.tracked()).as("the base on the same tape").isFalse();
      assertThat(untouched.value().floats()).isEqualTo(plain(weights));
      tape.backward(made.square().mean());
    }

    assertThat(weights.gradients().floats()).containsOnly(0f);
    float[] gradient = adapters.gradients().floats();
    float[] before = adapters.values().floats();
    double squares = 0;
    for (float g : gradient) {
      squares += (double) g * g;
    }
    double h = 1e-2 / Math.sqrt(squares);
    double slope = (energy(before, gradient, h) - energy(before, gradient, -h)) / (2 * h);
    assertThat(slope).isCloseTo(squares, within(0.01 * squares));
  }

  private double energy(float[] before, float[] direction, double h) {
    float[] moved = before.clone();
    for (int i = 0; i < moved.length; i++) {
      moved[i] += (float) (h * direction[i]);
    }
    adapters.values().set(moved);
    double sum = 0;
    for (float v : adapted()) {
      sum += (double) v * v / 128;
    }
    adapters.values().set(before);
    return sum;
  }

  /// Layers of patches, of the MLP, of the time and of the output are called `proj` as well.
  @Test
  void attentionIsWhatItIsNamedInTransformersAndDiffusers() {
    assertThat(layersOfAttention(transformer(Names.DIFFUSERS)))
        .containsExactlyInAnyOrder("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0");
    assertThat(layersOfAttention(transformer(Names.ORIGINAL)))
        .containsExactlyInAnyOrder("attn.qkv", "attn.proj");
    assertThat(Layers.ATTENTION.holds("down_blocks.1.attentions.0.to_q.weight")).isTrue();
    assertThat(Layers.ATTENTION.holds("down_blocks.1.resnets.0.time_emb_proj.weight")).isFalse();
  }

  private static DiT transformer(Names names) {
    return new DiT(
        new DiTConfig(8, 1, false, 2, 2, 8, 1, 32, 3, 0.1, names, 1e-6, false, true, false, 0));
  }

  /// Names after those of the block.
  private static Set<String> layersOfAttention(DiT net) {
    return new Lora(net, 1, 1, Layers.ATTENTION)
        .plan().shapes().keySet().stream()
            .map(name -> name.replaceAll("^(transformer_)?blocks\\.0\\.|\\.weight\\.lora_.*$", ""))
            .collect(Collectors.toSet());
  }

  @Test
  void attentionAloneIsFewer() {
    var names = new Lora(base, RANK, ALPHA, Layers.ATTENTION).plan().shapes().keySet();

    assertThat(names).isNotEmpty().allMatch(name -> name.contains("qkv") || name.contains("proj"));
    SongUNet.Config plain = new SongUNet.Config(8, 1, 3, 8, List.of(1, 1), 1, List.of(), 0, 0);
    assertThatThrownBy(() -> new Lora(base, 0, 1, Layers.ALL))
        .hasMessageContaining("rank must be at least 1");
    assertThat(new Lora(new SongUNet(plain), 1, 1, Layers.ALL).plan().shapes()).isNotEmpty();
  }
}
