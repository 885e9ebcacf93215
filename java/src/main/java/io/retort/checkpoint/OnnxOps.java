package io.retort.checkpoint;

import static io.retort.checkpoint.OnnxNode.real;
import static io.retort.checkpoint.OnnxNode.text;
import static io.retort.checkpoint.OnnxNode.whole;
import static io.retort.checkpoint.OnnxNode.wholes;

import io.retort.checkpoint.OnnxConstant.Type;
import io.retort.checkpoint.OnnxLowering.Layout;
import io.retort.checkpoint.OnnxTrace.Step;
import io.retort.checkpoint.OnnxTrace.Value;
import io.retort.op.Activation;
import io.retort.op.Add;
import io.retort.op.Affine;
import io.retort.op.Attention;
import io.retort.op.Broadcast;
import io.retort.op.Cast;
import io.retort.op.Concat;
import io.retort.op.Conv2d;
import io.retort.op.Fourier;
import io.retort.op.GroupNorm;
import io.retort.op.LayerNorm;
import io.retort.op.Linear;
import io.retort.op.Lookup;
import io.retort.op.MatMul;
import io.retort.op.Multiply;
import io.retort.op.Op;
import io.retort.op.Pad;
import io.retort.op.Permute;
import io.retort.op.Pool;
import io.retort.op.Reduce;
import io.retort.op.Resample;
import io.retort.op.Reshape;
import io.retort.op.SelfAttention;
import io.retort.op.Sinusoid;
import io.retort.op.Slice;
import io.retort.op.Softmax;
import io.retort.tensor.DType;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// What each op is in ONNX: the one place where that is said.
///
/// Nodes of the default domain, opset 17 or later; where a later opset has a node of its own for
/// what an earlier one composes, the graph's opset decides.
final class OnnxOps {
  private static final int GROUP_NORM_OPSET = 21;
  private static final int GELU_OPSET = 20;
  private static final int REDUCE_AXES_OPSET = 18;

  private final OnnxGraph graph;
  private final OnnxLowering values;
  private final OnnxAttention attention;

  OnnxOps(OnnxGraph graph, OnnxLowering values) {
    this.graph = graph;
    this.values = values;
    attention = new OnnxAttention(graph, values);
  }

  /// Emits the nodes of one step.
  ///
  /// @throws IllegalArgumentException naming the op, if ONNX export does not know it
  void emit(Step step) {
    List<Value> in = step.inputs();
    Value out = step.output();
    switch (step.op()) {
      case Conv2d conv -> convolution(conv, in, out);
      case GroupNorm norm -> groupNorm(norm, in, out);
      case LayerNorm norm -> layerNorm(norm, in, out);
      case Linear _ -> linear(in, out);
      case MatMul product -> matmul(product, in, out);
      case SelfAttention self -> attention.self(self.heads(), in.getFirst(), out);
      case Attention cross -> attention.cross(cross.heads(), in, out);
      case Softmax _ -> last("Softmax", in.getFirst(), out, whole("axis", -1));
      case Add add -> add(add, in, out);
      case Multiply _ -> pair("Mul", in, out);
      case Broadcast broadcast -> broadcast(broadcast, in, out);
      case Affine affine -> affine(affine, in.getFirst(), out);
      case Activation activation -> activation(activation, in.getFirst(), out);
      case Concat concat -> concat(concat, in, out);
      case Slice slice -> slice(slice, in.getFirst(), out);
      case Pad pad -> pad(pad, in.getFirst(), out);
      case Reshape _ -> reshape(in.getFirst(), out);
      case Permute permute -> permute(permute, in.getFirst(), out);
      case Resample resample -> resample(resample, in.getFirst(), out);
      case Pool pool -> pool(pool, in.getFirst(), out);
      case Reduce reduce -> reduce(reduce, in.getFirst(), out);
      case Sinusoid sinusoid -> sinusoid(sinusoid, in.getFirst(), out);
      case Fourier _ -> fourier(in, out);
      case Lookup _ ->
          values.put(
              out,
              Layout.LAST,
              graph.node(
                  "Gather",
                  List.of(values.in(in.get(0), Layout.LAST), values.in(in.get(1), Layout.LAST))));
      case Cast cast when cast.target() == DType.F32 -> {
        Layout layout = values.preferred(in.getFirst());
        values.put(out, layout, values.in(in.getFirst(), layout));
      }
      default -> throw unknown(step.op());
    }
  }

