package io.retort.bindings.cuda;

import java.util.Set;
import org.jspecify.annotations.Nullable;

/// A driver call that returned something other than success.
///
/// A kernel runs after its launch has returned, so what it did wrong is reported by a later call;
/// the environment's `RETORT_SYNC=1` makes the launch itself report it.
public final class CudaException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public static final int OUT_OF_MEMORY = 2;
  public static final int NOT_READY = 600;

  private static final int STUB_LIBRARY = 34;
  private static final int UNSUPPORTED_PTX_VERSION = 222;

  /// After these every further call on the context fails alike: illegal address, time-out,
  /// destroyed context, assertion, hardware stack, instruction, alignment, address space and
  /// program counter errors, failed launch.
  private static final Set<Integer> STICKY =
      Set.of(700, 702, 709, 710, 714, 715, 716, 717, 718, 719);

  private final String call;
  private final int status;
  private final String symbol;
  private final String reason;
  private final @Nullable String kernel;

  /// @param call the driver function, as `cuStreamSynchronize`
  /// @param symbol the status by name, as `CUDA_ERROR_ILLEGAL_ADDRESS`
  /// @param reason the driver's own words for it
  public CudaException(String call, int status, String symbol, String reason) {
    this(call, status, symbol, reason, null);
  }

  private CudaException(
      String call, int status, String symbol, String reason, @Nullable String kernel) {
    super(sentence(call, status, symbol, reason, kernel));
    this.call = call;
    this.status = status;
    this.symbol = symbol;
    this.reason = reason;
    this.kernel = kernel;
  }

  private static String sentence(
      String call, int status, String symbol, String reason, @Nullable String kernel) {
    return "%s%s: %s (%s, %d)%s"
        .formatted(
            call,
            kernel == null ? "" : " of " + kernel,
            reason,
            symbol,
            status,
            switch (status) {
              case STUB_LIBRARY ->
                  "; this is the stub that programs are linked with, not the driver";
              case UNSUPPORTED_PTX_VERSION -> "; the driver is older than the kernels, update it";
              default -> STICKY.contains(status) ? "; the device's context is lost" : "";
            });
  }

  public String call() {
    return call;
  }

  public int status() {
    return status;
  }

  /// The status by name.
  public String symbol() {
    return symbol;
  }

  /// The driver's words, with what is known beyond them.
  public String reason() {
    return reason;
  }

  /// The kernel at fault where it is known.
  public @Nullable String kernel() {
    return kernel;
  }

  /// Whether the context is lost: nothing on the device can be read any more, and the process has
  /// to start again.
  public boolean sticky() {
    return STICKY.contains(status);
  }

  /// The same failure with the kernel's name.
  public CudaException in(String name) {
    return like(new CudaException(call, status, symbol, reason, name));
  }

  /// The same failure with more of its reason.
  public CudaException because(String detail) {
    return like(new CudaException(call, status, symbol, reason + "; " + detail, kernel));
  }

  private CudaException like(CudaException other) {
    other.setStackTrace(getStackTrace());
    return other;
  }
}
