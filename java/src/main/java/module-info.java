/// The engine: tensors, autograd, networks, distillation and the command line.
///
/// Packages are listed in the order in which they may import one another.
///
/// EJML has no module descriptor of its own; it serves `io.retort.metrics` alone.
@SuppressWarnings("requires-automatic")
module io.retort {
  requires ejml.core;
  requires ejml.ddense;
  requires info.picocli;
  requires java.desktop;
  requires jdk.jfr;
  requires jdk.unsupported;
  requires org.snakeyaml.engine;
  requires transitive io.retort.bindings;
  requires static transitive org.jspecify;

  exports io.retort.tensor;
  exports io.retort.op;
  exports io.retort.backend;
  exports io.retort.grad;
  exports io.retort.data;
  exports io.retort.nn;
  exports io.retort.net;
  exports io.retort.diffusion;
  exports io.retort.distill;
  exports io.retort.optim;
  exports io.retort.train;
  exports io.retort.checkpoint;
  exports io.retort.metrics;
  exports io.retort.recipe;
  exports io.retort.report;

  opens io.retort.cli to
      info.picocli;
}
