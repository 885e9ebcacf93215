/// The engine: tensors, autograd, networks, distillation and the command line.
module io.retort {
  requires info.picocli;
  requires java.desktop;
  requires jdk.jfr;
  requires org.snakeyaml.engine.v2;
  requires transitive io.retort.bindings;
  requires static transitive org.jspecify;
}
