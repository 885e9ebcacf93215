package io.retort.bench;

import io.retort.op.Backend;
import io.retort.tensor.Memory;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/// A backend that hands every call on and notes how long it took: one row a kernel, or one a kernel
/// and shape.
///
/// Costs about a microsecond a call. Not thread-safe.
final class TimedBackend {

  /// Calls of one kernel.
  ///
  /// @param flops of products and convolutions, a multiply-add counts 2; 0 for other kernels
  /// @param bytes of all tensors handed over: what must move at least
  record Row(String kernel, long calls, double seconds, double flops, double bytes) {
    Row plus(Row other) {
      return new Row(
          kernel,
          calls + other.calls,
          seconds + other.seconds,
          flops + other.flops,
          bytes + other.bytes);
    }
  }

  private final boolean shapes;
  private final Backend backend;
  private final Map<String, Row> rows = new HashMap<>();

  /// @param shapes a row for every combination of shapes
  TimedBackend(Backend timed, boolean shapes) {
    this.shapes = shapes;
    Map<Method, Object> families = new HashMap<>();
    backend =
        proxy(
            Backend.class,
            (unused, method, arguments) ->
                method.getReturnType().isInterface()
                    ? families.computeIfAbsent(method, accessor -> family(timed, accessor))
                    : invoke(timed, method, arguments));
  }

  Backend backend() {
    return backend;
  }

  /// What was noted since the last call of [#clear], by kernel.
  Map<String, Row> rows() {
    return Map.copyOf(rows);
  }

  void clear() {
    rows.clear();
  }

  private Object family(Backend timed, Method accessor) {
    try {
      Object kernels = accessor.invoke(timed);
      return proxy(
          accessor.getReturnType(),
          (unused, method, arguments) -> {
            long started = System.nanoTime();
            Object result = invoke(kernels, method, arguments);
            note(method, arguments, (System.nanoTime() - started) / 1e9);
            return result;
          });
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

  private void note(Method method, Object[] arguments, double seconds) {
    List<Tensor> tensors =
        Arrays.stream(arguments == null ? new Object[0] : arguments)
            .filter(Tensor.class::isInstance)
            .map(Tensor.class::cast)
            .toList();
    String kernel = method.getName();
    if (Memory.class.isAssignableFrom(method.getDeclaringClass())) {
      kernel = "memory " + kernel;
    } else if (shapes) {
      kernel +=
          tensors.stream()
              .map(tensor -> tensor.shape().toString())
              .collect(Collectors.joining(" ", " ", ""));
    }
    double bytes = tensors.stream().mapToDouble(Tensor::bytes).sum();
    rows.merge(kernel, new Row(kernel, 1, seconds, flops(method, tensors), bytes), Row::plus);
  }

  private static double flops(Method method, List<Tensor> tensors) {
    List<Shape> shapes = tensors.stream().map(Tensor::shape).toList();
    return switch (method.getName()) {
      case "conv2d" -> products(shapes.getLast(), shapes.get(1));
      case "conv2dDataGradient" -> products(shapes.get(0), shapes.get(1));
      case "conv2dWeightGradient" -> products(shapes.get(1), shapes.get(2));
      case "linear" -> products(shapes.getLast(), shapes.get(1));
      case "linearDataGradient" -> products(shapes.get(0), shapes.get(1));
      case "linearWeightGradient" -> products(shapes.get(1), shapes.get(2));
      case "selfAttention" -> 2 * scores(shapes.get(1));
      case "selfAttentionGradient" -> 5 * scores(shapes.get(1));
      default -> 0;
    };
  }

  /// Every output is a sum of one product for each weight of its channel.
  private static double products(Shape output, Shape weight) {
    return 2.0 * output.elements() * weight.elements() / weight.dim(0);
  }

  /// One product of queries with keys, `(N, ..., C)`.
  private static double scores(Shape mixed) {
    double tokens = (double) mixed.elements() / mixed.dim(0) / mixed.last();
    return 2 * mixed.elements() * tokens;
  }
}