  private static IllegalArgumentException unknown(Op op) {
    return new IllegalArgumentException(
        "export: the network uses the op %s, which has no form in ONNX here; export it with --format safetensors"
            .formatted(op.name()));
  }

  // ---- products

  private void convolution(Conv2d conv, List<Value> in, Value out) {
    Shape weight = in.get(1).shape();
    List<String> from = new ArrayList<>(List.of(values.in(in.getFirst(), Layout.FIRST)));
    in.subList(1, Math.min(in.size(), 3)).forEach(value -> from.add(values.in(value, Layout.LAST)));
    long pad = conv.padding();
    String sum =
        graph.node(
            "Conv",
            from,
            wholes("kernel_shape", weight.dim(2), weight.dim(3)),
            wholes("strides", conv.stride(), conv.stride()),
            wholes("pads", pad, pad, pad, pad),
            whole("group", conv.groups()));
    Conv2d.Tail tail = conv.tail();
    if (tail.shifted()) {
      String columns =
          graph.node("Unsqueeze", List.of(values.in(in.get(3), Layout.LAST), graph.longs(2, 3)));
      sum = graph.node("Add", List.of(sum, columns));
    }
    if (tail.joined()) {
      sum = graph.node("Add", List.of(sum, values.in(in.getLast(), Layout.FIRST)));
    }
    values.put(out, Layout.FIRST, graph.times(sum, tail.scale()));
  }

  private void linear(List<Value> in, Value out) {
    Value x = in.getFirst();
    String from = values.in(x, Layout.LAST);
    if (x.rank() == 2) {
      List<String> inputs = new ArrayList<>(List.of(from));
      in.subList(1, in.size()).forEach(value -> inputs.add(values.in(value, Layout.LAST)));
      values.put(out, Layout.LAST, graph.node("Gemm", inputs, whole("transB", 1)));
      return;
    }
    String product = graph.node("MatMul", List.of(from, values.transposed(in.get(1))));
    String sum =
        in.size() > 2
            ? graph.node("Add", List.of(product, values.in(in.get(2), Layout.LAST)))
            : product;
    values.put(out, Layout.LAST, sum);
  }

  private void matmul(MatMul product, List<Value> in, Value out) {
    String a = values.in(in.get(0), Layout.LAST);
    String b = values.in(in.get(1), Layout.LAST);
    values.put(
        out,
        Layout.LAST,
        graph.node(
            "MatMul",
            List.of(
                product.transposeA() ? turned(a, in.get(0).rank()) : a,
                product.transposeB() ? turned(b, in.get(1).rank()) : b)));
  }

  /// Matrices transposed.
  private String turned(String matrices, int rank) {
    List<Long> axes = new ArrayList<>();
    for (long axis = 0; axis < rank - 2; axis++) {
      axes.add(axis);
    }
    axes.add(rank - 1L);
    axes.add(rank - 2L);
    return graph.transpose(matrices, axes);
  }

  // ---- norms

  private void groupNorm(GroupNorm norm, List<Value> in, Value out) {
    Value x = in.getFirst();
    long channels = x.shape().last();
    String from = values.in(x, Layout.FIRST);
    String y;
    if (graph.opset() >= GROUP_NORM_OPSET && x.rank() > 2) {
      y =
          graph.node(
              "GroupNormalization",
              List.of(from, values.in(in.get(1), Layout.LAST), values.in(in.get(2), Layout.LAST)),
              whole("num_groups", norm.groups()),
              real("epsilon", norm.eps()));
    } else {
      String normalised =
          graph.reshape(
              graph.node(
                  "InstanceNormalization",
                  List.of(
                      graph.reshape(from, List.of(0L, (long) norm.groups(), -1L)),
                      row("one", norm.groups(), 1),
                      row("zero", norm.groups(), 0)),
                  real("epsilon", norm.eps())),
              values.dims(x, Layout.FIRST));
      String scaled =
          graph.node(
              "Mul", List.of(normalised, values.repeated(in.get(1), Layout.FIRST, x.rank())));
      y = graph.node("Add", List.of(scaled, values.repeated(in.get(2), Layout.FIRST, x.rank())));
    }
    values.put(out, Layout.FIRST, norm.silu() ? silu(y) : y);
  }

