package io.retort.checkpoint;

import static java.util.Objects.requireNonNull;

import io.retort.checkpoint.OnnxTrace.Step;
import io.retort.checkpoint.OnnxTrace.Value;
import io.retort.tensor.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/// Turns a trace into nodes: where each value is in the graph, and in which layout.
///
/// The engine keeps channels last, `(N, H, W, C)`; ONNX convolves channels first, `(N, C, H, W)`. A
/// value exists in the layout it was made in and is transposed once, when an op asks for the other
/// one; ops that work in either take the one that is there. What depends on no input is computed
/// here and stored.
final class OnnxLowering {

  /// Where the channels are; the same thing for two axes or fewer.
  enum Layout {
    LAST,
    FIRST
  }

  /// One value in the graph: the names it has, or how to make them.
  private static final class Place {
    private final Map<Layout, String> names = new EnumMap<>(Layout.class);
    private @Nullable Function<Layout, String> maker;
  }

  /// How a stored value is laid out: its extents with the channels last, and where they are then
  /// put; or transposed.
  private record Form(List<Long> dims, Layout layout, boolean transposed) {}

  private final OnnxGraph graph;
  private final OnnxOps ops;
  private final Map<Value, Place> places = new IdentityHashMap<>();
  private final Map<Value, Map<Form, String>> stored = new IdentityHashMap<>();
  private final Map<Value, String> origins = new IdentityHashMap<>();
  private final String batched;
  private @Nullable String batch;

  /// @param batched name of an input whose first axis is the batch
  OnnxLowering(OnnxGraph graph, String batched) {
    this.graph = graph;
    this.batched = batched;
    ops = new OnnxOps(graph, this);
  }

  /// Places an input of the network in the graph.
  void bind(Value value, Layout layout, String name) {
    put(value, layout, name);
  }

  /// Emits every step that depends on a bound value.
  void lower(List<Step> steps) {
    for (Step step : steps) {
      boolean known = step.inputs().stream().noneMatch(places::containsKey);
      if (known && (step.output().batchAxis() < 0 || step.output().uniform())) {
        step.inputs().stream()
            .map(this::origin)
            .filter(name -> !name.isEmpty())
            .findFirst()
            .ifPresent(name -> origins.put(step.output(), name));
        continue;
      }
      graph.enter(part(step));
      ops.emit(step);
      graph.enter("");
    }
  }

  /// The part of the network that a step's weights belong to.
  private String part(Step step) {
    return step.inputs().stream()
        .map(this::origin)
        .filter(name -> name.contains("."))
        .findFirst()
        .map(name -> name.substring(0, name.lastIndexOf('.')))
        .orElse("");
  }

  /// The weight that a stored value was made from, empty if none.
  private String origin(Value value) {
    String name = value.name();
    return name != null ? name : origins.getOrDefault(value, "");
  }

  // ---- values that ops read

  /// Whether the value is computed in the graph, not stored.
  boolean computed(Value value) {
    return places.containsKey(value);
  }

  /// The value for the whole batch.
  String in(Value value, Layout layout) {
    Place place = places.get(value);
    if (place != null) {
      return placed(value, place, layout);
    }
    List<Long> row = dims(value, Layout.LAST, true);
    String name = store(value, row, layout);
    if (value.batchAxis() < 0) {
      return name;
    }
    List<Long> rest = dims(value, layout, true).subList(1, row.size());
    String shape =
        graph.node(
            "Concat",
            List.of(batch(), graph.longs(rest.stream().mapToLong(Long::longValue).toArray())),
            OnnxNode.whole("axis", 0));
    return graph.node("Expand", List.of(name, shape));
  }

  /// The size of the batch, a list of one.
  private String batch() {
    if (batch == null) {
      batch =
          graph.node(
              "Shape", List.of(batched), OnnxNode.whole("start", 0), OnnxNode.whole("end", 1));
    }
    return batch;
  }

  /// The value for an op that repeats it along the batch and along axes it does not have, to `rank`
  /// axes.
  String repeated(Value value, Layout layout, int rank) {
    Place place = places.get(value);
    if (place == null) {
      List<Long> dims = dims(value, Layout.LAST, true);
      return store(value, layout == Layout.FIRST ? pad(dims, rank) : dims, layout);
    }
    return layout == Layout.FIRST && value.rank() < rank
        ? graph.reshape(in(value, Layout.LAST), first(pad(dims(value, Layout.LAST, false), rank)))
        : placed(value, place, layout);
  }

  /// A stored or computed matrix `(rows, columns)`, transposed.
  String transposed(Value matrix) {
    if (computed(matrix)) {
      return graph.transpose(in(matrix, Layout.LAST), List.of(1L, 0L));
    }
    int rows = Math.toIntExact(matrix.shape().dim(0));
    int columns = Math.toIntExact(matrix.shape().dim(1));
    return stored
        .computeIfAbsent(matrix, _ -> new HashMap<>())
        .computeIfAbsent(
            new Form(List.of(), Layout.LAST, true),
            _ ->
                graph.weight(
                    nameOf(matrix) + ".transposed",
                    List.of((long) columns, (long) rows),
                    () -> swapped(matrix.tensor().floats(), 1, rows, columns)));
  }

