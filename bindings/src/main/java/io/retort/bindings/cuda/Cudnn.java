package io.retort.bindings.cuda;

import java.util.List;

/// What there is of cuDNN 9: which version, and whether it has the functions that a convolution
/// through its graph interface would call.
///
/// Nothing of Retort calls them. Its convolutions are implicit products of its own, fused with what
/// stands before and after them; a graph of cuDNN's would have to be proven against a look-alike as
/// cuBLASLt is, and pays for that only with a measurement that says so.
public record Cudnn(VendorLibrary library, String version, int functions) {
  private static final List<String> GRAPH =
      List.of(
          "cudnnCreate",
          "cudnnDestroy",
          "cudnnSetStream",
          "cudnnBackendCreateDescriptor",
          "cudnnBackendDestroyDescriptor",
          "cudnnBackendSetAttribute",
          "cudnnBackendGetAttribute",
          "cudnnBackendFinalize",
          "cudnnBackendExecute");

  /// Asks the library; loads nothing else of it.
  ///
  /// @throws io.retort.bindings.NativeLinkError if it does not even tell its version
  public static Cudnn of(VendorLibrary library) {
    long number = library.ask("cudnnGetVersion");
    return new Cudnn(
        library,
        Cublas.version(number),
        Math.toIntExact(GRAPH.stream().filter(library::has).count()));
  }

  @Override
  public String toString() {
    return "%s (%s), %d of the %d functions of its graph interface"
        .formatted(version, library, functions, GRAPH.size());
  }
}
