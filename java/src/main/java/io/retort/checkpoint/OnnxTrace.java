package io.retort.checkpoint;

import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.Backend;
import io.retort.op.Op;
import io.retort.op.Reshape;
import io.retort.op.Slice;
import io.retort.tensor.DType;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// One forward pass of a network as data: its values, and the ops between them.
///
/// The network runs twice, on batches of two sizes. What differs between the two shapes of a value
/// is the batch; what is the same belongs to the network. A network that does something else for
/// another batch is refused. Owns the tensors of the larger batch, whose values constants are taken
/// from.
final class OnnxTrace implements AutoCloseable {
  private static final int BATCH = 3;
  private static final int OTHER_BATCH = 2;

  /// A tensor of the network, whatever the batch.
  ///
  /// @param tensor its value for the larger batch
  /// @param batchAxis the axis whose extent follows the batch, -1 for none
  /// @param name of the weight that it is, else null
  record Value(Tensor tensor, int batchAxis, @Nullable String name) {

    Shape shape() {
      return tensor.shape();
    }

    int rank() {
      return tensor.shape().rank();
    }

    /// Whether the value has exactly one row a sample, along its first axis.
    boolean rows() {
      return batchAxis == 0 && shape().dim(0) == BATCH;
    }

    /// Whether all samples have the same row.
    boolean uniform() {
      if (!rows() || tensor.dtype() != DType.F32) {
        return false;
      }
      float[] values = tensor.floats();
      int size = values.length / BATCH;
      for (int i = size; i < values.length; i++) {
        if (values[i] != values[i - size]) {
          return false;
        }
      }
      return true;
    }
  }

  /// One op.
  record Step(Op op, List<Value> inputs, Value output) {}

  /// What one run of the network did.
  private record Pass(
      Tensor x, Tensor noise, @Nullable Tensor labels, Tensor out, List<Call> calls) {}

  private record Call(Op op, List<Tensor> inputs, Tensor output) {}

  private final Scope scope;
  private final Scope otherScope;
  private final Map<Tensor, Parameter> weights = new IdentityHashMap<>();
  private final Map<Tensor, Value> values = new IdentityHashMap<>();
  private final List<Step> steps = new ArrayList<>();
  private final Value x;
  private final Value noise;
  private final @Nullable Value labels;
  private final Value out;

  /// Runs the network; channels of its output after those of the image are cut off.
  ///
  /// @param noise what it is told about the noise level
  /// @param fixed whether that is all it will be told
  /// @param labelled whether classes are given; else every row of the one-hot input is zero
  /// @throws IllegalArgumentException in one sentence, if what the network does depends on the
  ///   batch
  OnnxTrace(
      Backend backend,
      DiffusionNet network,
      Parameters parameters,
      float noise,
      boolean fixed,
      boolean labelled) {
    parameters.all().forEach(parameter -> weights.put(parameter.value(), parameter));
    scope = new Scope(backend.memory());
    otherScope = new Scope(backend.memory());
    try {
      Pass pass = run(backend, scope, network, parameters, noise, labelled, BATCH);
      float otherNoise = fixed ? noise : noise + 1;
      Pass other = run(backend, otherScope, network, parameters, otherNoise, labelled, OTHER_BATCH);
      this.x = known(pass.x, other.x);
      this.noise = known(pass.noise, other.noise);
      this.labels =
          pass.labels == null || other.labels == null ? null : known(pass.labels, other.labels);
      align(pass.calls, other.calls);
      Value result = values.get(pass.out);
      if (result == null) {
        throw new IllegalArgumentException("export: the network's output is computed by no op");
      }
      out = result;
    } catch (Throwable failure) {
      close();
      throw failure;
    }
    otherScope.close();
  }

  Value x() {
    return x;
  }

  Value noise() {
    return noise;
  }

  @Nullable Value labels() {
    return labels;
  }

  Value out() {
    return out;
  }

  List<Step> steps() {
    return steps;
  }