  /// The layout to work in: channels first if one of these is there in it.
  Layout preferred(Value... values) {
    for (Value value : values) {
      Place place = places.get(value);
      if (place != null && value.rank() > 2 && place.names.containsKey(Layout.FIRST)) {
        return Layout.FIRST;
      }
    }
    return Layout.LAST;
  }

  /// Extents for a Reshape: 0 keeps the batch, -1 where it is not the first axis or another
  /// multiple.
  List<Long> dims(Value value, Layout layout) {
    return dims(value, layout, false);
  }

  // ---- values that ops make

  /// Says that `value` is there under this name.
  void put(Value value, Layout layout, String name) {
    Place place = places.computeIfAbsent(value, _ -> new Place());
    place.names.put(layout, name);
    if (value.rank() <= 2) {
      place.names.put(Layout.LAST, name);
      place.names.put(Layout.FIRST, name);
    }
  }

  /// Says that `value` can be made in either layout, once it is asked for.
  void put(Value value, Function<Layout, String> maker) {
    places.computeIfAbsent(value, _ -> new Place()).maker = maker;
  }

  // ---- layouts

  /// Where an axis of the engine's order is.
  static int axis(int axis, int rank, Layout layout) {
    if (layout == Layout.LAST || rank <= 2 || axis == 0) {
      return axis;
    }
    return axis == rank - 1 ? 1 : axis + 1;
  }

  /// Extents, or anything else there is one of an axis, with the last one moved behind the first.
  static <T> List<T> first(List<T> last) {
    if (last.size() <= 2) {
      return last;
    }
    List<T> moved = new ArrayList<>(last);
    moved.add(1, moved.removeLast());
    return moved;
  }

  private String placed(Value value, Place place, Layout layout) {
    String name = place.names.get(layout);
    if (name == null) {
      name = place.maker != null ? place.maker.apply(layout) : turned(value, place, layout);
      put(value, layout, name);
    }
    return name;
  }

  private String turned(Value value, Place place, Layout layout) {
    int rank = value.rank();
    List<Long> axes = new ArrayList<>();
    for (long axis = 0; axis < rank; axis++) {
      axes.add(axis);
    }
    if (layout == Layout.FIRST) {
      return graph.transpose(requireNonNull(place.names.get(Layout.LAST)), first(axes));
    }
    axes.add(axes.remove(1));
    return graph.transpose(requireNonNull(place.names.get(Layout.FIRST)), axes);
  }

  private static List<Long> pad(List<Long> dims, int rank) {
    List<Long> padded = new ArrayList<>(dims);
    while (padded.size() < rank) {
      padded.addFirst(1L);
    }
    return padded;
  }

  /// @param row whether the batch counts as one sample
  private static List<Long> dims(Value value, Layout layout, boolean row) {
    List<Long> dims = new ArrayList<>();
    for (int axis = 0; axis < value.rank(); axis++) {
      dims.add(axis != value.batchAxis() ? value.shape().dim(axis) : row ? 1L : -1L);
    }
    return layout == Layout.FIRST ? first(dims) : dims;
  }

  // ---- stored values

  /// The constant of a value that depends on no input, of one row if it has rows.
  private String store(Value value, List<Long> dims, Layout layout) {
    return stored
        .computeIfAbsent(value, _ -> new HashMap<>())
        .computeIfAbsent(new Form(dims, layout, false), form -> constant(value, form));
  }

  private String constant(Value value, Form form) {
    if (value.tensor().dtype() == DType.I64) {
      return graph.indices(nameOf(value), form.dims, value.tensor().longs());
    }
    int rank = form.dims.size();
    boolean moved = form.layout == Layout.FIRST && rank > 2;
    int count = Math.toIntExact(moved ? form.dims.getFirst() : 1);
    int channels = Math.toIntExact(moved ? form.dims.getLast() : 1);
    int size = Math.toIntExact(form.dims.stream().reduce(1L, Math::multiplyExact));
    return graph.weight(
        nameOf(value),
        moved ? first(form.dims) : form.dims,
        () -> {
          float[] values = value.tensor().floats();
          float[] row = values.length == size ? values : Arrays.copyOf(values, size);
          return moved ? swapped(row, count, size / count / channels, channels) : row;
        });
  }

  private String nameOf(Value value) {
    String origin = origin(value);
    if (origin.isEmpty()) {
      return "constant";
    }
    return value.name() != null ? origin : origin + ".arranged";
  }

  private static float[] swapped(float[] values, int count, int rows, int columns) {
    float[] out = new float[values.length];
    for (int matrix = 0; matrix < count; matrix++) {
      int base = matrix * rows * columns;
      for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++) {
          out[base + column * rows + row] = values[base + row * columns + column];
        }
      }
    }
    return out;
  }
}
