package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Concat;
import io.retort.tensor.PhiloxKey;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/// One pass through a U-Net of EDM: what its parts share, and the maps that the encoder keeps for
/// the decoder.
final class EdmPass {
  private final Tape tape;
  private final Parameters parameters;
  private final Var emb;
  private final @Nullable PhiloxKey dropout;
  private final BiConsumer<String, Var> seen;
  private final Deque<Var> kept = new ArrayDeque<>();
  private int blocks;

  /// @param emb the conditioning vector `(N, width)`
  /// @param dropout key of the dropout masks, null to switch dropout off
  /// @param seen told the output of every part by its name
  EdmPass(
      Tape tape,
      Parameters parameters,
      Var emb,
      @Nullable PhiloxKey dropout,
      BiConsumer<String, Var> seen) {
    this.tape = tape;
    this.parameters = parameters;
    this.emb = emb;
    this.dropout = dropout;
    this.seen = seen;
  }

  /// The output of the next block of the encoder.
  Var encode(UNetBlock block, Var h) {
    return keep(through(block, h));
  }

  /// The output of the next block of the decoder, which takes the last kept map too where it is
  /// wider than what came before.
  Var decode(UNetBlock block, Var h) {
    return through(
        block, h.shape().last() == block.in() ? h : tape.apply(new Concat(3), h, kept.pop()));
  }

  private Var through(UNetBlock block, Var h) {
    return seen(block.name(), block.apply(tape, parameters, h, emb, dropout, blocks++));
  }

  /// Keeps a map for the decoder.
  Var keep(Var h) {
    kept.push(h);
    return h;
  }

  /// Keeps a map in the place of the last one.
  Var keepInstead(Var h) {
    kept.pop();
    return keep(h);
  }

  /// Tells of the output of a part.
  Var seen(String name, Var h) {
    seen.accept(name, h);
    return h;
  }

  /// What the encoder made last at every level, finest first.
  List<Var> lastOfEveryLevel() {
    return FeatureMap.lastOfEveryLevel(kept);
  }
}
