package io.retort.distill;

import io.retort.data.Batch;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.Preconditioning;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.ConvClassifier;
import io.retort.net.DiffusionNet;
import io.retort.net.DiscriminatorHead;
import io.retort.net.FeatureHeads;
import io.retort.net.Lora;
import io.retort.net.Net;
import io.retort.tensor.DType;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// The networks of a method, by role, on the tape of the phase that runs.
///
/// Roles the phase does not train enter as constants: gradients pass through them to their inputs,
/// never into their weights.
public final class Nets {

  /// A role with its current weights.
  public record Player(Method.Role role, Parameters parameters) {
    Net net() {
      return role.net();
    }
  }

  private final Tape tape;
  private final Map<String, Player> players;
  private final Map<String, Double> calibration;
  private final Preconditioning preconditioning;
  private final DType compute;
  private final StepValues step;
  private final Map<String, Parameters> adapted = new HashMap<>();

  /// @param preconditioning of the roles that denoise
  /// @param compute type of the activations; weights and losses are float32
  /// @param step what the phases of this step leave for one another
  public Nets(
      Tape tape,
      Map<String, Player> players,
      Map<String, Double> calibration,
      Preconditioning preconditioning,
      DType compute,
      StepValues step) {
    this.tape = tape;
    this.players = Map.copyOf(players);
    this.calibration = Map.copyOf(calibration);
    this.preconditioning = preconditioning;
    this.compute = compute;
    this.step = step;
  }

  public Tape tape() {
    return tape;
  }

  /// What the roles that denoise can be asked for.
  public Preconditioning preconditioning() {
    return preconditioning;
  }

  /// The same networks on another tape.
  public Nets on(Tape other) {
    return new Nets(other, players, calibration, preconditioning, compute, step);
  }

  /// Images as networks other than denoisers take them: in the type of the activations.
  public Var input(Var images) {
    return images.cast(compute);
  }

  /// What networks other than denoisers give, as losses take it: in float32.
  public Var output(Var raw) {
    return raw.cast(DType.F32);
  }

  /// A number that [Method#calibrate] found.
  public double calibrated(String name) {
    Double value = calibration.get(name);
    if (value == null) {
      throw new IllegalStateException("calibration: " + name + " was never determined");
    }
    return value;
  }

  /// Leaves the value of `x`, without its gradient, to the later phases of this step.
  public void leave(String name, Var x) {
    step.put(name, x.value());
  }

  /// What an earlier phase of this step left under a name.
  public Optional<Var> left(String name) {
    return step.get(name).map(tape::constant);
  }

  /// The weights of a role, for losses that apply its network themselves.
  public Parameters parameters(String role) {
    return player(role).parameters();
  }

  /// Shape of `count` images of a role's network.
  public Shape images(String role, int count) {
    return denoiser(role).images(count);
  }

  /// The first `count` images of a batch.
  public Var images(Batch batch, int count) {
    Shape shape = Shape.of(count, batch.height(), batch.width(), batch.channels());
    int values = Math.toIntExact(shape.elements());
    float[] images = batch.images();
    return tape.constant(shape, values == images.length ? images : Arrays.copyOf(images, values));
  }

  /// Labels as networks other than denoisers take them: `(N, classes)`, a row of zeros for
  /// [Denoiser#NO_CLASS]; null without classes.
  public @Nullable Var oneHot(int[] labels, int classes) {
    if (classes == 0) {
      return null;
    }
    float[] rows = new float[labels.length * classes];
    for (int i = 0; i < labels.length; i++) {
      if (labels[i] != Denoiser.NO_CLASS) {
        rows[i * classes + labels[i]] = 1;
      }
    }
    return tape.constant(Shape.of(labels.length, classes), rows);
  }

  /// D(x; sigma) of a role, dropout off.
  public Var denoise(String role, Var x, float[] sigma, int @Nullable [] labels) {
    return denoiser(role).denoise(tape, weights(role), x, sigma, labels, null);
  }

