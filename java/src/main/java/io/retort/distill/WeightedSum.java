package io.retort.distill;

import static java.util.Objects.requireNonNull;

import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Add;
import io.retort.op.Affine;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// A weighted sum of named terms, logged before they are weighted.
final class WeightedSum {
  private final Tape tape;
  private final SequencedMap<String, Var> parts = new LinkedHashMap<>();
  private @Nullable Var total;

  WeightedSum(Tape tape) {
    this.tape = tape;
  }

  /// One term of weight 1.
  static Method.Terms single(String name, Var term) {
    SequencedMap<String, Var> parts = new LinkedHashMap<>();
    parts.put(name, term);
    return new Method.Terms(term, parts);
  }

  void add(String name, double weight, Var term) {
    parts.put(name, term);
    Var before = total;
    total =
        before == null
            ? tape.apply(new Affine(weight, 0), term)
            : tape.apply(new Add(1, weight), before, term);
  }

  /// A number for the log that is not minimised.
  void watch(String name, Var number) {
    parts.put(name, number);
  }

  /// @throws NullPointerException if nothing was added
  Method.Terms terms() {
    return new Method.Terms(requireNonNull(total), parts);
  }
}
