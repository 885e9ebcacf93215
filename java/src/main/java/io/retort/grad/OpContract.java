package io.retort.grad;

import io.retort.op.Backend;
import io.retort.op.Case;
import io.retort.op.Op;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// One case of the contract that every op keeps on every backend, checked against the op's own
/// float64 reference.
///
/// The inferred shape is the real one; the output and every gradient are finite and within the
/// bounds of the reference (gradients against central differences of it, or against
/// [Op#referenceVjp]); a gradient asked for alone equals the one computed with the others; two runs
/// agree bit for bit; nothing leaks.
///
/// The reference is computed once and serves every backend that is checked.
public final class OpContract {
  /// Inputs with more elements than this have that many of their gradient entries checked, drawn by
  /// seed.
  private static final int CHECKED_GRADIENTS = 96;

  private final Case contract;
  private final Op op;
  private final List<Shape> shapes;
  private @Nullable Expectation expectation;

  public OpContract(Case contract) {
    this.contract = contract;
    op = contract.op();
    shapes = contract.inputs().stream().map(Case.Input::shape).toList();
  }

  /// What was wrong on a backend, one sentence each; empty when the contract holds.
  public List<String> check(Backend backend) {
    List<String> failures = new ArrayList<>();
    long blocks = backend.memory().liveBlocks();
    try {
      if (expectation == null) {
        expectation = new Expectation();
      }
      new Check(backend, expectation, failures).check();
    } catch (RuntimeException e) {
      failures.add("threw " + e);
    }
    long leaked = backend.memory().liveBlocks() - blocks;
    if (leaked != 0) {
      failures.add("leaked " + leaked + " blocks");
    }
    return failures;
  }

  /// The case's inputs and what float64 makes of them.
  private final class Expectation {
    private final Random random =
        new Random(contract.name().hashCode() * 31L + op.name().hashCode());
    private final List<double[]> inputs = contract.inputs().stream().map(this::fill).toList();
    private final Shape shape = op.infer(shapes);
    private final double[] output = op.reference(inputs, shapes);
    private final double[] cotangent = new double[output.length];
    private final boolean[] wanted = new boolean[shapes.size()];
    private final @Nullable Entries[] gradients = new @Nullable Entries[shapes.size()];

    Expectation() {
      Arrays.setAll(cotangent, i -> (float) random.nextGaussian());
      List<double @Nullable []> exact = op.referenceVjp(inputs, shapes, cotangent);
      for (int i = 0; i < wanted.length; i++) {
        wanted[i] = contract.inputs().get(i).dtype().floating() && op.differentiable(i);
        if (wanted[i]) {
          gradients[i] = entries(i, exact == null ? null : exact.get(i));
        }
      }
    }

    private Entries entries(int input, double @Nullable [] exact) {
      int n = inputs.get(input).length;
      int[] picked =
          n <= CHECKED_GRADIENTS || exact != null
              ? random.ints(0, Math.max(n, 1)).distinct().limit(n).sorted().toArray()
              : random.ints(0, n).distinct().limit(CHECKED_GRADIENTS).sorted().toArray();
      double[] values = new double[picked.length];
      for (int k = 0; k < picked.length; k++) {
        values[k] = exact != null ? exact[picked[k]] : difference(input, picked[k]);
      }
      return new Entries(picked, values);
    }

    private double difference(int input, int element) {
      double[] values = inputs.get(input);
      double kept = values[element];
      double h = 1e-5 * Math.max(1, Math.abs(kept));
      values[element] = kept + h;
      double up = dot(op.reference(inputs, shapes), cotangent);
      values[element] = kept - h;
      double down = dot(op.reference(inputs, shapes), cotangent);
      values[element] = kept;
      return (up - down) / (2 * h);
    }

    private double[] fill(Case.Input input) {
      double[] values = new double[Math.toIntExact(input.shape().elements())];
      for (int i = 0; i < values.length; i++) {
        double value =
            switch (input.kind()) {
              case NORMAL -> input.a() + input.b() * random.nextGaussian();
              case UNIFORM -> input.a() + (input.b() - input.a()) * random.nextDouble();
              case INTEGER -> random.nextInt((int) input.b());
            };
        values[i] = input.dtype() == DType.BF16 ? Bf16.round((float) value) : (float) value;
      }
      return values;
    }
  }

  /// Some elements of a gradient.
  ///
  /// @param picked their indices, ascending
  private record Entries(int[] picked, double[] values) {
    float[] of(float[] gradient) {
      float[] chosen = new float[picked.length];
      for (int k = 0; k < picked.length; k++) {
        chosen[k] = gradient[picked[k]];
      }
      return chosen;
    }
  }

  /// The case on one backend.
  private final class Check {
    private final Backend backend;
    private final Expectation expected;
    private final List<String> failures;

    Check(Backend backend, Expectation expected, List<String> failures) {
      this.backend = backend;
      this.expected = expected;
      this.failures = failures;
    }

