package io.retort.backend;

import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/// One call of a kernel in a JDK Flight Recorder file.
@Name("io.retort.Kernel")
@Label("Kernel")
@Category("Retort")
@StackTrace(false)
final class KernelEvent extends Event {
  @Label("Family")
  final String family;

  @Label("Kernel")
  final String kernel;

  KernelEvent(String family, String kernel) {
    this.family = family;
    this.kernel = kernel;
  }
}
