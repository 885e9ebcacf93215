package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Dense;
import io.retort.nn.Plan;

/// Attention of tokens to one another between linear layers: `out(attention(q(x), k(x), v(x)))`.
///
/// The first layers are three (`to_q`, `to_k`, `to_v` and `to_out.0`, as diffusers has them) or one
/// (`qkv` and `proj`, as timm has them); each kind keeps the layout of its checkpoints, so that no
/// weight is copied. Source: Vaswani et al. 2017, section 3.2.2.
///
/// @param name prefix of the layers
/// @param width channels of the tokens
/// @param heads number of heads
/// @param headWidth channels of a head
/// @param packed one layer for q, k and v
/// @param biased bias in q, k and v
record MultiHead(String name, int width, int heads, int headWidth, boolean packed, boolean biased) {

  void declare(Plan plan) {
    if (packed) {
      dense("qkv", width, 3 * inner(), biased).declare(plan);
      dense("proj", inner(), width, true).declare(plan);
    } else {
      query("to_q").declare(plan);
      query("to_k").declare(plan);
      query("to_v").declare(plan);
      dense("to_out.0", inner(), width, true).declare(plan);
    }
  }

  /// Tokens `(N, ..., width)` to the same shape; every axis between the first and the last counts
  /// tokens.
  Var apply(Tape tape, Parameters parameters, Var x) {
    if (packed) {
      Var qkv = dense("qkv", width, 3 * inner(), biased).apply(tape, parameters, x);
      return dense("proj", inner(), width, true).apply(tape, parameters, qkv.selfAttention(heads));
    }
    Var q = query("to_q").apply(tape, parameters, x);
    Var k = query("to_k").apply(tape, parameters, x);
    Var v = query("to_v").apply(tape, parameters, x);
    return dense("to_out.0", inner(), width, true)
        .apply(tape, parameters, q.attention(k, v, heads));
  }

  private int inner() {
    return heads * headWidth;
  }

  private Dense query(String part) {
    return dense(part, width, inner(), biased);
  }

  private Dense dense(String part, int in, int out, boolean bias) {
    Dense dense = Dense.plain(name + "." + part, in, out);
    return bias ? dense : dense.withoutBias();
  }
}
