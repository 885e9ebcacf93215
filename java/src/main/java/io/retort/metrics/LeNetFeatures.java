package io.retort.metrics;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.SafetensorsWriter;
import io.retort.checkpoint.Weights;
import io.retort.data.ImageBytes;
import io.retort.data.Images;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.LeNet;
import io.retort.op.Backend;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.nio.file.Path;
import java.util.Arrays;

/// The 128 pre-ReLU features of a [LeNet], each divided by its standard deviation over the training
/// images.
///
/// Once with trained weights (sees classes and shapes) and once with random ones (sees blur and
/// duplicates). Owns its weights.
public final class LeNetFeatures implements FeatureExtractor, AutoCloseable {
  private static final int BATCH = 250;
  private static final long RANDOM_SEED = 20;
  private static final String DEVIATION = "feature_deviation";
  private static final int LARGEST = 1 << 16;

  private final Backend backend;
  private final LeNet net;
  private final Parameters parameters;
  private final String name;
  private final float[] deviation;
  private final boolean classifies;

  private LeNetFeatures(
      Backend backend,
      LeNet net,
      Parameters parameters,
      String name,
      float[] deviation,
      boolean classifies) {
    this.backend = backend;
    this.net = net;
    this.parameters = parameters;
    this.name = name;
    this.deviation = deviation;
    this.classifies = classifies;
  }

  /// Weights and deviations saved by [#save].
  ///
  /// @throws CheckpointException with the reason
  public static LeNetFeatures load(Backend backend, Path file, String name) {
    try (SafetensorsReader reader = SafetensorsReader.open(file)) {
      LeNet net = net(reader);
      Weights.fitting(reader, DEVIATION, Shape.of(LeNet.FEATURES));
      float[] deviation = reader.floats(DEVIATION);
      Parameters parameters = net.plan().allocate(backend.memory());
      try {
        parameters.all().forEach(p -> Weights.copy(reader, p.name(), p.value()));
      } catch (RuntimeException failure) {
        parameters.close();
        throw failure;
      }
      return new LeNetFeatures(backend, net, parameters, name, deviation, true);
    }
  }

  /// The network that has weights of these shapes.
  private static LeNet net(SafetensorsReader reader) {
    int channels = dimension(reader, "conv1.weight", 4, 1);
    int classes = dimension(reader, "fc2.weight", 2, 0);
    try {
      return LeNet.of(dimension(reader, "fc1.weight", 2, 1), channels, classes);
    } catch (ShapeException impossible) {
      throw new CheckpointException(
          reader.file(), "fc1.weight", "belongs to no " + impossible.getMessage());
    }
  }

  private static int dimension(SafetensorsReader reader, String name, int rank, int axis) {
    long[] shape = reader.entry(name).shape();
    if (shape.length != rank || shape[axis] < 1 || shape[axis] > LARGEST) {
      throw new CheckpointException(
          reader.file(),
          name,
          "must have %d dimensions of 1 to %d, got %s"
              .formatted(rank, LARGEST, Arrays.toString(shape)));
    }
    return (int) shape[axis];
  }

  /// Weights just trained, which it owns from now on; deviations from the training images.
  public static LeNetFeatures trained(
      Backend backend, LeNet net, Parameters parameters, String name, Images training) {
    return scaled(backend, net, parameters, name, training, true);
  }

  /// Random weights of a fixed seed; deviations from the training images.
  public static LeNetFeatures random(Backend backend, Images training) {
    LeNet net = new LeNet(training.height(), training.channels(), 10);
    PhiloxKey key = new PhiloxKey(RANDOM_SEED, Purpose.INIT, 0, 0);
    return scaled(
        backend,
        net,
        net.plan().initialise(backend.memory(), key),
        "lenet-random",
        training,
        false);
  }

  private static LeNetFeatures scaled(
      Backend backend,
      LeNet net,
      Parameters parameters,
      String name,
      Images training,
      boolean classifies) {
    float[] ones = new float[LeNet.FEATURES];
    Arrays.fill(ones, 1);
    LeNetFeatures raw = new LeNetFeatures(backend, net, parameters, name, ones, classifies);
    FeatureMoments moments = FeatureMoments.of(raw.features(training.pixels(), training.count()));
    float[] deviation = new float[LeNet.FEATURES];
    for (int i = 0; i < deviation.length; i++) {
      deviation[i] = (float) Math.sqrt(Math.max(moments.covariance()[i][i], 1e-12));
    }
    return new LeNetFeatures(backend, net, parameters, name, deviation, classifies);
  }

  /// Writes weights and deviations; `note` says how they were made.
  public void save(Path file, String note) {
    SafetensorsWriter writer = new SafetensorsWriter().metadata("note", note);
    Weights.declare(writer, "", parameters);
    writer.floats(DEVIATION, new long[] {LeNet.FEATURES}, deviation::clone);
    writer.write(file);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public int dimension() {
    return LeNet.FEATURES;
  }

  @Override
  public float[][] features(byte[] pixels, int count) {
    float[][] rows = new float[count][LeNet.FEATURES];
    forBatches(
        pixels,
        count,
        (tape, images, first) -> {
          float[] flat = net.features(tape, parameters, images).value().floats();
          for (int i = 0; i < flat.length; i++) {
            int feature = i % LeNet.FEATURES;
            rows[first + i / LeNet.FEATURES][feature] = flat[i] / deviation[feature];
          }
        });
    return rows;
  }

  @Override
  public int classes() {
    return classifies ? net.classes() : 0;
  }

  @Override
  public int[] predict(byte[] pixels, int count) {
    int[] predicted = new int[count];
    forBatches(
        pixels,
        count,
        (tape, images, first) -> {
          Var features = net.features(tape, parameters, images);
          float[] scores = net.logits(tape, parameters, features).value().floats();
          for (int i = 0; i * net.classes() < scores.length; i++) {
            predicted[first + i] = largest(scores, i * net.classes(), net.classes());
          }
        });
    return predicted;
  }

  private static int largest(float[] scores, int from, int count) {
    int best = 0;
    for (int i = 1; i < count; i++) {
      best = scores[from + i] > scores[from + best] ? i : best;
    }
    return best;
  }

  private interface OnBatch {
    void run(Tape tape, Var images, int first);
  }

  private void forBatches(byte[] pixels, int count, OnBatch body) {
    int size = net.side() * net.side() * net.imageChannels();
    for (int first = 0; first < count; first += BATCH) {
      int n = Math.min(BATCH, count - first);
      float[] images =
          ImageBytes.toUnit(Arrays.copyOfRange(pixels, first * size, (first + n) * size));
      try (Scope scope = new Scope(backend.memory())) {
        Tape tape = Tape.inference(backend, scope);
        Shape shape = Shape.of(n, net.side(), net.side(), net.imageChannels());
        body.run(tape, tape.constant(shape, images), first);
      }
    }
  }

  @Override
  public void close() {
    parameters.close();
  }
}
