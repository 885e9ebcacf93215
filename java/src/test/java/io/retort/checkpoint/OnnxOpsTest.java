package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.backend.CpuBackend;
import io.retort.checkpoint.OnnxExport.Labels;
import io.retort.diffusion.BetaSchedule;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.ImageSampler;
import io.retort.diffusion.Preconditioning;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.UNet;
import io.retort.nn.Init;
import io.retort.nn.Plan;
import io.retort.op.Activation;
import io.retort.op.Backend;
import io.retort.op.Conv2d;
import io.retort.op.Dropout;
import io.retort.op.Pad;
import io.retort.op.Permute;
import io.retort.op.Reshape;
import io.retort.op.Slice;
import io.retort.tensor.DType;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// Each op in ONNX Runtime against the engine, in networks of a few ops that use it as networks do.
class OnnxOpsTest {
  private static final int SIDE = 6;
  private static final int CHANNELS = 4;

  @TempDir private Path folder;
  private final Backend backend = CpuBackend.open();

  /// What a network does with images `(N, 6, 6, 4)`, its weights, the noise `(N)` and labels `(N,
  /// 3)`.
  @FunctionalInterface
  private interface Body {
    Var apply(Weights weights, Var x, Var noise, @Nullable Var labels);
  }

  /// Weights by name.
  private record Weights(Tape tape, Parameters parameters) {
    Var of(String name) {
      return tape.use(parameters.get(name));
    }
  }

  private record Toy(Body body, int classes) implements UNet {
    @Override
    public int resolution() {
      return SIDE;
    }

    @Override
    public int imageChannels() {
      return CHANNELS;
    }

    @Override
    public int bottleneckSide() {
      return SIDE;
    }

    @Override
    public int bottleneckChannels() {
      return CHANNELS;
    }

    @Override
    public void declare(Plan plan) {
      plan.add("conv.weight", Shape.of(4, 4, 3, 3), new Init.FanIn(1, 12));
      plan.add("group.weight", Shape.of(4, 2, 3, 3), new Init.FanIn(1, 6));
      plan.add("strided.weight", Shape.of(8, 4, 3, 3), new Init.FanIn(1, 12));
      plan.add("strided.bias", Shape.of(8), new Init.FanIn(1, 1));
      plan.add("bias", Shape.of(4), new Init.FanIn(1, 1));
      plan.add("gamma", Shape.of(4), new Init.FanIn(1, 1));
      plan.add("dense.weight", Shape.of(4, 4), new Init.FanIn(1, 4));
      plan.add("qkv.weight", Shape.of(12, 4), new Init.FanIn(3, 4));
      plan.add("table", Shape.of(3, 4), new Init.FanIn(1, 1));
      plan.add("wave.weight", Shape.of(4, 8), new Init.FanIn(1, 8));
      plan.add("places", Shape.of(6, 6, 4), new Init.FanIn(1, 1));
      plan.add("columns", Shape.of(6, 4), new Init.FanIn(1, 1));
      plan.add("frequencies", Shape.of(4), new Init.FanIn(30, 1));
    }

    @Override
    public Var apply(
        Tape tape,
        Parameters parameters,
        Var x,
        Var noise,
        @Nullable Var labels,
        @Nullable PhiloxKey dropout) {
      return body.apply(new Weights(tape, parameters), x, noise, labels);
    }

    @Override
    public Var encode(
        Tape tape,
        Parameters parameters,
        Var x,
        Var noise,
        @Nullable Var labels,
        @Nullable PhiloxKey dropout) {
      throw new UnsupportedOperationException();
    }
  }

  private static long samples(Var x) {
    return x.shape().dim(0);
  }

  private static Var tokens(Var x) {
    return x.tape().apply(new Reshape(Shape.of(samples(x), 36, x.shape().last())), x);
  }

  private static Var images(Var x) {
    return x.tape().apply(new Reshape(Shape.of(samples(x), 6, 6, x.shape().last())), x);
  }

  private static Var vectors(Var x, int... between) {
    long[] dims = new long[between.length + 2];
    dims[0] = samples(x);
    for (int i = 0; i < between.length; i++) {
      dims[i + 1] = between[i];
    }
    dims[dims.length - 1] = x.shape().last();
    return x.tape().apply(new Reshape(new Shape(dims)), x);
  }

  private static final Map<String, Body> BODIES = new TreeMap<>();