  private static Pass run(
      Backend backend,
      Scope scope,
      DiffusionNet network,
      Parameters parameters,
      float noise,
      boolean labelled,
      int batch) {
    List<Call> calls = new ArrayList<>();
    Tape tape =
        Tape.observed(
            backend, scope, (op, inputs, output) -> calls.add(new Call(op, inputs, output)));
    int side = network.resolution();
    Tensor x = scope.allocate(Shape.of(batch, side, side, network.imageChannels()));
    float[] pixels = new float[Math.toIntExact(x.elements())];
    Philox.normals(new PhiloxKey(batch, Purpose.NOISE, 0, 0), pixels);
    x.set(pixels);
    float[] levels = new float[batch];
    Arrays.fill(levels, noise);
    Var level = tape.constant(Shape.of(batch), levels);
    Tensor labels = labels(scope, network.classes(), labelled, batch);
    Var result =
        network.apply(
            tape,
            parameters,
            tape.constant(x),
            level,
            labels == null ? null : tape.constant(labels),
            null);
    boolean more = result.shape().last() > network.imageChannels();
    Var images = more ? tape.apply(new Slice(3, 0, network.imageChannels()), result) : result;
    return new Pass(x, level.value(), labels, images.value(), calls);
  }

  /// Other classes for another batch (as the noise and the pixels are others), so that a network
  /// that reads them outside of its ops is found out.
  private static @Nullable Tensor labels(Scope scope, int classes, boolean labelled, int batch) {
    if (classes == 0) {
      return null;
    }
    float[] rows = new float[batch * classes];
    for (int i = 0; labelled && i < batch; i++) {
      rows[i * classes + (batch == BATCH ? classes - 1 : 0)] = 1;
    }
    return scope.of(Shape.of(batch, classes), rows);
  }

  private void align(List<Call> calls, List<Call> others) {
    if (calls.size() != others.size()) {
      throw new IllegalArgumentException(
          "export: the network runs %d ops on a batch of %d and %d on one of %d"
              .formatted(calls.size(), BATCH, others.size(), OTHER_BATCH));
    }
    for (int i = 0; i < calls.size(); i++) {
      Call call = calls.get(i);
      Call other = others.get(i);
      boolean same =
          call.op.equals(other.op) || call.op instanceof Reshape && other.op instanceof Reshape;
      if (!same || call.inputs.size() != other.inputs.size()) {
        throw new IllegalArgumentException(
            "export: the network's op %s depends on the size of the batch (%s or %s)"
                .formatted(call.op.name(), call.op, other.op));
      }
      List<Value> inputs = new ArrayList<>();
      for (int j = 0; j < call.inputs.size(); j++) {
        inputs.add(value(call.op, call.inputs.get(j), other.inputs.get(j)));
      }
      steps.add(new Step(call.op, List.copyOf(inputs), known(call.output, other.output)));
    }
  }

  /// The value of an input: computed before, a weight, or a constant that the network made.
  private Value value(Op op, Tensor tensor, Tensor other) {
    Value known = values.get(tensor);
    if (known != null) {
      return known;
    }
    Parameter weight = weights.get(tensor);
    if (weight != null) {
      Value value = new Value(tensor, -1, weight.name());
      values.put(tensor, value);
      return value;
    }
    Value value = known(tensor, other);
    boolean constant =
        value.batchAxis < 0 ? same(tensor, other) : value.uniform() && sameRow(tensor, other);
    if (!constant) {
      throw new IllegalArgumentException(
          "export: the network computes an input of %s, %s, outside of its ops; a graph cannot repeat that"
              .formatted(op.name(), tensor));
    }
    return value;
  }

  private Value known(Tensor tensor, Tensor other) {
    if (tensor.dtype() == DType.BF16) {
      throw new IllegalArgumentException(
          "export: the network must compute in float32, an op of it gave " + tensor);
    }
    Value value = new Value(tensor, batchAxis(tensor.shape(), other.shape()), null);
    values.put(tensor, value);
    return value;
  }

  private static boolean same(Tensor tensor, Tensor other) {
    return tensor.dtype() == DType.I64
        ? Arrays.equals(tensor.longs(), other.longs())
        : Arrays.equals(tensor.floats(), other.floats());
  }

  /// Whether the first rows of two batches are equal.
  private static boolean sameRow(Tensor tensor, Tensor other) {
    int size = Math.toIntExact(tensor.elements() / BATCH);
    return Arrays.equals(tensor.floats(), 0, size, other.floats(), 0, size);
  }

  private static int batchAxis(Shape shape, Shape other) {
    int found = -1;
    for (int axis = 0; axis < shape.rank(); axis++) {
      if (shape.rank() != other.rank() || shape.dim(axis) != other.dim(axis)) {
        if (found >= 0 || shape.rank() != other.rank()) {
          throw new IllegalArgumentException(
              "export: more than one axis of a value follows the batch, %s or %s"
                  .formatted(shape, other));
        }
        found = axis;
      }
    }
    return found;
  }

  @Override
  public void close() {
    scope.close();
    otherScope.close();
  }
}
