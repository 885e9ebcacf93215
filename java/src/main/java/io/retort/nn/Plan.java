package io.retort.nn;

import static java.util.Objects.requireNonNull;

import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.tensor.Memory;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.function.Predicate;

/// The parameters a network declares: names, shapes and initial laws, in order.
public final class Plan {

  private record Entry(Shape shape, Init init) {}

  private final SequencedMap<String, Entry> entries = new LinkedHashMap<>();

  /// An empty plan.
  public Plan() {}

  /// Declares one parameter.
  ///
  /// @throws IllegalArgumentException if the name is taken
  public void add(String name, Shape shape, Init init) {
    if (entries.put(name, new Entry(shape, init)) != null) {
      throw new IllegalArgumentException("plan: two parameters are named " + name);
    }
  }

  /// Declares all that another plan does, under names with a prefix.
  public void include(String prefix, Plan other) {
    other.entries.forEach((name, entry) -> add(prefix + name, entry.shape(), entry.init()));
  }

  /// Names and shapes in declaration order.
  public SequencedMap<String, Shape> shapes() {
    SequencedMap<String, Shape> shapes = new LinkedHashMap<>();
    entries.forEach((name, entry) -> shapes.put(name, entry.shape()));
    return shapes;
  }

  /// New parameters, all zero.
  public Parameters allocate(Memory memory) {
    return new Parameters(memory, shapes());
  }

  /// New parameters drawn from their initial laws.
  public Parameters initialise(Memory memory, long seed) {
    return initialise(memory, new PhiloxKey(seed, Purpose.INIT, 0, 0));
  }

  /// New parameters drawn from their initial laws; parameter i uses the i-th stream from the key's
  /// on.
  public Parameters initialise(Memory memory, PhiloxKey key) {
    return draw(allocate(memory), key);
  }

  /// The same, freed with `scope`.
  public Parameters initialise(Scope scope, PhiloxKey key) {
    return draw(new Parameters(scope, shapes()), key);
  }

  private Parameters draw(Parameters parameters, PhiloxKey key) {
    redraw(parameters, name -> true, key);
    return parameters;
  }

  /// Draws some parameters of this plan again from their initial laws, with the streams that all of
  /// them would use.
  ///
  /// @return those that were drawn
  public List<Parameter> redraw(Parameters parameters, Predicate<String> names, PhiloxKey key) {
    List<Parameter> drawn = new ArrayList<>();
    int stream = key.stream();
    for (Parameter parameter : parameters.all()) {
      if (names.test(parameter.name())) {
        Entry entry = requireNonNull(entries.get(parameter.name()));
        parameter.value().set(entry.init().values(entry.shape(), key.stream(stream)));
        drawn.add(parameter);
      }
      stream++;
    }
    return drawn;
  }
}