    void check() {
      if (expected.output.length != expected.shape.elements()) {
        failures.add(
            "reference has %d elements, inferred shape is %s"
                .formatted(expected.output.length, expected.shape));
        return;
      }
      Outcome first = run(expected.wanted);
      compare("output", first.output, expected.output, 1);
      if (!first.sameBits(run(expected.wanted))) {
        failures.add("two runs differ");
      }
      for (int i = 0; i < shapes.size(); i++) {
        Entries entries = expected.gradients[i];
        if (entries != null) {
          boolean[] alone = new boolean[shapes.size()];
          alone[i] = true;
          if (!Arrays.equals(run(alone).gradients[i], first.gradients[i])) {
            failures.add("gradient " + i + " differs when it is asked for alone");
          }
          compare(
              "gradient " + i,
              entries.of(first.gradients[i]),
              entries.values,
              contract.gradFactor());
        }
      }
    }

    private Outcome run(boolean[] wanted) {
      try (Scope scope = new Scope(backend.memory())) {
        Tape tape = new Tape(backend, scope, Set.of());
        Var[] vars = new Var[shapes.size()];
        Tensor[] sinks = new Tensor[vars.length];
        for (int i = 0; i < vars.length; i++) {
          Tensor tensor = upload(scope, contract.inputs().get(i), expected.inputs.get(i));
          sinks[i] = scope.zeros(shapes.get(i), DType.F32);
          vars[i] = wanted[i] ? tape.tracked(tensor, sinks[i]) : tape.constant(tensor);
        }
        Var output = tape.apply(op, vars);
        float[] values = download(output.value());
        Tensor gradient = scope.allocate(output.shape(), output.value().dtype());
        uploadFloats(gradient, expected.cotangent);
        tape.backward(output, gradient);
        float[][] gradients = new float[vars.length][];
        for (int i = 0; i < vars.length; i++) {
          gradients[i] = sinks[i].floats();
        }
        return new Outcome(values, gradients);
      }
    }

    private void compare(String what, float[] actual, double[] reference, double factor) {
      double largest = Arrays.stream(reference).map(Math::abs).max().orElse(0);
      double atol = contract.atol() * factor * (factor == 1 ? 1 : Math.max(1, largest));
      for (int i = 0; i < reference.length; i++) {
        double error = Math.abs(actual[i] - reference[i]);
        if (!(error <= atol + contract.rtol() * factor * Math.abs(reference[i]))) {
          failures.add(
              String.format(
                  Locale.ROOT,
                  "%s [%d] must be %.9g, got %.9g (largest %.3g, bounds %.1e + %.1e relative)",
                  what,
                  i,
                  reference[i],
                  actual[i],
                  largest,
                  atol,
                  contract.rtol() * factor));
          return;
        }
      }
    }
  }

  private record Outcome(float[] output, float[][] gradients) {
    boolean sameBits(Outcome other) {
      return Arrays.equals(output, other.output) && Arrays.deepEquals(gradients, other.gradients);
    }
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  private static Tensor upload(Scope scope, Case.Input input, double[] values) {
    Tensor tensor = scope.allocate(input.shape(), input.dtype());
    if (input.dtype() == DType.I64) {
      return tensor.set(Arrays.stream(values).mapToLong(v -> (long) v).toArray());
    }
    uploadFloats(tensor, values);
    return tensor;
  }

  private static void uploadFloats(Tensor tensor, double[] values) {
    float[] floats = new float[values.length];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values[i];
    }
    if (tensor.dtype() == DType.BF16) {
      byte[] bytes = Bf16.bytes(floats);
      tensor.memory().write(tensor.address(), bytes, 0, bytes.length);
    } else {
      tensor.set(floats);
    }
  }

  private static float[] download(Tensor tensor) {
    if (tensor.dtype() != DType.BF16) {
      return tensor.floats();
    }
    byte[] bytes = new byte[Math.toIntExact(tensor.bytes())];
    tensor.memory().read(tensor.address(), bytes, 0, bytes.length);
    return Bf16.floats(bytes);
  }

  /// The bfloat16 format in Java: the upper half of a float32, rounded to nearest even.
  private static final class Bf16 {
    static float round(float value) {
      int bits = Float.floatToRawIntBits(value);
      return Float.intBitsToFloat((bits + 0x7fff + (bits >>> 16 & 1)) & 0xffff0000);
    }

    static byte[] bytes(float[] values) {
      byte[] bytes = new byte[values.length * 2];
      for (int i = 0; i < values.length; i++) {
        int bits = Float.floatToRawIntBits(round(values[i])) >>> 16;
        bytes[2 * i] = (byte) bits;
        bytes[2 * i + 1] = (byte) (bits >>> 8);
      }
      return bytes;
    }

    static float[] floats(byte[] bytes) {
      float[] values = new float[bytes.length / 2];
      for (int i = 0; i < values.length; i++) {
        int bits = (bytes[2 * i] & 0xff) << 16 | bytes[2 * i + 1] << 24;
        values[i] = Float.intBitsToFloat(bits);
      }
      return values;
    }
  }
}
