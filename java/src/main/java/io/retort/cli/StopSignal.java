package io.retort.cli;

import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BooleanSupplier;

/// Turns the first SIGINT, SIGTERM or SIGHUP into a wish to stop; a second one ends the process at
/// once.
///
/// A shutdown hook could save too, but the JVM ignores further signals while one runs.
/// `sun.misc.Signal` is the only other way, and javac lets nobody name it under `-Werror`, hence
/// the reflection. A signal that the parent process has switched off (`nohup`) stays off.
final class StopSignal implements BooleanSupplier, AutoCloseable {
  private static final List<String> SIGNALS = List.of("INT", "TERM", "HUP");

  private final Console console;
  private final AtomicBoolean received = new AtomicBoolean();
  private final Map<Object, Object> previous = new LinkedHashMap<>();

  StopSignal(Console console) {
    this.console = console;
    try {
      Class<?> handlerType = Class.forName("sun.misc.SignalHandler");
      Object handler =
          Proxy.newProxyInstance(
              StopSignal.class.getClassLoader(), new Class<?>[] {handlerType}, this::invoked);
      for (String name : SIGNALS) {
        Object signal =
            Class.forName("sun.misc.Signal").getConstructor(String.class).newInstance(name);
        previous.put(signal, handle(signal, handler));
      }
    } catch (ReflectiveOperationException missing) {
      throw new IllegalStateException("this JDK has no module jdk.unsupported", missing);
    }
  }

  /// Whether a signal has come.
  @Override
  public boolean getAsBoolean() {
    return received.get();
  }

  private Object invoked(Object proxy, Method method, Object[] arguments) {
    return switch (method.getName()) {
      case "hashCode" -> System.identityHashCode(proxy);
      case "equals" -> proxy == arguments[0];
      case "toString" -> "stop signal handler";
      default -> {
        received();
        yield proxy;
      }
    };
  }

  private void received() {
    if (received.getAndSet(true)) {
      // Files appear whole or not at all, so nothing that was saved can be lost here.
      Runtime.getRuntime().halt(ExitStatus.FAILURE);
    }
    console.note("stopping after this step and saving; a second signal aborts");
  }

  private static Object handle(Object signal, Object handler) throws ReflectiveOperationException {
    return signal
        .getClass()
        .getMethod("handle", signal.getClass(), Class.forName("sun.misc.SignalHandler"))
        .invoke(null, signal, handler);
  }

  /// Puts the earlier handlers back.
  @Override
  public void close() {
    previous.forEach((signal, handler) -> {
      try {
        handle(signal, handler);
      } catch (ReflectiveOperationException e) {
        throw new IllegalStateException(e);
      }
    });
  }
}
