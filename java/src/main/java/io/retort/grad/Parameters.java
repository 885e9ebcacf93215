package io.retort.grad;

import io.retort.tensor.DType;
import io.retort.tensor.Memory;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Collection;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/// The weights of one network: names and shapes over one flat float32 value arena and one gradient
/// arena.
///
/// Flat arenas make the optimizer, averaging, copying and clipping one pass each, whatever the
/// network. Every parameter starts on a 64-byte boundary; the padding stays zero in every arena.
public final class Parameters implements AutoCloseable {
  private static final int ALIGN = 16;

  private final Scope scope;
  private final Tensor values;
  private @Nullable Tensor gradients;
  private long zeroings;
  private final SequencedMap<String, Parameter> byName = new LinkedHashMap<>();
  private final Map<String, Parameter> weights = new ConcurrentHashMap<>();
  private final Map<String, Parameter> biases = new ConcurrentHashMap<>();
  private final Set<Parameter> fixed = Collections.newSetFromMap(new IdentityHashMap<>());

  /// Arenas of zeroes for these names and shapes, in order; closed by the caller.
  public Parameters(Memory memory, SequencedMap<String, Shape> shapes) {
    this(new Scope(memory), shapes);
  }

  /// The same inside a scope that frees them: for networks that live as long as one step.
  public Parameters(Scope scope, SequencedMap<String, Shape> shapes) {
    long total = shapes.values().stream().mapToLong(Parameters::padded).sum();
    this.scope = scope;
    values = scope.zeros(Shape.of(total), DType.F32);
    long offset = 0;
    for (var entry : shapes.entrySet()) {
      Shape shape = entry.getValue();
      byName.put(
          entry.getKey(),
          new Parameter(this, entry.getKey(), values.view(scope, shape, offset), offset));
      offset += padded(shape);
    }
  }

  /// A view of an arena that others own.
  private Parameters(Scope scope, Tensor values) {
    this.scope = scope;
    this.values = values;
  }

  /// The same values under parameters of their own, to which a tape can give other values without
  /// touching these ([Tape#substitute]); freed with `within`.
  public Parameters alias(Scope within) {
    Parameters alias = new Parameters(within, values.view(within, values.shape()));
    byName.forEach((name, parameter) -> {
      Tensor value = values.view(within, parameter.shape(), parameter.offset());
      alias.byName.put(name, new Parameter(alias, name, value, parameter.offset()));
    });
    return alias;
  }

  /// The parameters whose names begin with `prefix`, under what follows it: one network of several
  /// in an arena, declared without others between. They stay this network's: its gradients, its to
  /// train. Freed with `within`.
  ///
  /// @throws IllegalArgumentException if there are none
  public Parameters part(Scope within, String prefix) {
    List<Parameter> members =
        byName.values().stream().filter(each -> each.name().startsWith(prefix)).toList();
    if (members.isEmpty()) {
      throw new IllegalArgumentException("parameters: no parameter begins with " + prefix);
    }
    long first = members.getFirst().offset();
    long end = members.getLast().offset() + padded(members.getLast().shape());
    Parameters part = new Parameters(within, values.view(within, Shape.of(end - first), first));
    members.forEach(each -> part.byName.put(each.name().substring(prefix.length()), each));
    return part;
  }

  private static long padded(Shape shape) {
    return (shape.elements() + ALIGN - 1) / ALIGN * ALIGN;
  }

  /// The parameter of that name.
  ///
  /// @throws IllegalArgumentException if there is none
  public Parameter get(String name) {
    Parameter parameter = byName.get(name);
    if (parameter == null) {
      throw new IllegalArgumentException("parameters: no parameter named " + name);
    }
    return parameter;
  }

  /// The parameter `layer.weight`: found in every step without making its name.
  ///
  /// @throws IllegalArgumentException if there is none
  public Parameter weight(String layer) {
    Parameter known = weights.get(layer);
    return known != null ? known : remembered(weights, layer, ".weight");
  }

  /// The parameter `layer.bias`, as [#weight].
  public Parameter bias(String layer) {
    Parameter known = biases.get(layer);
    return known != null ? known : remembered(biases, layer, ".bias");
  }

  private Parameter remembered(Map<String, Parameter> known, String layer, String suffix) {
    Parameter parameter = get(layer + suffix);
    known.put(layer, parameter);
    return parameter;
  }

  public boolean has(String name) {
    return byName.containsKey(name);
  }

  /// All parameters in declaration order.
  public Collection<Parameter> all() {
    return Collections.unmodifiableCollection(byName.values());
  }

  /// Number of trainable scalars, padding not counted.
  public long count() {
    return byName.values().stream().mapToLong(p -> p.shape().elements()).sum();
  }

  /// The flat value arena.
  public Tensor values() {
    return values;
  }

  /// The flat gradient arena, laid out as [#values]; made of zeroes when it is first asked for, so
  /// that a network that is only called holds its weights once.
  public Tensor gradients() {
    Tensor made = gradients;
    if (made == null) {
      made = scope.zeros(values.shape(), DType.F32);
      gradients = made;
    }
    return made;
  }

  /// Keeps the parameters of these names as they are: a tape that trains this network takes them as
  /// constants.
  public void fix(Predicate<String> names) {
    fixed.clear();
    byName.forEach((name, parameter) -> {
      if (names.test(name)) {
        fixed.add(parameter);
      }
    });
  }

  /// Whether a parameter of this network was fixed.
  boolean fixes(Parameter parameter) {
    return fixed.contains(parameter);
  }

  public void zeroGradients() {
    gradients().zero();
    zeroings++;
  }

  /// How often the gradients were zeroed.
  long zeroings() {
    return zeroings;
  }

  /// The part of the gradient arena that begins at `offset`.
  Tensor gradient(Shape shape, long offset) {
    return gradients().view(scope, shape, offset);
  }

  /// Copies every value from a network of the same layout.
  public void copyFrom(Parameters other) {
    if (!other.values.shape().equals(values.shape())) {
      throw new ShapeException(
          "parameters: source has " + other.count() + " values, this network " + count());
    }
    values.copyFrom(other.values);
  }

  /// Closes the scope the arenas live in.
  @Override
  public void close() {
    scope.close();
  }
}