  static {
    BODIES.put(
        "convolutions",
        (w, x, noise, labels) ->
            x.conv2d(w.of("conv.weight"), w.of("bias"), 1, 1, 1)
                .conv2d(w.of("group.weight"), 1, 1, 2)
                .mulBroadcast(w.of("gamma")));
    BODIES.put(
        "convolutions with tails",
        (w, x, noise, labels) -> {
          Tape tape = x.tape();
          Var shift = noise.sinusoid(8, 100, true, true).linear(w.of("wave.weight"));
          Var weight = w.of("conv.weight");
          var shifted = new Conv2d(1, 1, 1, new Conv2d.Tail(true, false, 1));
          var joined = new Conv2d(1, 1, 1, new Conv2d.Tail(false, true, 0.7));
          var whole = new Conv2d(1, 1, 1, new Conv2d.Tail(true, true, -2));
          Var y = tape.apply(shifted, x, weight, w.of("bias"), shift);
          y = tape.apply(joined, y, weight, w.of("gamma"), x);
          return tape.apply(whole, y, weight, w.of("bias"), shift, y);
        });
    BODIES.put(
        "strided convolution and up again",
        (w, x, noise, labels) -> {
          Var half = x.conv2d(w.of("strided.weight"), w.of("strided.bias"), 2, 1, 1);
          Var cut = x.tape().apply(new Slice(3, 3, 7), half);
          return cut.upsample(List.of(1.0, 1.0));
        });
    BODIES.put(
        "FIR down and up",
        (w, x, noise, labels) ->
            x.downsample(List.of(1.0, 3.0, 3.0, 1.0)).upsample(List.of(1.0, 3.0, 3.0, 1.0)));
    BODIES.put(
        "uneven FIR",
        (w, x, noise, labels) ->
            x.downsample(List.of(1.0, 2.0, 4.0, 5.0)).upsample(List.of(5.0, 1.0)));
    BODIES.put(
        "means down and up",
        (w, x, noise, labels) -> x.downsample(List.of(1.0, 1.0)).upsample(List.of(1.0, 1.0)));
    BODIES.put(
        "pad, slice, pools",
        (w, x, noise, labels) -> {
          Var padded = x.tape().apply(new Pad(1, 2, 3, 0), x);
          Var cut = x.tape().apply(new Slice(1, 1, 9), padded);
          cut = x.tape().apply(new Slice(2, 0, 8), cut);
          return cut.avgPool(2, 1).maxPool(2, 1);
        });
    BODIES.put(
        "group norm",
        (w, x, noise, labels) ->
            x.groupNorm(w.of("gamma"), w.of("bias"), 2, 1e-5, true)
                .conv2d(w.of("conv.weight"), 1, 1, 1));
    BODIES.put(
        "group norm of vectors and tokens",
        (w, x, noise, labels) -> {
          Var mean = x.mean(1, 2).groupNorm(w.of("gamma"), w.of("bias"), 2, 1e-3, false);
          Var normed = tokens(x).groupNorm(w.of("gamma"), w.of("bias"), 4, 1e-5, false);
          return images(normed).addBroadcast(vectors(mean, 1, 1));
        });
    BODIES.put(
        "layer norm and linear on tokens",
        (w, x, noise, labels) ->
            images(
                tokens(x.conv2d(w.of("conv.weight"), 1, 1, 1))
                    .layerNorm(w.of("gamma"), w.of("bias"), 1e-6)
                    .linear(w.of("dense.weight"), w.of("bias"))
                    .geluTanh()
                    .linear(w.of("dense.weight"))));
    BODIES.put(
        "self attention of pixels",
        (w, x, noise, labels) -> {
          Var weight = x.tape().apply(new Reshape(Shape.of(12, 4, 1, 1)), w.of("qkv.weight"));
          return x.conv2d(weight, 1, 0, 1).selfAttention(2);
        });
    BODIES.put(
        "self attention of tokens",
        (w, x, noise, labels) -> images(tokens(x).linear(w.of("qkv.weight")).selfAttention(2)));
    BODIES.put(
        "self attention of unreshaped pixels",
        (w, x, noise, labels) -> x.linear(w.of("qkv.weight")).selfAttention(1));
    BODIES.put(
        "attention of tokens",
        (w, x, noise, labels) -> {
          Var t = tokens(x).linear(w.of("dense.weight"));
          Var small = x.downsample(List.of(1.0, 1.0)).linear(w.of("dense.weight"));
          return images(t.attention(small, small.affine(2, 0.5), 2));
        });
    BODIES.put(
        "attention of pixels",
        (w, x, noise, labels) -> {
          Var small = x.downsample(List.of(1.0, 1.0)).conv2d(w.of("conv.weight"), 1, 1, 1);
          return x.attention(small, small.affine(2, 0.5), 2);
        });
    BODIES.put(
        "matmul and softmax",
        (w, x, noise, labels) -> {
          Var t = tokens(x);
          Var scores = t.matmul(false, t, true).softmax();
          Var back = t.matmul(true, scores, false);
          return images(x.tape().apply(new Permute(List.of(0, 2, 1)), back).add(scores.matmul(t)));
        });
    BODIES.put(
        "patches and back",
        (w, x, noise, labels) -> {
          long n = samples(x);
          Tape tape = x.tape();
          Var split = tape.apply(new Reshape(Shape.of(n, 3, 2, 3, 2, 4)), x);
          Var grouped = tape.apply(new Permute(List.of(0, 1, 3, 2, 4, 5)), split);
          Var patches = tape.apply(new Reshape(Shape.of(n, 9, 16)), grouped);
          Var mixed = patches.softmax();
          Var apart = tape.apply(new Reshape(Shape.of(n, 3, 3, 2, 2, 4)), mixed);
          Var together = tape.apply(new Permute(List.of(0, 1, 3, 2, 4, 5)), apart);
          return tape.apply(new Reshape(Shape.of(n, 6, 6, 4)), together);
        });
    BODIES.put(
        "windows as a larger batch",
        (w, x, noise, labels) -> {
          long n = samples(x);
          Tape tape = x.tape();
          Var windows =
              tape.apply(
                  new Permute(List.of(0, 1, 3, 2, 4, 5)),
                  tape.apply(new Reshape(Shape.of(n, 2, 3, 2, 3, 4)), x));
          Var batch = tape.apply(new Reshape(Shape.of(4 * n, 9, 4)), windows);
          Var mixed = batch.linear(w.of("qkv.weight")).selfAttention(2);
          Var back =
              tape.apply(
                  new Permute(List.of(0, 1, 3, 2, 4, 5)),
                  tape.apply(new Reshape(Shape.of(n, 2, 2, 3, 3, 4)), mixed));
          return tape.apply(new Reshape(Shape.of(n, 6, 6, 4)), back);
        });
    BODIES.put(
        "sinusoid",
        (w, x, noise, labels) -> {
          Var emb = noise.scale(400).sinusoid(8, 10000, false, false);
          Var other = noise.sinusoid(8, 100, true, true);
          return x.addBroadcast(
              vectors(
                  emb.linear(w.of("wave.weight")).add(other.linear(w.of("wave.weight"))), 1, 1));
        });
    BODIES.put(
        "fourier",
        (w, x, noise, labels) -> {
          Var emb = noise.fourier(w.of("frequencies")).linear(w.of("wave.weight"), w.of("bias"));
          return x.mulBroadcast(vectors(emb, 1, 1));
        });
    BODIES.put(
        "positions and one per sample",
        (w, x, noise, labels) -> {
          Tape tape = x.tape();
          Var perSample = tape.apply(new Reshape(Shape.of(samples(x), 1, 1, 1)), noise);
          return x.conv2d(w.of("conv.weight"), 1, 1, 1)
              .addBroadcast(w.of("places"))
              .mulBroadcast(w.of("columns"))
              .addBroadcast(perSample)
              .mulBroadcast(tape.constant(Shape.of(), 1.5f));
        });
    BODIES.put(
        "a table of constants",
        (w, x, noise, labels) -> {
          Tape tape = x.tape();
          Var rows = w.of("table").lookup(tape.constant(Shape.of(6), 0, 2, 1, 1, 0, 2));
          return x.addBroadcast(rows);
        });
    BODIES.put(
        "labels",
        (w, x, noise, labels) -> {
          Var none = labels.sum(1).affine(-1, 1);
          Var column = x.tape().apply(new Reshape(Shape.of(samples(x), 1)), none);
          Var emb = labels.linear(x.tape().apply(new Permute(List.of(1, 0)), w.of("table")));
          return x.addBroadcast(vectors(emb.addBroadcast(column), 1, 1));
        });
    BODIES.put(
        "concatenation with what is the same for all",
        (w, x, noise, labels) -> {
          Tape tape = x.tape();
          long n = samples(x);
          float[] ones = new float[(int) (n * 36)];
          Arrays.fill(ones, 0.5f);
          Var plane = tape.constant(Shape.of(n, 6, 6, 1), ones);
          Var cut = tape.apply(new Slice(3, 0, 3), x.conv2d(w.of("conv.weight"), 1, 1, 1));
          return Var.concat(3, cut, plane).conv2d(w.of("conv.weight"), 1, 1, 1);
        });
    BODIES.put(
        "reductions",
        (w, x, noise, labels) -> {
          Var y = x.conv2d(w.of("conv.weight"), 1, 1, 1);
          Var pixel = x.tape().apply(new Reshape(Shape.of(samples(x), 6, 6, 1)), y.mean(-1));
          return y.mulBroadcast(vectors(y.sum(1, 2), 1, 1)).addBroadcast(pixel);
        });
    BODIES.put(
        "combinations",
        (w, x, noise, labels) -> {
          Var y = x.conv2d(w.of("conv.weight"), 1, 1, 1);
          return y.add(0.5, x, 2).sub(y).add(-1, x, 1).add(0.7, y, 0.7).mul(x).scale(0.3);
        });
    for (Activation.Kind kind : Activation.Kind.values()) {
      BODIES.put(
          "activation " + kind,
          (w, x, noise, labels) -> {
            boolean positive = kind == Activation.Kind.LOG || kind == Activation.Kind.SQRT;
            Var y = positive ? x.square().affine(1, 0.1) : x;
            return x.tape()
                .apply(new Activation(kind, kind == Activation.Kind.LEAKY_RELU ? 0.2 : 0), y);
          });
    }
  }

