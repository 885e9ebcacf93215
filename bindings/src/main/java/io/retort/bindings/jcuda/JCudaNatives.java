package io.retort.bindings.jcuda;

import io.retort.bindings.NativeLinkError;
import io.retort.bindings.NativeStore;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.file.Path;
import jcuda.NativePointerObject;

/// How JCuda's native libraries get into the process, and how its objects get their handles.
final class JCudaNatives {
  private static final VarHandle NATIVE_POINTER = nativePointer();

  private JCudaNatives() {}

  /// JCuda looks for its libraries in the temporary directory and loads what it finds there under a
  /// fixed name: it is given a directory of ours, with the library that the jar of 12.6.0 has.
  ///
  /// @param first the first use of the class that loads them
  /// @throws NativeLinkError if they do not load
  static void load(NativeStore.Resource natives, Runnable first) {
    synchronized (JCudaNatives.class) {
      Path file;
      try {
        file =
            NativeStore.open(
                    JCudaNatives.class.getClassLoader()::getResourceAsStream,
                    natives,
                    System.getenv())
                .unpack(natives.fileName());
      } catch (NativeLinkError e) {
        throw new NativeLinkError("--cuda-binding jcuda: " + e.getMessage(), e);
      }
      var temporary = System.getProperty("java.io.tmpdir");
      System.setProperty("java.io.tmpdir", file.resolveSibling("").toString());
      try {
        first.run();
      } catch (LinkageError e) {
        throw new NativeLinkError("--cuda-binding jcuda: %s cannot be loaded".formatted(file), e);
      } finally {
        System.setProperty("java.io.tmpdir", temporary);
      }
    }
  }

  private static VarHandle nativePointer() {
    try {
      return MethodHandles.privateLookupIn(NativePointerObject.class, MethodHandles.lookup())
          .findVarHandle(NativePointerObject.class, "nativePointer", long.class);
    } catch (ReflectiveOperationException e) {
      throw new NativeLinkError("--cuda-binding jcuda: this is not JCuda 12.6.0", e);
    }
  }

  /// Gives an object the value of a handle or an address.
  static <H extends NativePointerObject> H with(long value, H object) {
    NATIVE_POINTER.set(object, value);
    return object;
  }

  static long value(NativePointerObject object) {
    return (long) NATIVE_POINTER.get(object);
  }
}
