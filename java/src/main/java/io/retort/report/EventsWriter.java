package io.retort.report;

import io.retort.checkpoint.AtomicFile;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.zip.CRC32C;

/// Writes scalars and images as a TensorBoard event file.
///
/// Each record goes to the file in one write, so that TensorBoard can follow a running job; a torn
/// last record is normal for its readers. A file is never appended to: a resumed run opens another
/// one beside it.
///
/// Source: TensorFlow's record format (length, masked CRC-32C, data, masked CRC-32C) and
/// `event.proto`.
public final class EventsWriter implements AutoCloseable {
  private static final String VERSION = "brain.Event:2";
  private static final int MASK_DELTA = 0xa282ead8;
  private static final int RGB = 3;
  private static final int SESSION_START = 1;

  private final Path file;
  private final FileChannel channel;

  private EventsWriter(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /// Starts a new event file in `directory`, which must exist.
  ///
  /// @throws java.io.UncheckedIOException if it cannot be written
  public static EventsWriter open(Path directory, Instant at) {
    EventsWriter writer = create(directory, at);
    writer.append(event(at, 0).text(3, VERSION));
    return writer;
  }

  /// Starts a new event file that makes TensorBoard forget what earlier files say of steps after
  /// `step`.
  public static EventsWriter resume(Path directory, long step, Instant at) {
    EventsWriter writer = open(directory, at);
    writer.append(event(at, step + 1).message(7, new Message().varint(1, SESSION_START)));
    return writer;
  }

  private static EventsWriter create(Path directory, Instant at) {
    for (int attempt = 0; ; attempt++) {
      Path file =
          directory.resolve(
              "events.out.tfevents.%d.retort.%d".formatted(at.getEpochSecond(), attempt));
      try {
        return new EventsWriter(
            file, FileChannel.open(file, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW));
      } catch (FileAlreadyExistsException _) {
        continue;
      } catch (IOException failure) {
        throw AtomicFile.failure(file, failure);
      }
    }
  }

  public Path file() {
    return file;
  }

  /// Records one value of the curve `tag`.
  public void scalar(String tag, long step, double value, Instant at) {
    append(summary(at, step, new Message().text(1, tag).fixed(2, (float) value)));
  }

  /// Records one RGB picture, encoded as PNG.
  public void image(String tag, long step, byte[] png, int height, int width, Instant at) {
    var image = new Message().varint(1, height).varint(2, width).varint(3, RGB).bytes(4, png);
    append(summary(at, step, new Message().text(1, tag).message(4, image)));
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException failure) {
      throw AtomicFile.failure(file, failure);
    }
  }

  private static Message event(Instant at, long step) {
    var event = new Message().fixed(1, at.getEpochSecond() + at.getNano() * 1e-9);
    return step == 0 ? event : event.varint(2, step);
  }

  private static Message summary(Instant at, long step, Message value) {
    return event(at, step).message(5, new Message().message(1, value));
  }

  private void append(Message event) {
    byte[] data = event.toByteArray();
    ByteBuffer record = ByteBuffer.allocate(16 + data.length).order(ByteOrder.LITTLE_ENDIAN);
    record.putLong(data.length);
    record.putInt(maskedCrc(record.array(), 0, 8));
    record.put(data);
    record.putInt(maskedCrc(data, 0, data.length));
    record.flip();
    try {
      while (record.hasRemaining()) {
        channel.write(record);
      }
    } catch (IOException failure) {
      throw AtomicFile.failure(file, failure);
    }
  }

  /// CRC-32C, rotated and shifted so that a checksum stored inside checked data does no harm.
  private static int maskedCrc(byte[] bytes, int from, int count) {
    var crc = new CRC32C();
    crc.update(bytes, from, count);
    return Integer.rotateRight((int) crc.getValue(), 15) + MASK_DELTA;
  }

  /// A protocol buffer message under construction; the first argument is the field number.
  private static final class Message {
    private static final int VARINT = 0;
    private static final int FIXED_64 = 1;
    private static final int LENGTH_DELIMITED = 2;
    private static final int FIXED_32 = 5;

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    Message varint(int field, long value) {
      key(field, VARINT);
      raw(value);
      return this;
    }

    Message fixed(int field, double value) {
      key(field, FIXED_64);
      little(Double.doubleToRawLongBits(value), Double.BYTES);
      return this;
    }

    Message fixed(int field, float value) {
      key(field, FIXED_32);
      little(Float.floatToRawIntBits(value), Float.BYTES);
      return this;
    }

    Message text(int field, String value) {
      return bytes(field, value.getBytes(StandardCharsets.UTF_8));
    }

    Message message(int field, Message value) {
      return bytes(field, value.toByteArray());
    }

    Message bytes(int field, byte[] value) {
      key(field, LENGTH_DELIMITED);
      raw(value.length);
      out.writeBytes(value);
      return this;
    }

    byte[] toByteArray() {
      return out.toByteArray();
    }

    private void key(int field, int wire) {
      raw((long) field << 3 | wire);
    }

    private void raw(long value) {
      long rest = value;
      while ((rest & ~0x7fL) != 0) {
        out.write((int) (rest & 0x7f | 0x80));
        rest >>>= 7;
      }
      out.write((int) rest);
    }

    private void little(long bits, int count) {
      for (int i = 0; i < count; i++) {
        out.write((int) (bits >>> 8 * i));
      }
    }
  }
}
