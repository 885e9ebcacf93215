package io.retort.bench;

import io.retort.bindings.cpu.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/// What it costs to cross from Java into the CPU library and back, with nothing to do there.
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class CallOverheadBenchmark {
  private static final MethodHandle THREADS = NativeLibrary.bind("rt_threads", "p");

  private final long threads = Arena.global().allocate(ValueLayout.JAVA_INT).address();

  /// One downcall that writes four bytes, called as every operation is: static handle, exact types,
  /// raw address.
  @Benchmark
  public int downcall() {
    try {
      return (int) THREADS.invokeExact(threads);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
  }

  /// The same call with its status checked, which is what the typed methods do.
  @Benchmark
  public void checkedDowncall() {
    NativeLibrary.check(downcall(), "rt_threads");
  }
}
