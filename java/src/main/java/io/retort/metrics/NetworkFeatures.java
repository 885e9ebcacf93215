package io.retort.metrics;

import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.Weights;
import io.retort.data.ImageBytes;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.LeNet;
import io.retort.net.RandomConvNet;
import io.retort.op.Activation;
import io.retort.op.Backend;
import io.retort.op.Pool;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.nio.file.Path;
import java.util.Arrays;

/// Features from networks that run on a backend: the trained LeNet, and one fixed untrained ConvNet.
///
/// Owns its weights.
public abstract sealed class NetworkFeatures implements FeatureExtractor, AutoCloseable {
  private static final int BATCH = 250;

  final Backend backend;
  final Parameters parameters;
  final int channels;
  private final String name;
  private final int side;
  private final int dimension;

  private NetworkFeatures(
      Backend backend, Parameters parameters, String name, int side, int channels, int dimension) {
    this.backend = backend;
    this.parameters = parameters;
    this.name = name;
    this.side = side;
    this.channels = channels;
    this.dimension = dimension;
  }

  /// Features `(N, D)` of images `(N, side, side, channels)`.
  abstract Var features(Tape tape, Var images);

  @Override
  public String name() {
    return name;
  }

  @Override
  public int dimension() {
    return dimension;
  }

  @Override
  public float[][] features(byte[] pixels, int count) {
    float[][] rows = new float[count][];
    forBatches(
        pixels,
        count,
        (tape, images, first) -> {
          float[] flat = features(tape, images).value().floats();
          for (int i = 0; i * dimension < flat.length; i++) {
            rows[first + i] = Arrays.copyOfRange(flat, i * dimension, (i + 1) * dimension);
          }
        });
    return rows;
  }

  interface OnBatch {
    void run(Tape tape, Var images, int first);
  }

  final void forBatches(byte[] pixels, int count, OnBatch body) {
    int size = side * side * channels;
    for (int first = 0; first < count; first += BATCH) {
      int n = Math.min(BATCH, count - first);
      float[] images =
          ImageBytes.toUnit(Arrays.copyOfRange(pixels, first * size, (first + n) * size));
      try (Scope scope = new Scope(backend.memory())) {
        Tape tape = Tape.inference(backend, scope);
        body.run(tape, tape.constant(Shape.of(n, side, side, channels), images), first);
      }
    }
  }

  @Override
  public void close() {
    parameters.close();
  }

  /// The trained LeNet: 128 pre-ReLU features, each divided by its standard deviation over the training images.
  public static final class Trained extends NetworkFeatures {
    /// Name of the tensor of standard deviations in the file.
    public static final String DEVIATION = "feature_deviation";

    private final LeNet net;
    private final float[] deviation;

    private Trained(Backend backend, Parameters parameters, String name, LeNet net, float[] deviation) {
      super(backend, parameters, name, LeNet.SIDE, net.imageChannels(), LeNet.FEATURES);
      this.net = net;
      this.deviation = deviation;
    }

    /// Loads weights and deviations from a safetensors file.
    ///
    /// @throws io.retort.checkpoint.CheckpointException with the reason
    public static Trained load(Backend backend, Path file, String name) {
      try (SafetensorsReader reader = SafetensorsReader.open(file)) {
        int channels = Math.toIntExact(reader.entry("conv1.weight").shape()[1]);
        int classes = Math.toIntExact(reader.entry("fc2.weight").shape()[0]);
        LeNet net = new LeNet(channels, classes);
        Parameters parameters = net.plan().allocate(backend.memory());
        parameters.all().forEach(p -> Weights.copy(reader, p.name(), p.value()));
        return new Trained(backend, parameters, name, net, reader.floats(DEVIATION));
      }
    }

    /// Wraps weights just trained; features are not divided.
    public static Trained unscaled(Backend backend, Parameters parameters, LeNet net) {
      float[] ones = new float[LeNet.FEATURES];
      Arrays.fill(ones, 1);
      return new Trained(backend, parameters, "lenet", net, ones);
    }

    @Override
    Var features(Tape tape, Var images) {
      return net.features(tape, parameters, images);
    }

    @Override
    public float[][] features(byte[] pixels, int count) {
      float[][] rows = super.features(pixels, count);
      for (float[] row : rows) {
        for (int i = 0; i < row.length; i++) {
          row[i] /= deviation[i];
        }
      }
      return rows;
    }

    @Override
    public int classes() {
      return net.classes();
    }

    @Override
    public int[] predict(byte[] pixels, int count) {
      int[] classes = new int[count];
      forBatches(
          pixels,
          count,
          (tape, images, first) -> {
            float[] scores = net.logits(tape, parameters, features(tape, images)).value().floats();
            for (int i = 0; i * net.classes() < scores.length; i++) {
              classes[first + i] = largest(scores, i * net.classes(), net.classes());
            }
          });
      return classes;
    }

    private static int largest(float[] scores, int from, int count) {
      int best = 0;
      for (int i = 1; i < count; i++) {
        best = scores[from + i] > scores[from + best] ? i : best;
      }
      return best;
    }
  }

  /// One fixed untrained ConvNet of the embedding bank's family, seed 20: sees blur and duplicates, hardly classes.
  public static final class Untrained extends NetworkFeatures {
    private static final long SEED = 20;
    private static final int WIDTH = 16;
    private static final int DEPTH = 3;

    private final RandomConvNet net;

    private Untrained(Backend backend, RandomConvNet net, Parameters parameters, int side, int dimension) {
      super(backend, parameters, "random-convnet", side, net.imageChannels(), dimension);
      this.net = net;
    }

    public static Untrained of(Backend backend, int side, int channels) {
      RandomConvNet net =
          new RandomConvNet(channels, WIDTH, DEPTH, false, Activation.Kind.RELU, Pool.Kind.AVG);
      Parameters parameters =
          net.plan().initialise(backend.memory(), new PhiloxKey(SEED, Purpose.EMBEDDING, 0, 0));
      int coarse = side >> DEPTH;
      return new Untrained(backend, net, parameters, side, WIDTH * coarse * coarse);
    }

    @Override
    Var features(Tape tape, Var images) {
      return net.apply(tape, parameters, images);
    }
  }
}
