package io.retort.grad;

import static java.util.Objects.requireNonNull;

import io.retort.op.Backend;
import io.retort.op.Op;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// Records ops while they run, then walks them backwards.
///
/// A tape is made for the parameters one phase trains; every other parameter enters as a constant,
/// so frozen networks cost no weight gradients while gradients still flow through them to their
/// inputs. An empty set records nothing unless an input is [#tracked].
public final class Tape {

  /// An op, or with a sink what its gradients end in: that of a parameter, or of another value.
  private record Node(
      @Nullable Op op,
      int[] inputs,
      Op.@Nullable Saved saved,
      @Nullable Tensor sink,
      @Nullable Parameter parameter) {}

  private final Backend backend;
  private final Scope scope;
  private final Set<Parameters> trained;
  private final List<Node> nodes = new ArrayList<>();
  private final Map<Parameter, Var> parameters = new IdentityHashMap<>(256);
  private final @Nullable TapeObserver observer;
  private boolean walked;

  public Tape(Backend backend, Scope scope, Set<Parameters> trained) {
    this(backend, scope, trained, null);
  }

  private Tape(
      Backend backend, Scope scope, Set<Parameters> trained, @Nullable TapeObserver observer) {
    this.backend = backend;
    this.scope = scope;
    this.trained = Set.copyOf(trained);
    this.observer = observer;
  }

  /// A tape that trains nothing: for sampling and evaluation.
  public static Tape inference(Backend backend, Scope scope) {
    return new Tape(backend, scope, Set.of());
  }

  /// A tape that trains nothing and tells `observer` of every op, in order.
  public static Tape observed(Backend backend, Scope scope, TapeObserver observer) {
    return new Tape(backend, scope, Set.of(), observer);
  }

  public Backend backend() {
    return backend;
  }

  public Scope scope() {
    return scope;
  }

  /// A value without gradient.
  public Var constant(Tensor value) {
    return new Var(this, value, -1);
  }

  /// Float32 data without gradient.
  public Var constant(Shape shape, float... values) {
    return constant(scope.of(shape, values));
  }

  /// Integers (labels, indices).
  public Var constant(Shape shape, long... values) {
    return constant(scope.of(shape, values));
  }

  /// A value whose gradient is wanted; it accumulates into `sink`, which the caller has zeroed.
  public Var tracked(Tensor value, Tensor sink) {
    return leaf(value, sink, null);
  }

  private Var leaf(Tensor value, Tensor sink, @Nullable Parameter parameter) {
    nodes.add(new Node(null, new int[0], null, sink, parameter));
    return new Var(this, value, nodes.size() - 1);
  }

  /// A weight: tracked if this tape trains its network and the weight is not fixed, constant
  /// otherwise.
  public Var use(Parameter parameter) {
    Var used = parameters.get(parameter);
    if (used == null) {
      boolean trains = trained.contains(parameter.owner()) && !parameter.owner().fixes(parameter);
      used =
          trains
              ? leaf(parameter.value(), parameter.gradient(), parameter)
              : constant(parameter.value());
      parameters.put(parameter, used);
    }
    return used;
  }

  /// Takes `value` for a weight of this tape from here on.
  public void substitute(Parameter parameter, Var value) {
    if (!value.shape().equals(parameter.shape())) {
      throw new ShapeException(
          "substitute: %s must be %s, got %s"
              .formatted(parameter.name(), parameter.shape(), value.shape()));
    }
    parameters.put(parameter, value);
  }

  /// Runs an op on values of this tape.
  ///
  /// @throws ShapeException if the inputs do not fit the op
  public Var apply(Op op, Var... inputs) {
    Tensor[] values = new Tensor[inputs.length];
    Shape[] shapes = new Shape[inputs.length];
    int[] sources = new int[inputs.length];
    for (int i = 0; i < inputs.length; i++) {
      values[i] = inputs[i].value();
      shapes[i] = values[i].shape();
      sources[i] = inputs[i].node();
    }
    List<Tensor> tensors = List.of(values);
    Shape shape = op.infer(List.of(shapes));
    List<Tensor> results = op.run(backend, scope, tensors);
    Tensor output = results.getFirst();
    if (!output.shape().equals(shape)) {
      throw new ShapeException(
          op.name() + ": inferred " + shape + " but computed " + output.shape());
    }
    if (observer != null) {
      observer.applied(op, tensors, output);
    }
    boolean[] wanted = new boolean[inputs.length];
    boolean any = false;
    for (int i = 0; i < inputs.length; i++) {
      wanted[i] = inputs[i].tracked() && op.differentiable(i);
      any |= wanted[i];
    }
    if (!any) {
      for (int i = 1; i < results.size(); i++) {
        scope.release(results.get(i));
      }
      return constant(output);
    }
    List<Tensor> extras = results.size() == 1 ? List.of() : results.subList(1, results.size());
    nodes.add(new Node(op, sources, new Op.Saved(tensors, output, extras, wanted), null, null));
    return new Var(this, output, nodes.size() - 1);
  }

