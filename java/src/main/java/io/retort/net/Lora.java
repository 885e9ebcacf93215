package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Init;
import io.retort.nn.Plan;
import io.retort.op.Add;
import io.retort.op.Backend;
import io.retort.op.MatMul;
import io.retort.op.Reshape;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.util.SequencedMap;
import java.util.regex.Pattern;

/// Low-rank adapters of another network's weights: `W + alpha / rank up down`, W frozen.
///
/// For a linear layer W `(out, in)` and a convolution `(out, in, k, k)` alike: down `(rank, in k
/// k)`, up `(out, rank)` under the weight's name; a convolution to `rank` channels followed by one
/// of 1x1 is the same sum. up begins at zero, so the adapted network begins as the base, to the
/// bit. The product is formed once a tape, which is small beside a batch of activations. Source: Hu
/// et al. 2021 (arXiv 2106.09685), section 4.1.
///
/// @param base the network
/// @param rank of the change
/// @param alpha its scale times the rank
/// @param layers which weights are adapted
public record Lora(DiffusionNet base, int rank, double alpha, Layers layers) implements Net {
  private static final String WEIGHT = ".weight";
  private static final String DOWN = ".lora_down";
  private static final String UP = ".lora_up";

  /// Weights that adapters are put on.
  public enum Layers {
    /// Of every linear layer and convolution.
    ALL,
    /// Of what goes into and comes out of attention.
    ATTENTION;

    /// Other layers are named `proj` too: those of patches and of a transformer's MLP.
    private static final Pattern OF_ATTENTION =
        Pattern.compile(
            ".*\\.(qkv|to_[qkv]|to_out\\.0|(?<!embed\\.|embedder\\.|net\\.0\\.)proj)\\.weight");

    boolean holds(String weight) {
      return this == ALL || OF_ATTENTION.matcher(weight).matches();
    }
  }

  /// @throws IllegalArgumentException if there is nothing to adapt
  public Lora {
    if (rank < 1 || !(alpha > 0)) {
      throw new IllegalArgumentException(
          "lora: rank must be at least 1 and alpha above 0, got %d and %s".formatted(rank, alpha));
    }
    if (adapted(base, layers).isEmpty()) {
      throw new IllegalArgumentException(
          "lora: layers must be all, the network has no attention to adapt");
    }
  }

  /// Names and shapes of the weights that adapters are put on.
  private static SequencedMap<String, Shape> adapted(DiffusionNet base, Layers layers) {
    SequencedMap<String, Shape> adapted = base.plan().shapes();
    adapted
        .entrySet()
        .removeIf(each ->
            each.getValue().rank() < 2
                || !each.getKey().endsWith(WEIGHT)
                || !layers.holds(each.getKey()));
    return adapted;
  }

  @Override
  public void declare(Plan plan) {
    adapted(base, layers)
        .forEach((name, shape) -> {
          long in = shape.elements() / shape.dim(0);
          plan.add(name + DOWN, Shape.of(rank, in), new Init.FanIn(1, in));
          plan.add(name + UP, Shape.of(shape.dim(0), rank), new Init.Constant(0));
        });
  }

  /// The base's parameters as this tape shall use them; gradients reach the adapters alone.
  ///
  /// @param weights of the base
  /// @param adapters of [#declare]
  public Parameters adapt(Tape tape, Parameters weights, Parameters adapters) {
    Parameters own = weights.alias(tape.scope());
    adapted(base, layers)
        .forEach((name, shape) -> {
          Var up = tape.use(adapters.get(name + UP));
          Var down = tape.use(adapters.get(name + DOWN));
          Var change =
              tape.apply(new Reshape(shape), tape.apply(new MatMul(false, false), up, down));
          Var frozen = tape.constant(weights.get(name).value());
          tape.substitute(own.get(name), tape.apply(new Add(1, alpha / rank), frozen, change));
        });
    return own;
  }

  /// Writes the adapted weights into a network of the base's structure, which needs no adapters
  /// then.
  public void merge(Backend backend, Parameters weights, Parameters adapters, Parameters into) {
    into.copyFrom(weights);
    try (Scope scope = new Scope(backend.memory())) {
      Tape tape = Tape.inference(backend, scope);
      Parameters own = adapt(tape, weights, adapters);
      for (String name : adapted(base, layers).sequencedKeySet()) {
        into.get(name).value().copyFrom(tape.use(own.get(name)).value());
      }
    }
  }
}
