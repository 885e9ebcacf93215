package io.retort.bindings.cpu;

import io.retort.bindings.NativeLinkError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/// The processor this process runs on and the instruction sets of the library that it can run, best
/// first.
///
/// Read from `/proc/cpuinfo`, because the answer is needed before any native code of ours may run.
public record Cpu(String model, int cores, Set<String> flags, List<String> isas) {

  private static final Set<String> BASE =
      Set.of("cx16", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3");
  private static final Set<String> AVX2 =
      Set.of("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave");
  private static final Set<String> AVX512 =
      Set.of("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl");

  public Cpu {
    flags = Set.copyOf(flags);
    isas = List.copyOf(isas);
  }

  /// The processor of this machine.
  ///
  /// @throws NativeLinkError if this is not 64-bit x86 Linux
  public static Cpu detect() {
    var system = System.getProperty("os.name");
    var architecture = System.getProperty("os.arch");
    if (!system.equals("Linux") || !architecture.equals("amd64")) {
      throw new NativeLinkError(
          "The CPU library runs on Linux on x86-64, this is " + system + " on " + architecture);
    }
    try {
      return parse(Files.readAllLines(Path.of("/proc/cpuinfo")));
    } catch (IOException e) {
      throw new NativeLinkError("The processor's features cannot be read from /proc/cpuinfo", e);
    }
  }

  /// Whether it multiplies bfloat16 in hardware; elsewhere the library widens it to float32, which
  /// is slower than float32 alone.
  public boolean multipliesBfloat16() {
    return flags.contains("avx512_bf16");
  }

  static Cpu parse(List<String> lines) {
    var flags = new TreeSet<>(List.of(field(lines, "flags").split(" ")));
    var isas = new ArrayList<String>();
    if (flags.containsAll(BASE)) {
      isas.add("base");
      if (flags.containsAll(AVX2)) {
        isas.addFirst("avx2");
        if (flags.containsAll(AVX512)) {
          isas.addFirst("avx512");
        }
      }
    }
    return new Cpu(
        field(lines, "model name"), Runtime.getRuntime().availableProcessors(), flags, isas);
  }

  private static String field(List<String> lines, String name) {
    return lines.stream()
        .filter(line -> line.startsWith(name) && line.indexOf(':') > 0)
        .map(line -> line.substring(line.indexOf(':') + 1).strip())
        .findFirst()
        .orElse("unknown");
  }
}