  /// D(x; sigma) of a role whose network is told more: a row of numbers a sample, dropout off.
  public Var denoise(String role, Var x, float[] sigma, int @Nullable [] labels, float[] told) {
    return denoiser(role).denoise(tape, weights(role), x, sigma, labels, told, null);
  }

  /// D(x; sigma) of a role with these dropout masks.
  public Var denoise(
      String role, Var x, float[] sigma, int @Nullable [] labels, @Nullable PhiloxKey dropout) {
    return denoiser(role).denoise(tape, weights(role), x, sigma, labels, dropout);
  }

  /// What a role's network itself says, before it is made into an image, dropout off.
  ///
  /// @param exact with activations of float32, whatever the run's are
  public Var predict(String role, Var x, float[] sigma, int @Nullable [] labels, boolean exact) {
    Denoiser denoiser = denoiser(role).in(exact ? DType.F32 : compute);
    return denoiser.predict(tape, weights(role), x, sigma, labels);
  }

  /// D(x; sigma) of a role, dropout off, steered away from other classes.
  public Var steered(String role, Var x, float[] sigma, int[] labels, Denoiser.Away away) {
    return denoiser(role).steered(tape, weights(role), x, sigma, labels, away);
  }

  /// The last features `(N, side, side, channels)` of a role's encoder, in float32.
  public Var encode(String role, Var x, float[] sigma, int @Nullable [] labels) {
    return output(denoiser(role).encode(tape, weights(role), x, sigma, labels, null));
  }

  /// Logits `(N)` of a discriminator head on the encoder features of a role; large means real.
  public Var discriminate(String head, String role, Var x, float[] sigma, int @Nullable [] labels) {
    Var features = denoiser(role).encode(tape, weights(role), x, sigma, labels, null);
    return switch (player(head).net()) {
      case DiscriminatorHead net -> output(net.apply(tape, player(head).parameters(), features));
      default ->
          throw new IllegalArgumentException("role " + head + " is not a discriminator head");
    };
  }

  /// Logits `(N, places)` of discriminator heads on a role's features, one map after the other, in
  /// float32; large means real.
  ///
  /// @param chosen the head that looks at each map
  public List<Var> discriminate(
      String heads, int[] chosen, String role, Var x, float[] sigma, int @Nullable [] labels) {
    if (!(player(heads).net() instanceof FeatureHeads net)) {
      throw new IllegalArgumentException("role " + heads + " holds no discriminator heads");
    }
    List<Var> features = denoiser(role).features(tape, weights(role), x, sigma, labels);
    @Nullable Var classes = labels == null ? null : oneHot(labels, net.classes());
    return net.apply(tape, player(heads).parameters(), features, classes, chosen).stream()
        .map(this::output)
        .toList();
  }

  /// The network of a role that classifies images.
  ConvClassifier classifier(String role) {
    return switch (player(role).net()) {
      case ConvClassifier net -> net;
      default -> throw new IllegalArgumentException("role " + role + " is not a classifier");
    };
  }

  private Denoiser denoiser(String role) {
    return switch (player(role).net()) {
      case DiffusionNet net -> new Denoiser(net, preconditioning, compute);
      case Lora lora -> new Denoiser(lora.base(), preconditioning, compute);
      default -> throw new IllegalArgumentException("role " + role + " is not a denoiser");
    };
  }

  /// What a denoiser is called with: a role's own weights, or those that it adapts; the latter are
  /// made once a tape.
  private Parameters weights(String role) {
    Player player = player(role);
    return switch (player.net()) {
      case Lora lora ->
          adapted.computeIfAbsent(
              role,
              name -> {
                Player base = player(player.role().adapts().orElseThrow());
                return lora.adapt(tape, base.parameters(), player.parameters());
              });
      default -> player.parameters();
    };
  }

  private Player player(String role) {
    Player player = players.get(role);
    if (player == null) {
      throw new IllegalArgumentException("method: no role named " + role);
    }
    return player;
  }
}