  /// Gradients of a scalar: into every trained parameter and every tracked sink.
  public void backward(Var loss) {
    if (loss.shape().elements() != 1) {
      throw new ShapeException("backward: loss must be a scalar, got " + loss.shape());
    }
    Tensor one = scope.allocate(loss.shape(), DType.F32).set(1f);
    backward(loss, one);
  }

  /// Gradients of `sum(output * gradient)`. A tape is walked once.
  public void backward(Var output, Tensor gradient) {
    if (walked) {
      throw new IllegalStateException("backward: this tape was already walked");
    }
    if (!output.tracked()) {
      return;
    }
    walked = true;
    BitSet direct = direct(output);
    backend.derived(
        () -> signature(output, gradient, direct), () -> walk(output, gradient, direct));
    for (Node node : nodes) {
      if (node.parameter != null) {
        node.parameter.touched();
      }
    }
  }

  /// The parameters whose gradient is one contribution to zeroes: the op that makes it writes it to
  /// the arena itself, where more of them are added up.
  private BitSet direct(Var output) {
    int[] uses = new int[nodes.size()];
    for (int i = 0; i <= output.node(); i++) {
      Node node = nodes.get(i);
      for (int k = 0; k < node.inputs.length; k++) {
        if (requireNonNull(node.saved).needs(k)) {
          uses[node.inputs[k]]++;
        }
      }
    }
    BitSet direct = new BitSet(nodes.size());
    for (int i = 0; i <= output.node(); i++) {
      Parameter parameter = nodes.get(i).parameter;
      direct.set(i, parameter != null && uses[i] == 1 && parameter.untouched());
    }
    return direct;
  }

  private void walk(Var output, Tensor gradient, BitSet direct) {
    @Nullable Tensor[] gradients = new @Nullable Tensor[nodes.size()];
    gradients[output.node()] = gradient.view(scope, gradient.shape());
    for (int i = output.node(); i >= 0; i--) {
      Tensor incoming = gradients[i];
      if (incoming != null) {
        propagate(nodes.get(i), incoming, gradients, direct);
        gradients[i] = null;
        scope.release(incoming);
      }
    }
  }

  /// What the kernels of [#walk] depend on.
  private TapeSignature signature(Var output, Tensor gradient, BitSet direct) {
    TapeSignature signature = new TapeSignature();
    signature.add(output.node());
    for (long word : direct.toLongArray()) {
      signature.add(word);
    }
    signature.add(gradient);
    for (Node node : nodes) {
      signature.add(node.op == null ? null : node.op.timeless());
      for (int input : node.inputs) {
        signature.add(input);
      }
      if (node.sink != null) {
        signature.add(node.sink);
      }
      if (node.saved != null) {
        node.saved.inputs().forEach(signature::add);
        signature.add(node.saved.output());
        node.saved.extras().forEach(signature::add);
        for (boolean wanted : node.saved.wanted()) {
          signature.add(wanted ? 1 : 0);
        }
      }
    }
    return signature;
  }

  private void propagate(Node node, Tensor incoming, @Nullable Tensor[] gradients, BitSet direct) {
    if (node.sink != null) {
      if (incoming.address() != node.sink.address()) { // else the op wrote it there
        backend.elementwise().accumulate(incoming, node.sink);
      }
      return;
    }
    Op.Saved saved = requireNonNull(node.saved);
    @Nullable Tensor[] sinks = new @Nullable Tensor[node.inputs.length];
    for (int i = 0; i < sinks.length; i++) {
      sinks[i] =
          saved.needs(i) && direct.get(node.inputs[i]) ? nodes.get(node.inputs[i]).sink : null;
    }
    List<@Nullable Tensor> contributions =
        requireNonNull(node.op).vjp(backend, scope, saved.into(sinks), incoming);
    for (int i = 0; i < node.inputs.length; i++) {
      Tensor contribution = contributions.get(i);
      if (contribution != null && saved.needs(i)) {
        int source = node.inputs[i];
        gradients[source] = sum(gradients[source], contribution);
      }
    }
    for (Tensor extra : saved.extras()) {
      scope.release(extra);
    }
  }

  private Tensor sum(@Nullable Tensor existing, Tensor contribution) {
    if (existing == null) {
      return contribution;
    }
    Tensor total = scope.allocate(existing.shape(), existing.dtype());
    backend.elementwise().axpby(1, existing, 1, contribution, total);
    scope.release(existing);
    scope.release(contribution);
    return total;
  }
}
