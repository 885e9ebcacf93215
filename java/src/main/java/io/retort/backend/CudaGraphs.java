package io.retort.backend;

import static java.util.Objects.requireNonNull;

import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;

/// Captured work: what is started a second time with the same words becomes a CUDA graph, and one
/// launch from then on.
///
/// A graph is found by comparing every word, so it never stands for work that differs, be it in one
/// address. The least recently used of more than 64 graphs are given up. What was captured, and
/// what could not be, is said once for each unit.
final class CudaGraphs implements AutoCloseable {
  private static final int MOST = 64;
  private static final int REMEMBERED = 4096;

  /// Runs without a repetition after which that is said.
  private static final int PATIENCE = 16;

  private final CudaContext context;
  private final CudaDriver driver;
  private final Map<Long, Graph> graphs = new LinkedHashMap<>(16, 0.75f, true);
  private final Set<Long> seen = new LinkedHashSet<>();
  private final Map<String, Unit> units = new LinkedHashMap<>();
  private Consumer<String> remarks = sentence -> {};

  /// @param words what was captured
  private record Graph(long[] words, long executable, int nodes) {}

  /// What became of one unit's work.
  private static final class Unit {
    final Set<Graph> graphs = Collections.newSetFromMap(new IdentityHashMap<>());
    long runs;

    /// Pieces of this run so far: more than one if the host read in between.
    int pieces;

    /// Runs that were one piece, and that one a graph.
    long single;

    long replayed;
    long started;

    /// The words of each piece of the last run, while none was a graph.
    final List<long[]> last = new ArrayList<>();

    boolean refused;

    /// Whether all of this run so far is one graph.
    boolean whole;
  }

  CudaGraphs(CudaContext context) {
    this.context = context;
    driver = context.driver();
  }

  /// Who is told what was captured, in sentences.
  void tell(Consumer<String> listener) {
    remarks = listener;
  }

  /// Counts one run of a unit.
  void began(String unit) {
    Unit began = unit(unit);
    began.runs++;
    began.pieces = 0;
    began.whole = false;
  }

  private Unit unit(String name) {
    return units.computeIfAbsent(name, unused -> new Unit());
  }

  /// Starts work on the context's stream.
  void start(String name, CudaWork work) {
    Unit unit = unit(name);
    unit.pieces++;
    if (unit.whole) {
      unit.single--;
      unit.whole = false;
    }
    long hash = work.hash();
    Graph graph = graphs.get(hash);
    if (graph != null && work.equalTo(graph.words)) {
      replay(name, unit, graph);
    } else if (!unit.refused && !remember(hash)) {
      capture(name, unit, work, hash);
    } else {
      single(name, unit, work);
    }
  }

  private void replay(String name, Unit unit, Graph graph) {
    driver.graphLaunch(graph.executable, context.stream());
    unit.whole = unit.pieces == 1;
    unit.single += unit.whole ? 1 : 0;
    unit.replayed++;
    unit.started++;
    unit.last.clear();
    unit.graphs.add(graph);
    context.launched("the graph of " + name);
  }

  /// Whether a hash is a new one.
  private boolean remember(long hash) {
    boolean fresh = seen.add(hash);
    if (seen.size() > REMEMBERED) {
      seen.remove(seen.iterator().next());
    }
    return fresh;
  }

  private void single(String name, Unit unit, CudaWork work) {
    work.start(driver, context.stream());
    unit.started += work.entries();
    if (unit.replayed > 0 || unit.refused) {
      return;
    }
    int piece = unit.pieces - 1;
    if (unit.runs == PATIENCE && piece < unit.last.size()) {
      String difference = work.difference(unit.last.get(piece)).orElse("it did just now");
      remarks.accept(
          "cuda graphs: %s has not repeated itself in %d runs, so its kernels are launched one by one (%s)"
              .formatted(name, PATIENCE, difference));
    }
    if (unit.runs >= PATIENCE) {
      unit.last.clear();
    } else if (piece < unit.last.size()) {
      unit.last.set(piece, work.toArray());
    } else {
      unit.last.add(work.toArray());
    }
  }

  private void capture(String name, Unit unit, CudaWork work, long hash) {
    Graph graph;
    try {
      graph = captured(work);
    } catch (CudaException e) {
      if (e.sticky()) {
        throw e;
      }
      unit.refused = true;
      remarks.accept(
          "cuda graphs: %s cannot be captured, so its kernels are launched one by one: %s"
              .formatted(name, e.getMessage()));
      single(name, unit, work);
      return;
    }
    Graph replaced = graphs.put(hash, graph);
    if (replaced != null) {
      forget(replaced);
    }
    if (graphs.size() > MOST) {
      long oldest = graphs.keySet().iterator().next();
      forget(requireNonNull(graphs.remove(oldest)));
      seen.remove(oldest);
    }
    if (unit.graphs.isEmpty()) {
      remarks.accept(
          "cuda graphs: %s is captured, %d kernels, fills and copies in one launch"
              .formatted(name, graph.nodes));
    }
    replay(name, unit, graph);
  }

  private Graph captured(CudaWork work) {
    long stream = context.stream();
    driver.streamBeginCapture(stream);
    long graph;
    try {
      work.start(driver, stream);
    } catch (CudaException e) {
      abandon(stream, e);
      throw e;
    }
    graph = driver.streamEndCapture(stream);
    try {
      return new Graph(work.toArray(), driver.graphInstantiate(graph), work.entries());
    } finally {
      driver.graphDestroy(graph);
    }
  }

  /// Ends a capture that failed, so that the stream runs again.
  private void abandon(long stream, CudaException cause) {
    try {
      driver.graphDestroy(driver.streamEndCapture(stream));
    } catch (CudaException e) {
      cause.addSuppressed(e); // an invalid capture ends with an error, as it must
    }
  }

  private void forget(Graph graph) {
    driver.graphExecDestroy(graph.executable);
    units.values().forEach(unit -> unit.graphs.remove(graph));
  }

  /// A sentence for each unit that ran: its graphs, and launches a run.
  List<String> report() {
    List<String> lines = new ArrayList<>();
    units.forEach((name, unit) -> {
      long nodes = unit.graphs.stream().mapToLong(Graph::nodes).max().orElse(0);
      lines.add(
          "cuda graphs: %s ran %d times with %.1f launches a run, %d times with one; graphs: %d, of up to %d nodes"
              .formatted(
                  name,
                  unit.runs,
                  (double) unit.started / unit.runs,
                  unit.single,
                  unit.graphs.size(),
                  nodes));
    });
    return lines;
  }

  /// Graphs that are kept.
  int size() {
    return graphs.size();
  }

  /// Gives up every graph and forgets what was seen.
  @Override
  public void close() {
    context.enter();
    List.copyOf(graphs.values()).forEach(this::forget);
    graphs.clear();
    seen.clear();
    units.clear();
  }
}
