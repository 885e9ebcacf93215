package io.retort.checkpoint;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/// Writes PyTorch files as `torch.save` does, from maps, lists, texts, numbers, [Arguments] and
/// [View]s.
public final class TorchSample {
  private final Map<String, byte[]> storages = new LinkedHashMap<>();
  private final ByteArrayOutputStream code = new ByteArrayOutputStream();

  public TorchSample() {}

  /// A float32 tensor: a part of the storage `key`.
  public record View(String key, long elements, long offset, long[] shape, long[] stride) {}

  /// What a training script was called with: an `argparse.Namespace`.
  public record Arguments(Map<?, ?> values) {}

  /// The bytes of a storage, float32.
  public TorchSample storage(String key, float... values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    storages.put(key, bytes.array());
    return this;
  }

  /// The raw bytes of a storage of any type.
  public TorchSample storage(String key, byte[] bytes) {
    storages.put(key, bytes);
    return this;
  }

  /// A tensor with a storage of its own, in C order.
  public View tensor(String key, float[] values, long... shape) {
    storage(key, values);
    var stride = new long[shape.length];
    long step = 1;
    for (int axis = shape.length - 1; axis >= 0; axis--) {
      stride[axis] = step;
      step *= shape[axis];
    }
    return new View(key, values.length, 0, shape, stride);
  }

  /// Writes `root` and the storages.
  public Path write(Path file, Object root) {
    code.reset();
    bytes(0x80, 2);
    value(root);
    bytes('.');
    return writeCode(file, code.toByteArray());
  }

  /// Writes any pickle beside the storages.
  public Path writeCode(Path file, byte[] pickle) {
    try (var zip = new ZipOutputStream(Files.newOutputStream(file))) {
      store(zip, "archive/data.pkl", pickle);
      store(zip, "archive/byteorder", "little".getBytes(StandardCharsets.US_ASCII));
      for (var storage : storages.entrySet()) {
        store(zip, "archive/data/" + storage.getKey(), storage.getValue());
      }
      return file;
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  private static void store(ZipOutputStream zip, String name, byte[] content) throws IOException {
    var entry = new ZipEntry(name);
    var crc = new CRC32();
    crc.update(content);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(content.length);
    entry.setCrc(crc.getValue());
    zip.putNextEntry(entry);
    zip.write(content);
    zip.closeEntry();
  }

  private void value(Object value) {
    switch (value) {
      case Map<?, ?> map -> {
        bytes('c');
        ascii("collections\nOrderedDict\n");
        bytes(')', 'R', '(');
        map.forEach((key, inner) -> {
          value(key);
          value(inner);
        });
        bytes('u');
        bytes('}');
        text("_metadata");
        bytes('}', 's', 'b');
      }
      case List<?> list -> {
        bytes(']', '(');
        list.forEach(this::value);
        bytes('e');
      }
      case Arguments(Map<?, ?> values) -> {
        bytes('c');
        ascii("argparse\nNamespace\n");
        bytes(')', 0x81, '}', '(');
        values.forEach((key, inner) -> {
          value(key);
          value(inner);
        });
        bytes('u', 'b');
      }
      case String text -> text(text);
      case Long number -> integer(number);
      case Double number -> {
        bytes('G');
        code.writeBytes(ByteBuffer.allocate(8).putDouble(number).array());
      }
      case View view -> view(view);
      default -> throw new IllegalArgumentException("no pickle for " + value);
    }
  }

  private void view(View view) {
    bytes('c');
    ascii("torch._utils\n_rebuild_tensor_v2\n");
    bytes('(', '(');
    text("storage");
    bytes('c');
    ascii("torch\nFloatStorage\n");
    text(view.key);
    text("cpu");
    integer(view.elements);
    bytes('t', 'Q');
    integer(view.offset);
    numbers(view.shape);
    numbers(view.stride);
    bytes(0x89, 'c');
    ascii("collections\nOrderedDict\n");
    bytes(')', 'R', 't', 'R');
  }

  private void numbers(long[] numbers) {
    bytes('(');
    for (long number : numbers) {
      integer(number);
    }
    bytes('t');
  }

  private void integer(long number) {
    bytes(0x8a, 8);
    code.writeBytes(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(number).array());
  }

  private void text(String text) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    bytes('X');
    code.writeBytes(
        ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(utf8.length).array());
    code.writeBytes(utf8);
  }

  private void ascii(String text) {
    code.writeBytes(text.getBytes(StandardCharsets.US_ASCII));
  }

  private void bytes(int... values) {
    for (int value : values) {
      code.write(value);
    }
  }
}
