package io.retort.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Strict JSON (RFC 8259) in and out, for the small documents Retort keeps beside its tensors.
///
/// Parsing yields `Map<String, Object>` in document order, `List<Object>`, `String`, `Long` for an
/// integer literal, `Double` for any other number, `Boolean` and `null`. Duplicate keys, trailing
/// text, a byte order mark, comments and lone surrogates are refused; size and nesting are capped,
/// so a hostile document costs no more than its own length. For documents too large to hold as a
/// tree read them with a [JsonReader].
///
/// Writing keeps the order of the maps it is given. NaN and infinities, which JSON cannot say,
/// become `null`.
public final class Json {
  private static final int MAX_BYTES = 16 << 20;
  private static final int MAX_DEPTH = 64;
  private static final int MAX_NAMES = 1 << 18;
  private static final int MAX_VALUES = 1 << 21;

  private Json() {}

  /// Parses a document of at most 16 MiB.
  ///
  /// @throws JsonException if it is not strict JSON or exceeds a cap
  public static @Nullable Object parse(String text) {
    return parse(text.getBytes(StandardCharsets.UTF_8));
  }

  /// Parses a UTF-8 document of at most 16 MiB.
  ///
  /// @throws JsonException if it is not strict JSON or exceeds a cap
  public static @Nullable Object parse(byte[] utf8) {
    if (utf8.length > MAX_BYTES) {
      throw new JsonException(
          "the document has %d bytes, more than %d".formatted(utf8.length, MAX_BYTES));
    }
    var reader = new JsonReader(utf8, MAX_DEPTH, MAX_NAMES);
    Object value = new TreeBuilder(reader).value();
    reader.end();
    return value;
  }

  /// Parses a document whose top level must be an object.
  ///
  /// @throws JsonException if it is anything else
  public static Map<String, @Nullable Object> parseObject(String text) {
    if (parse(text) instanceof Map<?, ?> map) {
      @SuppressWarnings("unchecked") // the tree builder only makes maps of this type
      var object = (Map<String, @Nullable Object>) map;
      return object;
    }
    throw new JsonException("the document must be an object");
  }

  /// One line without white space; maps in their own order.
  public static String write(@Nullable Object value) {
    var out = new StringBuilder();
    append(new JsonWriter(out, false), value);
    return out.toString();
  }

  /// Two spaces of indent, short arrays of scalars on one line, a line feed at the end.
  public static String writeIndented(@Nullable Object value) {
    var out = new StringBuilder();
    append(new JsonWriter(out, true), value);
    return out.append('\n').toString();
  }

  /// As [#writeIndented(Object)] into `out`, value by value: maps and lists that make what they
  /// hold when they are asked are never held as a whole.
  public static void writeIndented(Appendable out, @Nullable Object value) throws IOException {
    new JsonWriter(out, true).append(value, 0);
    out.append('\n');
  }

  /// Appends `text` as a JSON string; what is not ASCII stays as it is, a lone surrogate becomes
  /// U+FFFD.
  public static void quote(StringBuilder out, String text) {
    append(new JsonWriter(out, false), text);
  }

  /// For a writer into memory.
  private static void append(JsonWriter writer, @Nullable Object value) {
    try {
      writer.append(value, 0);
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
  }

  /// Recursion is bounded by the reader's depth cap, memory by `MAX_VALUES`.
  private static final class TreeBuilder {
    private final JsonReader reader;
    private int values;

    TreeBuilder(JsonReader reader) {
      this.reader = reader;
    }

    @Nullable Object value() {
      if (++values > MAX_VALUES) {
        throw new JsonException("more than %d values".formatted(MAX_VALUES));
      }
      return switch (reader.peek()) {
        case OBJECT -> object();
        case ARRAY -> array();
        case STRING -> reader.string();
        case NUMBER -> reader.number();
        case BOOLEAN -> reader.bool();
        case NULL -> {
          reader.nil();
          yield null;
        }
      };
    }

    private Map<String, @Nullable Object> object() {
      var map = new LinkedHashMap<String, @Nullable Object>();
      reader.beginObject();
      while (reader.hasNext()) {
        String name = reader.name();
        map.put(name, value());
      }
      reader.endObject();
      return map;
    }

    private List<@Nullable Object> array() {
      var list = new ArrayList<@Nullable Object>();
      reader.beginArray();
      while (reader.hasNext()) {
        list.add(value());
      }
      reader.endArray();
      return list;
    }
  }

  /// A document that is not strict JSON, or is not what its reader expected; the message is a
  /// clause without a capital.
  public static final class JsonException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public JsonException(String message) {
      super(message);
    }
  }
}