  private String row(String name, int length, float value) {
    return graph.table(
        name,
        List.of((long) length),
        () -> {
          float[] row = new float[length];
          Arrays.fill(row, value);
          return row;
        });
  }

  private void layerNorm(LayerNorm norm, List<Value> in, Value out) {
    values.put(
        out,
        Layout.LAST,
        graph.node(
            "LayerNormalization",
            in.stream().map(value -> values.in(value, Layout.LAST)).toList(),
            whole("axis", -1),
            real("epsilon", norm.eps())));
  }

  // ---- element by element

  private void add(Add add, List<Value> in, Value out) {
    Layout layout = values.preferred(in.get(0), in.get(1));
    String a = values.repeated(in.get(0), layout, out.rank());
    String b = values.repeated(in.get(1), layout, out.rank());
    double alpha = add.alpha();
    double beta = add.beta();
    String sum;
    if (alpha == beta) {
      sum = graph.times(graph.node("Add", List.of(a, b)), alpha);
    } else if (alpha == -beta) {
      sum = graph.times(graph.node("Sub", List.of(a, b)), alpha);
    } else {
      sum = graph.node("Add", List.of(graph.times(a, alpha), graph.times(b, beta)));
    }
    values.put(out, layout, sum);
  }

  private void broadcast(Broadcast broadcast, List<Value> in, Value out) {
    pair(broadcast.kind() == Broadcast.Kind.ADD ? "Add" : "Mul", in, out);
  }

  private void pair(String type, List<Value> in, Value out) {
    Value a = in.get(0);
    Value b = in.get(1);
    Layout layout = values.preferred(a, b);
    boolean whole = !values.computed(a) && b.rank() < a.rank();
    String large = whole ? values.in(a, layout) : values.repeated(a, layout, out.rank());
    values.put(
        out, layout, graph.node(type, List.of(large, values.repeated(b, layout, out.rank()))));
  }

  private void affine(Affine affine, Value x, Value out) {
    Layout layout = values.preferred(x);
    values.put(
        out, layout, graph.plus(graph.times(values.in(x, layout), affine.scale()), affine.shift()));
  }

  private void activation(Activation activation, Value value, Value out) {
    Layout layout = values.preferred(value);
    String x = values.in(value, layout);
    List<String> from = List.of(x);
    values.put(
        out,
        layout,
        switch (activation.kind()) {
          case RELU -> graph.node("Relu", from);
          case LEAKY_RELU -> graph.node("LeakyRelu", from, real("alpha", activation.slope()));
          case SILU -> silu(x);
          case GELU_TANH -> geluTanh(x);
          case GELU -> gelu(x);
          case SIGMOID -> graph.node("Sigmoid", from);
          case TANH -> graph.node("Tanh", from);
          case SOFTPLUS -> graph.node("Softplus", from);
          case EXP -> graph.node("Exp", from);
          case LOG -> graph.node("Log", from);
          case SQUARE -> graph.node("Mul", List.of(x, x));
          case SQRT -> graph.node("Sqrt", from);
          case ABS -> graph.node("Abs", from);
        });
  }

  private String silu(String x) {
    return graph.node("Mul", List.of(x, graph.node("Sigmoid", List.of(x))));
  }

  private String gelu(String x) {
    if (graph.opset() >= GELU_OPSET) {
      return graph.node("Gelu", List.of(x));
    }
    String scaled = graph.node("Div", List.of(x, graph.number(Math.sqrt(2))));
    String phi = graph.plus(graph.node("Erf", List.of(scaled)), 1);
    return graph.times(graph.node("Mul", List.of(x, phi)), 0.5);
  }

  private String geluTanh(String x) {
    if (graph.opset() >= GELU_OPSET) {
      return graph.node("Gelu", List.of(x), text("approximate", "tanh"));
    }
    String cube = graph.node("Pow", List.of(x, graph.number(3)));
    String inner = graph.node("Add", List.of(x, graph.times(cube, 0.044715)));
    String tanh = graph.node("Tanh", List.of(graph.times(inner, Math.sqrt(2 / Math.PI))));
    return graph.node("Mul", List.of(graph.times(x, 0.5), graph.plus(tanh, 1)));
  }

