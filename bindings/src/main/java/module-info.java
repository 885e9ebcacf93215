/// The native contract of Retort and its Java face; the only module that touches native memory.
///
/// JCuda and JCublas have no module descriptors of their own; they serve `io.retort.bindings.jcuda`
/// alone.
@SuppressWarnings("requires-automatic")
module io.retort.bindings {
  requires jcublas;
  requires jcuda;
  requires static transitive org.jspecify;

  exports io.retort.bindings;
  exports io.retort.bindings.cpu;
  exports io.retort.bindings.cuda;
  exports io.retort.bindings.jcuda;
}
