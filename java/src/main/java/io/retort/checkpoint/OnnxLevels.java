package io.retort.checkpoint;

import static io.retort.checkpoint.OnnxNode.whole;

import io.retort.checkpoint.OnnxConstant.Type;
import io.retort.diffusion.BetaSchedule;
import io.retort.diffusion.Preconditioning;
import java.util.Arrays;
import java.util.List;

/// [Preconditioning] inside the graph: what its four functions make of the input `sigma (N)`.
///
/// In float64, as the engine computes them, and rounded once.
final class OnnxLevels {

  /// Names of the four values.
  ///
  /// @param skip factor of x in the output, `(N, 1, 1, 1)`
  /// @param out factor of the network's output, `(N, 1, 1, 1)`
  /// @param in factor of x in the network's input, `(N, 1, 1, 1)`
  /// @param noise what the network is told, `(N)`
  record Coefficients(String skip, String out, String in, String noise) {}

  private final OnnxGraph graph;

  OnnxLevels(OnnxGraph graph) {
    this.graph = graph;
  }

  /// The coefficients at the levels `sigma`.
  Coefficients of(Preconditioning kind, String sigma) {
    graph.enter("preconditioning");
    String s = graph.cast(sigma, Type.DOUBLE);
    Coefficients coefficients =
        switch (kind) {
          case Preconditioning.Edm edm -> edm(edm, s);
          case Preconditioning.Vp vp -> variancePreserving(s, time(vp, s));
          case Preconditioning.Ve _ ->
              new Coefficients(
                  images(graph.exact(1)),
                  images(s),
                  images(graph.exact(1)),
                  graph.cast(log(mul(s, graph.exact(0.5))), Type.FLOAT));
          case Preconditioning.Iddpm iddpm -> variancePreserving(s, index(iddpm, s));
          case Preconditioning.Discrete discrete -> discrete(discrete, s);
          case Preconditioning.Flow flow -> flow(flow, s);
        };
    graph.enter("");
    return coefficients;
  }

  private Coefficients edm(Preconditioning.Edm edm, String s) {
    double variance = edm.sigmaData() * edm.sigmaData();
    String total = add(mul(s, s), graph.exact(variance));
    String root = root(total);
    return new Coefficients(
        images(div(graph.exact(variance), total)),
        images(div(mul(s, graph.exact(edm.sigmaData())), root)),
        images(div(graph.exact(1), root)),
        graph.cast(mul(log(s), graph.exact(0.25)), Type.FLOAT));
  }

  /// A network that predicts noise from an input of variance 1.
  private Coefficients variancePreserving(String s, String noise) {
    String root = root(add(mul(s, s), graph.exact(1)));
    return new Coefficients(
        images(graph.exact(1)),
        images(graph.node("Neg", List.of(s))),
        images(div(graph.exact(1), root)),
        graph.cast(noise, Type.FLOAT));
  }

  private Coefficients discrete(Preconditioning.Discrete kind, String s) {
    String noise = time(kind.schedule(), s);
    String norm = root(add(mul(s, s), graph.exact(1)));
    return switch (kind.prediction()) {
      case EPSILON -> variancePreserving(s, noise);
      case SAMPLE ->
          new Coefficients(
              images(graph.exact(0)),
              images(graph.exact(1)),
              images(div(graph.exact(1), norm)),
              graph.cast(noise, Type.FLOAT));
      case V ->
          new Coefficients(
              images(div(graph.exact(1), mul(norm, norm))),
              images(graph.node("Neg", List.of(div(s, norm)))),
              images(div(graph.exact(1), norm)),
              graph.cast(noise, Type.FLOAT));
    };
  }

  private Coefficients flow(Preconditioning.Flow flow, String s) {
    String length = add(s, graph.exact(1));
    String t = div(s, length);
    return new Coefficients(
        images(div(graph.exact(1), length)),
        images(graph.node("Neg", List.of(t))),
        images(div(graph.exact(1), length)),
        graph.cast(mul(t, graph.exact(flow.timeScale())), Type.FLOAT));
  }

  /// The time step of a noise level, interpolated along ln sigma between the two around it.
  private String time(BetaSchedule schedule, String s) {
    double[] logs = new double[schedule.steps()];
    Arrays.setAll(logs, t -> Math.log(schedule.sigma(t)));
    String every = graph.row(logs);
    String log = log(s);
    String reached =
        graph.cast(
            graph.node("LessOrEqual", List.of(every, graph.reshape(log, List.of(-1L, 1L)))),
            Type.INT64);
    String count = graph.node("ReduceSum", List.of(reached, graph.longs(1)), whole("keepdims", 0));
    String low =
        graph.node(
            "Clip",
            List.of(
                graph.node("Sub", List.of(count, graph.index(1))),
                graph.index(0),
                graph.index(logs.length - 2L)));
    String list = graph.reshape(every, List.of(-1L));
    String from = graph.node("Gather", List.of(list, low));
    String to = graph.node("Gather", List.of(list, add(low, graph.index(1))));
    String part = div(graph.node("Sub", List.of(log, from)), graph.node("Sub", List.of(to, from)));
    String time =
        graph.node(
            "Clip",
            List.of(
                add(graph.cast(low, Type.DOUBLE), part),
                graph.exact(0),
                graph.exact(logs.length - 1.0)));
    String whole = graph.node("Round", List.of(time));
    String away = graph.node("Abs", List.of(graph.node("Sub", List.of(time, whole))));
    String near = graph.node("Less", List.of(away, graph.exact(schedule.snap())));
    return graph.node("Where", List.of(near, whole, time));
  }

  /// `(M - 1) t` with t the positive root of `betaD t^2 / 2 + betaMin t = ln(1 + sigma^2)`.
  private String time(Preconditioning.Vp vp, String s) {
    String grown = mul(log(add(mul(s, s), graph.exact(1))), graph.exact(2 * vp.betaD()));
    String root = root(add(grown, graph.exact(vp.betaMin() * vp.betaMin())));
    String t = add(root, graph.exact(-vp.betaMin()));
    return mul(t, graph.exact((vp.steps() - 1) / vp.betaD()));
  }

  /// `M - 1 - j` with j the level nearest to sigma.
  private String index(Preconditioning.Iddpm iddpm, String s) {
    String levels = graph.row(iddpm.levels());
    String column = graph.reshape(s, List.of(-1L, 1L));
    String distance = graph.node("Abs", List.of(graph.node("Sub", List.of(column, levels))));
    String nearest =
        graph.node("ArgMin", List.of(distance), whole("axis", 1), whole("keepdims", 0));
    return graph.node(
        "Sub", List.of(graph.exact(iddpm.steps() - 1.0), graph.cast(nearest, Type.DOUBLE)));
  }

  /// One number a sample as images take it.
  private String images(String perSample) {
    return graph.reshape(graph.cast(perSample, Type.FLOAT), List.of(-1L, 1L, 1L, 1L));
  }

  private String add(String a, String b) {
    return graph.node("Add", List.of(a, b));
  }

  private String mul(String a, String b) {
    return graph.node("Mul", List.of(a, b));
  }

  private String div(String a, String b) {
    return graph.node("Div", List.of(a, b));
  }

  private String root(String x) {
    return graph.node("Sqrt", List.of(x));
  }

  private String log(String x) {
    return graph.node("Log", List.of(x));
  }
}