  private void last(String type, Value x, Value out, OnnxNode.Attribute... attributes) {
    values.put(out, Layout.LAST, graph.node(type, List.of(values.in(x, Layout.LAST)), attributes));
  }

  // ---- shapes

  private void concat(Concat concat, List<Value> in, Value out) {
    Layout layout = values.preferred(in.toArray(Value[]::new));
    values.put(
        out,
        layout,
        graph.node(
            "Concat",
            in.stream().map(value -> values.in(value, layout)).toList(),
            whole("axis", OnnxLowering.axis(concat.axis(), out.rank(), layout))));
  }

  private void slice(Slice slice, Value x, Value out) {
    if (slice.axis() == x.batchAxis()) {
      throw new IllegalArgumentException(
          "export: the network cuts the batch apart (%s), which a graph for any batch cannot"
              .formatted(slice));
    }
    Layout layout = values.preferred(x);
    values.put(
        out,
        layout,
        graph.node(
            "Slice",
            List.of(
                values.in(x, layout),
                graph.longs(slice.begin()),
                graph.longs(slice.end()),
                graph.longs(OnnxLowering.axis(slice.axis(), x.rank(), layout)))));
  }

  private void pad(Pad pad, Value x, Value out) {
    String borders = graph.longs(0, 0, pad.top(), pad.left(), 0, 0, pad.bottom(), pad.right());
    values.put(
        out,
        Layout.FIRST,
        graph.node("Pad", List.of(values.in(x, Layout.FIRST), borders), text("mode", "constant")));
  }

  /// Where samples and channels stay what they are, the layout does too.
  private void reshape(Value x, Value out) {
    Shape from = x.shape();
    Shape to = out.shape();
    boolean apart =
        x.rank() > 1 && out.rank() > 1 && x.rows() && out.rows() && from.last() == to.last();
    if (apart && from.elements() == from.dim(0) * from.last()) {
      values.put(
          out,
          layout -> graph.reshape(values.in(x, values.preferred(x)), shape(out, layout, true)));
      return;
    }
    Layout layout = apart ? values.preferred(x) : Layout.LAST;
    values.put(
        out,
        layout,
        graph.reshape(values.in(x, layout), shape(out, layout, x.rows() && out.rows())));
  }

  /// @param kept whether the first axis is the batch before and after
  private List<Long> shape(Value out, Layout layout, boolean kept) {
    List<Long> dims = new ArrayList<>(values.dims(out, layout));
    if (kept) {
      dims.set(0, 0L);
    }
    return dims;
  }

  /// One Transpose, whatever the layouts on both sides are.
  private void permute(Permute permute, Value x, Value out) {
    values.put(
        out,
        layout -> {
          Layout from = values.preferred(x);
          List<Long> axes =
              permute.axes().stream()
                  .map(axis -> (long) OnnxLowering.axis(axis, x.rank(), from))
                  .toList();
          List<Long> order = layout == Layout.FIRST ? OnnxLowering.first(axes) : axes;
          String name = values.in(x, from);
          return order.equals(order.stream().sorted().toList())
              ? name
              : graph.transpose(name, order);
        });
  }

  // ---- pixels

  private void resample(Resample resample, Value x, Value out) {
    boolean up = resample.direction() == Resample.Direction.UP;
    String from = values.in(x, Layout.FIRST);
    if (resample.filter().equals(List.of(1.0, 1.0))) {
      values.put(out, Layout.FIRST, up ? doubled(from) : halved(from));
      return;
    }
    int taps = resample.filter().size();
    long pad = (taps - 1) / 2;
    int channels = Math.toIntExact(x.shape().last());
    String kernel =
        graph.table(
            (up ? "upsample" : "downsample") + resample.filter(),
            List.of((long) channels, 1L, (long) taps, (long) taps),
            () -> kernel(resample.filter(), up ? 2 : 1, channels));
    values.put(
        out,
        Layout.FIRST,
        graph.node(
            up ? "ConvTranspose" : "Conv",
            List.of(from, kernel),
            wholes("kernel_shape", taps, taps),
            wholes("strides", 2, 2),
            wholes("pads", pad, pad, pad, pad),
            whole("group", channels)));
  }

