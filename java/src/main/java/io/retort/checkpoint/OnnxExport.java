package io.retort.checkpoint;

import io.retort.checkpoint.OnnxConstant.Type;
import io.retort.checkpoint.OnnxGraph.Port;
import io.retort.checkpoint.OnnxLowering.Layout;
import io.retort.diffusion.Level;
import io.retort.diffusion.Preconditioning;
import io.retort.net.DiffusionNet;
import io.retort.op.Backend;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.stream.LongStream;

/// A model as an ONNX file: the denoiser `D(x; sigma)`, or, for a one-step student, the generator
/// from noise to images.
///
/// Nothing is written by hand per architecture: the network's forward pass is traced ([OnnxTrace])
/// and each op has its form in ONNX ([OnnxOps]). Preconditioning is inside the graph, images are
/// `(N, C, H, W)` for any N, weights are float32.
///
/// @param opset of the default domain, 17 to 21
/// @param labels how classes are given, if the network has any
/// @param oneStep noise level of a generator; empty for the denoiser
public record OnnxExport(int opset, Labels labels, OptionalDouble oneStep) {
  private static final int OLDEST = 17;
  private static final int NEWEST = 21;
  private static final String BATCH = "batch";

  /// How a graph takes classes.
  public enum Labels {
    /// int64 `(N)`, -1 for none.
    IDS,
    /// float32 `(N, classes)`, a row of zeros for none.
    ONE_HOT,
    /// Not at all: every image is unconditional.
    NONE
  }

  /// What was written.
  ///
  /// @param inputs name to shape and type, as text
  public record Summary(long bytes, int nodes, List<String> inputs, List<String> outputs) {
    public Summary {
      inputs = List.copyOf(inputs);
      outputs = List.copyOf(outputs);
    }
  }

  public OnnxExport {
    if (opset < OLDEST || opset > NEWEST) {
      throw new IllegalArgumentException(
          "export: opset must be from " + OLDEST + " to " + NEWEST + ", got " + opset);
    }
    if (oneStep.isPresent() && !(oneStep.getAsDouble() > 0)) {
      throw new IllegalArgumentException(
          "export: the noise level must be above 0, got " + oneStep.getAsDouble());
    }
  }

  /// Writes `model` to `file`, replacing what is there.
  ///
  /// @throws CheckpointException if it cannot be written or is too large for the format
  /// @throws IllegalArgumentException in one sentence, if the network has no form in ONNX
  public Summary write(Path file, ModelFile model, Backend backend) {
    DiffusionNet network = model.denoiser().network();
    Preconditioning levels = model.denoiser().preconditioning();
    double told = levels.at(Level.of(oneStep.orElse(1))).noise();
    OnnxGraph graph = new OnnxGraph(opset);
    try (OnnxTrace trace =
        new OnnxTrace(
            backend,
            network,
            model.parameters(),
            (float) told,
            oneStep.isPresent(),
            labels != Labels.NONE)) {
      build(graph, trace, network, levels);
      long bytes = OnnxFile.write(file, graph, about(network), model.metadata());
      return new Summary(
          bytes,
          graph.nodes().size(),
          graph.inputs().stream().map(OnnxExport::text).toList(),
          graph.outputs().stream().map(OnnxExport::text).toList());
    }
  }

  private void build(
      OnnxGraph graph, OnnxTrace trace, DiffusionNet network, Preconditioning levels) {
    List<Object> images =
        List.of(
            BATCH,
            (long) network.imageChannels(),
            (long) network.resolution(),
            (long) network.resolution());
    String x = graph.input(images(images));
    String sigma =
        oneStep.isPresent()
            ? null
            : graph.input(new Port("sigma", Type.FLOAT, List.of(BATCH), "noise levels, above 0"));
    OnnxLowering lowering = new OnnxLowering(graph, x);
    OnnxTrace.Value classes = trace.labels();
    if (classes != null && labels != Labels.NONE) {
      lowering.bind(classes, Layout.LAST, labels(graph, network.classes()));
    }
    if (sigma == null) {
      generator(graph, trace, lowering, levels, x);
    } else {
      denoiser(graph, trace, lowering, new OnnxLevels(graph).of(levels, sigma), x);
    }
    graph.output(
        new Port(sigma == null ? "image" : "D", Type.FLOAT, images, "images, about in [-1, 1]"));
  }

  private Port images(List<Object> dims) {
    return oneStep.isPresent()
        ? new Port("noise", Type.FLOAT, dims, "standard normal")
        : new Port(
            "x", Type.FLOAT, dims, "images in [-1, 1] plus sigma times standard normal noise");
  }

  /// `c_skip x + c_out F(c_in x, c_noise)`.
  private static void denoiser(
      OnnxGraph graph,
      OnnxTrace trace,
      OnnxLowering lowering,
      OnnxLevels.Coefficients levels,
      String x) {
    lowering.bind(trace.x(), Layout.FIRST, graph.node("Mul", List.of(x, levels.in())));
    lowering.bind(trace.noise(), Layout.LAST, levels.noise());
    lowering.lower(trace.steps());
    String raw = lowering.in(trace.out(), Layout.FIRST);
    graph.last(
        "D",
        "Add",
        List.of(
            graph.node("Mul", List.of(x, levels.skip())),
            graph.node("Mul", List.of(raw, levels.out()))));
  }

  /// `D(sigma z; sigma)` at one level: the coefficients are numbers, and what the network computes
  /// from the level alone is stored.
  private void generator(
      OnnxGraph graph,
      OnnxTrace trace,
      OnnxLowering lowering,
      Preconditioning levels,
      String noise) {
    double sigma = oneStep.orElseThrow();
    Preconditioning.Coefficients factors = levels.at(Level.of(sigma));
    lowering.bind(trace.x(), Layout.FIRST, graph.times(noise, sigma * factors.in()));
    lowering.lower(trace.steps());
    String raw = lowering.in(trace.out(), Layout.FIRST);
    graph.last(
        "image",
        "Add",
        List.of(
            graph.times(noise, sigma * levels.skip(sigma)), graph.times(raw, levels.out(sigma))));
  }

  /// The input of the classes as the network wants them: one-hot rows.
  private String labels(OnnxGraph graph, int classes) {
    long count = classes;
    if (labels == Labels.ONE_HOT) {
      return graph.input(
          new Port(
              "labels", Type.FLOAT, List.of(BATCH, count), "one-hot, a row of zeros for no class"));
    }
    String ids =
        graph.input(
            new Port(
                "labels",
                Type.INT64,
                List.of(BATCH),
                "classes, 0 to " + (classes - 1) + ", -1 for no class"));
    graph.enter("labels");
    String every =
        graph.indices("classes", List.of(1L, count), LongStream.range(0, classes).toArray());
    String same = graph.node("Equal", List.of(graph.reshape(ids, List.of(-1L, 1L)), every));
    String oneHot = graph.cast(same, Type.FLOAT);
    graph.enter("");
    return oneHot;
  }

  private String about(DiffusionNet network) {
    String what =
        oneStep.isPresent()
            ? "One-step generator: image = D(s noise; s) with s = " + oneStep.getAsDouble()
            : "Denoiser: D(x; sigma), the estimate of the clean images in x = clean + sigma noise";
    return "%s. Images (N, %d, %d, %d), about in [-1, 1]."
        .formatted(what, network.imageChannels(), network.resolution(), network.resolution());
  }

  private static String text(Port port) {
    return "%s %s %s"
        .formatted(port.name(), port.type().toString().toLowerCase(Locale.ROOT), port.dims());
  }
}