  static Stream<String> bodies() {
    return BODIES.keySet().stream();
  }

  @ParameterizedTest
  @MethodSource("bodies")
  void anOpIsTheSame(String name) {
    Toy net = new Toy(BODIES.get(name), name.equals("labels") ? 3 : 0);
    try (Parameters parameters = net.plan().initialise(backend.memory(), 7)) {
      ModelFile model =
          new ModelFile(folder, new Denoiser(net, 0.5), parameters, new LinkedHashMap<>());
      ImageSampler engine = ImageSampler.of(backend, model.denoiser(), parameters, 1);
      for (int opset : new int[] {17, 21}) {
        for (OptionalDouble oneStep :
            new OptionalDouble[] {OptionalDouble.empty(), OptionalDouble.of(3)}) {
          Path file = folder.resolve("toy.onnx");
          new OnnxExport(opset, Labels.IDS, oneStep).write(file, model, backend);
          check(file, engine, oneStep, net.classes);
        }
      }
    }
  }

  private void check(Path file, ImageSampler engine, OptionalDouble oneStep, int classes) {
    try (OrtModel ort = new OrtModel(file)) {
      for (int batch : new int[] {4, 1}) {
        float[] z = engine.latents(11, 0, batch);
        int[] labels = null;
        if (classes > 0) {
          labels = new int[batch];
          Arrays.setAll(labels, i -> i % classes);
          ort.set("labels", Arrays.stream(labels).asLongStream().toArray());
        }
        float[] sigma = new float[batch];
        float[] x = z.clone();
        for (int i = 0; i < batch; i++) {
          sigma[i] = oneStep.isPresent() ? 3 : 0.3f + i;
        }
        if (oneStep.isPresent()) {
          ort.set("noise", planes(z), batch, CHANNELS, SIDE, SIDE);
          for (int i = 0; i < x.length; i++) {
            x[i] *= 3;
          }
        } else {
          ort.set("x", planes(x), batch, CHANNELS, SIDE, SIDE).set("sigma", sigma, batch);
        }
        float[] expected = planes(engine.denoise(x, sigma, labels));
        double largest = 1;
        for (float value : expected) {
          largest = Math.max(largest, Math.abs(value));
        }
        assertThat(OrtModel.distance(ort.run(), expected))
            .as("batch %d, largest %g", batch, largest)
            .isLessThan(4e-6 * largest);
      }
    }
  }

