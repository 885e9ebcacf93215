package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Dense;
import io.retort.nn.Init;
import io.retort.nn.Plan;
import io.retort.tensor.Shape;

/// One block of a [DiT]: attention, then an MLP, each normalised, scaled and shifted before and
/// gated after by the condition (adaLN-zero).
///
/// Source: Peebles & Xie 2023, section 3.2.
record DiTBlock(DiTConfig config, int index) {
  private static final double EPS = 1e-6;

  void declare(Plan plan) {
    if (config.original()) {
      attention().declare(plan);
      mlpIn().declare(plan);
      mlpOut().declare(plan);
      modulation().declare(plan);
      return;
    }
    embedding().declare(plan);
    modulation().declare(plan);
    attention().declare(plan);
    if (config.secondAffine()) {
      plan.add(name("norm3.weight"), Shape.of(config.width()), new Init.Constant(1));
      plan.add(name("norm3.bias"), Shape.of(config.width()), new Init.Constant(0));
    }
    mlpIn().declare(plan);
    mlpOut().declare(plan);
  }

  /// Where this block keeps an embedding of its own, as diffusers does.
  DiTEmbedding embedding() {
    return DiTEmbedding.diffusers(
        name("norm1.emb"), config.width(), config.classes(), config.hasNullClass());
  }

  /// Tokens `(N, T, width)` to the same shape.
  ///
  /// @param activated SiLU of the condition, `(N, width)`
  /// @param plain scale 1 and shift 0 of norms without parameters
  Var apply(
      Tape tape, Parameters parameters, Var x, Var activated, PlainNorm plain, DropoutKeys keys) {
    Var[] parts = split(modulation().apply(tape, parameters, activated), 6);
    Var h = modulate(plain.apply(x, EPS), parts[0], parts[1]);
    h = dropped(attention().apply(tape, parameters, h), keys);
    Var y = x.add(h.mulBroadcast(parts[2]));
    h = modulate(second(tape, parameters, y, plain), parts[3], parts[4]);
    h = mlpIn().apply(tape, parameters, h);
    h = dropped(config.exactGelu() ? h.gelu() : h.geluTanh(), keys);
    return y.add(mlpOut().apply(tape, parameters, h).mulBroadcast(parts[5]));
  }

  /// `x (1 + scale) + shift`.
  static Var modulate(Var x, Var shift, Var scale) {
    return x.mulBroadcast(scale.affine(1, 1)).addBroadcast(shift);
  }

  /// `(N, parts width)` as that many `(N, 1, width)`.
  static Var[] split(Var condition, int parts) {
    long width = condition.shape().last() / parts;
    Var[] all = new Var[parts];
    for (int i = 0; i < parts; i++) {
      all[i] =
          condition
              .slice(1, i * width, (i + 1) * width)
              .reshape(condition.shape().dim(0), 1, width);
    }
    return all;
  }

  private Var second(Tape tape, Parameters parameters, Var x, PlainNorm plain) {
    if (!config.secondAffine()) {
      return plain.apply(x, config.secondEps());
    }
    return x.layerNorm(
        tape.use(parameters.get(name("norm3.weight"))),
        tape.use(parameters.get(name("norm3.bias"))),
        config.secondEps());
  }

  private Var dropped(Var x, DropoutKeys keys) {
    var key = keys.next();
    return key == null || config.dropout() == 0 ? x : x.dropout(config.dropout(), key);
  }

  private MultiHead attention() {
    return new MultiHead(
        name(config.original() ? "attn" : "attn1"),
        config.width(),
        config.heads(),
        config.headWidth(),
        config.original(),
        config.attentionBias());
  }

  private Dense modulation() {
    int width = config.width();
    return new Dense(
        name(config.original() ? "adaLN_modulation.1" : "norm1.linear"),
        width,
        6 * width,
        true,
        new Init.Constant(0),
        new Init.Constant(0));
  }

  private Dense mlpIn() {
    return Dense.xavier(
        name(config.original() ? "mlp.fc1" : "ff.net.0.proj"), config.width(), config.hidden());
  }

  private Dense mlpOut() {
    return Dense.xavier(
        name(config.original() ? "mlp.fc2" : "ff.net.2"), config.hidden(), config.width());
  }

  private String name(String part) {
    return (config.original() ? "blocks." : "transformer_blocks.") + index + "." + part;
  }
}