  private String doubled(String x) {
    String scales = graph.table("twice", List.of(4L), () -> new float[] {1, 1, 2, 2});
    return graph.node(
        "Resize",
        List.of(x, "", scales),
        text("mode", "nearest"),
        text("coordinate_transformation_mode", "asymmetric"),
        text("nearest_mode", "floor"));
  }

  private String halved(String x) {
    return graph.node(
        "AveragePool", List.of(x), wholes("kernel_shape", 2, 2), wholes("strides", 2, 2));
  }

  /// The filter along rows times the filter along columns, once a channel.
  private static float[] kernel(List<Double> filter, double gain, int channels) {
    double sum = filter.stream().mapToDouble(Double::doubleValue).sum();
    int taps = filter.size();
    float[] kernel = new float[channels * taps * taps];
    for (int i = 0; i < kernel.length; i++) {
      int at = i % (taps * taps);
      double row = gain * filter.get(at / taps) / sum;
      double column = gain * filter.get(at % taps) / sum;
      kernel[i] = (float) (row * column);
    }
    return kernel;
  }

  private void pool(Pool pool, Value x, Value out) {
    values.put(
        out,
        Layout.FIRST,
        graph.node(
            pool.kind() == Pool.Kind.AVG ? "AveragePool" : "MaxPool",
            List.of(values.in(x, Layout.FIRST)),
            wholes("kernel_shape", pool.kernel(), pool.kernel()),
            wholes("strides", pool.stride(), pool.stride())));
  }

  private void reduce(Reduce reduce, Value x, Value out) {
    List<Long> axes =
        reduce.axes().stream().map(axis -> (long) (axis < 0 ? axis + x.rank() : axis)).toList();
    long[] list = axes.stream().mapToLong(Long::longValue).toArray();
    boolean sum = reduce.kind() == Reduce.Kind.SUM;
    List<String> from = new ArrayList<>(List.of(values.in(x, Layout.LAST)));
    List<OnnxNode.Attribute> attributes = new ArrayList<>(List.of(whole("keepdims", 0)));
    if (!axes.isEmpty() && (sum || graph.opset() >= REDUCE_AXES_OPSET)) {
      from.add(graph.longs(list));
    } else if (!axes.isEmpty()) {
      attributes.add(wholes("axes", axes));
    }
    values.put(
        out,
        Layout.LAST,
        graph.node(
            sum ? "ReduceSum" : "ReduceMean", from, attributes.toArray(OnnxNode.Attribute[]::new)));
  }

  // ---- embeddings

  private void sinusoid(Sinusoid op, Value c, Value out) {
    double[] frequencies = new double[op.half()];
    double last = op.half() - (op.endpoint() ? 1.0 : 0.0);
    for (int k = 0; k < frequencies.length; k++) {
      frequencies[k] = Math.pow(op.maxPositions(), -k / last);
    }
    waves(c, graph.row(frequencies), op.sinFirst(), out);
  }

  private void fourier(List<Value> in, Value out) {
    if (values.computed(in.get(1))) {
      throw new IllegalArgumentException("export: frequencies of fourier must be constants");
    }
    float[] given = in.get(1).tensor().floats();
    double[] frequencies = new double[given.length];
    for (int k = 0; k < given.length; k++) {
      frequencies[k] = 2 * Math.PI * given[k];
    }
    waves(in.getFirst(), graph.row(frequencies), false, out);
  }

  /// Angles reach hundreds of turns, so they are float64, as in the engine; the cosine is a sine a
  /// quarter of a turn later.
  private void waves(Value c, String frequencies, boolean sinFirst, Value out) {
    String column =
        graph.reshape(graph.cast(values.in(c, Layout.LAST), Type.DOUBLE), List.of(-1L, 1L));
    String angle = graph.node("Mul", List.of(column, frequencies));
    String later = graph.node("Add", List.of(angle, graph.exact(Math.PI / 2)));
    String sine = graph.node("Sin", List.of(angle));
    String cosine = graph.node("Sin", List.of(later));
    List<String> order = sinFirst ? List.of(sine, cosine) : List.of(cosine, sine);
    values.put(
        out, Layout.LAST, graph.cast(graph.node("Concat", order, whole("axis", 1)), Type.FLOAT));
  }
}