  static Stream<Preconditioning> preconditionings() {
    BetaSchedule ddpm = BetaSchedule.ddpm();
    BetaSchedule terminal =
        new BetaSchedule(BetaSchedule.Kind.SCALED_LINEAR, 0.00085, 0.012, 1000, true);
    return Stream.of(
        new Preconditioning.Edm(0.5),
        Preconditioning.Vp.DEFAULT,
        new Preconditioning.Ve(),
        Preconditioning.Iddpm.DEFAULT,
        new Preconditioning.Discrete(ddpm, Preconditioning.Discrete.Prediction.EPSILON),
        new Preconditioning.Discrete(ddpm, Preconditioning.Discrete.Prediction.SAMPLE),
        new Preconditioning.Discrete(terminal, Preconditioning.Discrete.Prediction.V),
        new Preconditioning.Flow(1000));
  }

  /// A network that passes on x and the waves of what it is told.
  @ParameterizedTest
  @MethodSource("preconditionings")
  void preconditioningIsInsideTheGraph(Preconditioning preconditioning) {
    Body body =
        (w, x, noise, labels) -> {
          Var waves = noise.sinusoid(8, 10000, false, false).linear(w.of("wave.weight"));
          return x.addBroadcast(vectors(waves, 1, 1));
        };
    Toy net = new Toy(body, 0);
    float[] sigma = {0.002f, 0.00999f, 0.05f, 0.3f, 1, 4, 9.3f, 80, 157};
    Path file = folder.resolve("toy.onnx");
    try (Parameters parameters = net.plan().initialise(backend.memory(), 7)) {
      ModelFile model =
          new ModelFile(
              folder, new Denoiser(net, preconditioning), parameters, new LinkedHashMap<>());
      ImageSampler engine = ImageSampler.of(backend, model.denoiser(), parameters, 1);
      new OnnxExport(17, Labels.IDS, OptionalDouble.empty()).write(file, model, backend);
      float[] x = engine.latents(11, 0, sigma.length);
      int size = x.length / sigma.length;
      for (int i = 0; i < x.length; i++) {
        x[i] *= sigma[i / size];
      }
      float[] expected = planes(engine.denoise(x, sigma, null));
      try (OrtModel ort = new OrtModel(file)) {
        float[] d =
            ort.set("x", planes(x), sigma.length, CHANNELS, SIDE, SIDE)
                .set("sigma", sigma, sigma.length)
                .run();
        for (int i = 0; i < d.length; i++) {
          assertThat(d[i])
              .as("sigma %s", sigma[i / size])
              .isCloseTo(expected[i], within(2e-6f * Math.max(1, sigma[i / size])));
        }
      }
    }
  }

