/// The native contract of Retort and its Java face; the only module that touches native memory.
module io.retort.bindings {
  requires static transitive org.jspecify;

  exports io.retort.bindings;
  exports io.retort.bindings.cpu;
  exports io.retort.bindings.cuda;
}
