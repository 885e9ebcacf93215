package io.retort.backend;

import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Memory;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// Times every kernel of a backend: calls, seconds, arithmetic and bytes, for each kernel and its
/// shapes.
///
/// Hands every call on unchanged, so results do not change; costs some microseconds a call, which
/// [#ownSeconds] keeps apart. Means something only where a call returns when its work is done, as
/// on the CPU. Handing out memory and taking it back is no kernel: a pool does both in Java. Every
/// call is also a [KernelEvent] for JDK Flight Recorder. One thread computes at a time.
public final class KernelProfile {

  /// What was noted of one kernel.
  ///
  /// @param family the accessor of [Backend] it belongs to, `convolutions`
  /// @param kernel its name, `conv2d`
  /// @param shapes of the tensors it was given, in the order of its arguments
  /// @param type of its first tensor; where there is none, float32
  /// @param flops of products, convolutions and attention, a multiply-add counts 2; else 0
  /// @param bytes of all tensors handed over: what must move at least
  public record Row(
      String family,
      String kernel,
      String shapes,
      DType type,
      long calls,
      double seconds,
      double flops,
      double bytes) {

    /// The row of all calls of both.
    public Row plus(Row other) {
      return new Row(
          family,
          kernel,
          shapes,
          type,
          calls + other.calls,
          seconds + other.seconds,
          flops + other.flops,
          bytes + other.bytes);
    }

    /// The same without telling shapes apart.
    public Row anyShape() {
      return new Row(family, kernel, "", type, calls, seconds, flops, bytes);
    }
  }

  private record Key(Method kernel, List<Shape> shapes, DType type) {}

  /// What was noted of one [Key]: numbers alone, so that noting costs little beside a small kernel.
  private static final class Counter {
    private final String family;
    private final double flops;
    private long calls;
    private long nanoseconds;
    private double bytes;

    Counter(String family, double flops) {
      this.family = family;
      this.flops = flops;
    }

    Row row(Key key) {
      return new Row(
          family,
          key.kernel.getName(),
          key.shapes.stream().map(Shape::toString).collect(Collectors.joining(" ")),
          key.type,
          calls,
          nanoseconds / 1e9,
          flops * calls,
          bytes);
    }
  }

  private static final Object[] NOTHING = {};

  private final Backend backend;
  private final Map<Key, Counter> counters = new HashMap<>();
  private long ownNanoseconds;

  public KernelProfile(Backend timed) {
    Map<Method, Object> families = new HashMap<>();
    backend =
        proxy(
            Backend.class,
            (unused, method, arguments) ->
                method.getReturnType().isInterface()
                    ? families.computeIfAbsent(method, accessor -> family(timed, accessor))
                    : invoke(timed, method, arguments));
  }

  /// The backend whose kernels are timed.
  public Backend backend() {
    return backend;
  }

  /// What was noted since the last [#clear], a row for each kernel, element type and shapes.
  public synchronized List<Row> rows() {
    return counters.entrySet().stream().map(entry -> entry.getValue().row(entry.getKey())).toList();
  }

  /// Seconds that timing and noting took since the last [#clear]: part neither of the kernels nor
  /// of what a program does between them.
  public synchronized double ownSeconds() {
    return ownNanoseconds / 1e9;
  }

  /// Forgets what was noted.
  public synchronized void clear() {
    counters.clear();
    ownNanoseconds = 0;
  }

  private Object family(Backend timed, Method accessor) {
    try {
      Object kernels = accessor.invoke(timed);
      Object counted =
          proxy(
              accessor.getReturnType(),
              (unused, method, arguments) -> {
                long entered = System.nanoTime();
                var event = new KernelEvent(accessor.getName(), method.getName());
                event.begin();
                long started = System.nanoTime();
                Object result = invoke(kernels, method, arguments);
                long ended = System.nanoTime();
                event.commit();
                note(accessor.getName(), method, arguments, ended - started);
                own(started - entered + System.nanoTime() - ended);
                return result;
              });
      return kernels instanceof Memory pool ? new TimedMemory(pool, (Memory) counted) : counted;
    } catch (ReflectiveOperationException e) {
      throw new LinkageError(e.getMessage(), e);
    }
  }

  private static <T> T proxy(Class<T> type, InvocationHandler handler) {
    return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler));
  }

  private static Object invoke(Object target, Method method, Object[] arguments) throws Throwable {
    try {
      return method.invoke(target, arguments);
    } catch (InvocationTargetException e) {
      throw e.getCause();
    }
  }

  private synchronized void note(
      String family, Method method, Object @Nullable [] arguments, long nanoseconds) {
    boolean shaped = !Memory.class.isAssignableFrom(method.getDeclaringClass());
    List<Shape> shapes = new ArrayList<>();
    DType type = null;
    double bytes = 0;
    for (Object argument : arguments == null ? NOTHING : arguments) {
      if (argument instanceof Tensor tensor) {
        type = type == null ? tensor.dtype() : type;
        bytes += tensor.bytes();
        if (shaped) {
          shapes.add(tensor.shape());
        }
      }
    }
    var key = new Key(method, shapes, type == null ? DType.F32 : type);
    Counter counter =
        counters.computeIfAbsent(key, each -> new Counter(family, flops(method, each.shapes)));
    counter.calls++;
    counter.nanoseconds += nanoseconds;
    counter.bytes += bytes;
  }

  private synchronized void own(long nanoseconds) {
    ownNanoseconds += nanoseconds;
  }

  private static double flops(Method method, List<Shape> shapes) {
    return switch (method.getName()) {
      case "conv2d" -> products(shapes.getLast(), shapes.get(1));
      case "conv2dDataGradient" -> products(shapes.get(0), shapes.get(1));
      case "conv2dWeightGradient" -> products(shapes.get(1), shapes.get(2));
      case "linear" -> products(shapes.getLast(), shapes.get(1));
      case "linearDataGradient" -> products(shapes.get(0), shapes.get(1));
      case "linearWeightGradient" -> products(shapes.get(1), shapes.get(2));
      case "matmul" -> matmul(shapes);
      case "selfAttention" -> 2 * scores(shapes.get(1));
      case "selfAttentionGradient" -> 5 * scores(shapes.get(1));
      default -> 0;
    };
  }

  /// Every output is a sum of one product for each weight of its channel.
  private static double products(Shape output, Shape weight) {
    return 2.0 * output.elements() * weight.elements() / weight.dim(0);
  }

  /// `2 sqrt(|a| |b| |c|)` for one product: every length is in two of the three shapes.
  private static double matmul(List<Shape> shapes) {
    double[] sizes = shapes.stream().mapToDouble(Shape::elements).toArray();
    Shape c = shapes.getLast();
    double matrices = (double) c.elements() / (c.dim(c.rank() - 1) * c.dim(c.rank() - 2));
    return 2 * Math.sqrt(Arrays.stream(sizes).reduce(1, (x, y) -> x * y) / matrices);
  }

  /// One product of queries with keys, `(N, ..., C)`.
  private static double scores(Shape mixed) {
    double tokens = (double) mixed.elements() / mixed.dim(0) / mixed.last();
    return 2 * mixed.elements() * tokens;
  }
}