  private static float[] planes(float[] values) {
    var planes = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      int pixel = i / CHANNELS % (SIDE * SIDE);
      int sample = i / (CHANNELS * SIDE * SIDE);
      planes[(sample * CHANNELS + i % CHANNELS) * SIDE * SIDE + pixel] = values[i];
    }
    return planes;
  }

  private void refused(Body body, String words) {
    Toy net = new Toy(body, 3);
    Path file = folder.resolve("refused.onnx");
    long before = backend.memory().liveBlocks();
    try (Parameters parameters = net.plan().initialise(backend.memory(), 7)) {
      ModelFile model =
          new ModelFile(folder, new Denoiser(net, 0.5), parameters, new LinkedHashMap<>());
      OnnxExport export = new OnnxExport(17, Labels.IDS, OptionalDouble.empty());
      assertThatThrownBy(() -> export.write(file, model, backend))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining(words)
          .hasMessageStartingWith("export: ");
    }
    assertThat(file).doesNotExist();
    assertThat(backend.memory().liveBlocks()).isEqualTo(before);
  }

  @Test
  void anOpWithoutAFormIsNamed() {
    PhiloxKey key = new PhiloxKey(1, Purpose.DROPOUT, 0, 0);
    refused((w, x, noise, labels) -> x.tape().apply(new Dropout(0.5, key), x), "the op dropout");
  }

  @Test
  void whatDependsOnTheBatchIsRefused() {
    refused(
        (w, x, noise, labels) -> samples(x) > 2 ? x.silu().silu() : x.silu(),
        "runs 2 ops on a batch");
    refused((w, x, noise, labels) -> x.scale(samples(x)), "affine depends on the size");
    refused(
        (w, x, noise, labels) -> {
          Var first = x.tape().apply(new Slice(0, 0, 1), x);
          return x.addBroadcast(first);
        },
        "cuts the batch apart");
  }

  @Test
  void whatIsComputedOutsideOfOpsIsRefused() {
    refused(
        (w, x, noise, labels) -> {
          Var copy = x.tape().constant(labels.shape(), labels.value().floats());
          return x.addBroadcast(
              vectors(
                  copy.linear(x.tape().apply(new Permute(List.of(1, 0)), w.of("table"))), 1, 1));
        },
        "outside of its ops");
    refused(
        (w, x, noise, labels) ->
            x.mulBroadcast(
                x.tape().constant(Shape.of(samples(x), 1, 1, 1), noise.value().floats())),
        "an input of broadcast");
    refused(
        (w, x, noise, labels) -> x.tape().constant(x.shape(), x.value().floats()),
        "computed by no op");
    refused((w, x, noise, labels) -> x.cast(DType.BF16), "must compute in float32");
  }
}
