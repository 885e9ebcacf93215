package io.retort.report;

import io.retort.bindings.cpu.NativeLibrary;
import io.retort.op.Backend;
import java.lang.module.ModuleDescriptor;
import java.util.LinkedHashMap;
import java.util.SequencedMap;

/// What a run runs on: enough to explain a number that another machine does not reproduce.
public final class Environment {

  private Environment() {}

  /// Version of Retort, backend, processor, Java and system, in the order to show them.
  public static SequencedMap<String, Object> of(Backend backend) {
    SequencedMap<String, Object> facts = new LinkedHashMap<>();
    facts.put("retort", version());
    facts.put("backend", backend.name());
    facts.put("device", backend.description());
    facts.put("cpu", NativeLibrary.cpu().model());
    facts.put("cores", (long) NativeLibrary.cpu().cores());
    facts.put("isa", NativeLibrary.isa());
    facts.put("threads", (long) NativeLibrary.defaultThreads());
    facts.put("java", Runtime.version().toString());
    facts.put("vm", System.getProperty("java.vm.name", ""));
    facts.put("os", System.getProperty("os.name", "") + " " + System.getProperty("os.version", ""));
    return facts;
  }

  private static String version() {
    ModuleDescriptor module = Environment.class.getModule().getDescriptor();
    return module == null
        ? "development"
        : module.version().map(ModuleDescriptor.Version::toString).orElse("development");
  }
}
