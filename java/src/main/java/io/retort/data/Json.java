package io.retort.data;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
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
    append(out, value, -1, 0);
    return out.toString();
  }

  /// Two spaces of indent, short arrays of scalars on one line, a line feed at the end.
  public static String writeIndented(@Nullable Object value) {
    var out = new StringBuilder();
    append(out, value, 0, 0);
    return out.append('\n').toString();
  }

  /// Appends `text` as a JSON string; what is not ASCII stays as it is, a lone surrogate becomes
  /// U+FFFD.
  public static void quote(StringBuilder out, String text) {
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        case '\b' -> out.append("\\b");
        case '\f' -> out.append("\\f");
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        default -> {
          if (c < 0x20) {
            out.append("\\u00").append(Character.forDigit(c >> 4, 16));
            out.append(Character.forDigit(c & 15, 16));
          } else {
            out.append(isLoneSurrogate(text, i) ? '\ufffd' : c);
          }
        }
      }
    }
    out.append('"');
  }

  private static boolean isLoneSurrogate(String text, int i) {
    char c = text.charAt(i);
    if (Character.isHighSurrogate(c)) {
      return i + 1 == text.length() || !Character.isLowSurrogate(text.charAt(i + 1));
    }
    return Character.isLowSurrogate(c)
        && (i == 0 || !Character.isHighSurrogate(text.charAt(i - 1)));
  }

  /// `indent` is the current depth, or -1 for the compact form.
  private static void append(StringBuilder out, @Nullable Object value, int indent, int depth) {
    if (depth > MAX_DEPTH) {
      throw new IllegalArgumentException("value nested deeper than " + MAX_DEPTH);
    }
    switch (value) {
      case null -> out.append("null");
      case String text -> quote(out, text);
      case Boolean flag -> out.append(flag.booleanValue());
      case Double number -> appendFloating(out, number, number.toString());
      case Float number -> appendFloating(out, number, number.toString());
      case Number number -> out.append(number);
      case Enum<?> constant -> quote(out, constant.name().toLowerCase(Locale.ROOT));
      case Map<?, ?> map -> appendMap(out, map, indent, depth);
      case Iterable<?> items -> appendList(out, items, indent, depth);
      case double[] numbers -> appendList(out, boxed(numbers), indent, depth);
      case long[] numbers -> appendList(out, boxed(numbers), indent, depth);
      case int[] numbers -> appendList(out, boxed(numbers), indent, depth);
      default ->
          throw new IllegalArgumentException("no JSON form for " + value.getClass().getName());
    }
  }

  private static void appendFloating(StringBuilder out, double value, String text) {
    out.append(Double.isFinite(value) ? text : "null");
  }

  private static List<Object> boxed(Object array) {
    var list = new ArrayList<Object>();
    for (int i = 0; i < java.lang.reflect.Array.getLength(array); i++) {
      list.add(java.lang.reflect.Array.get(array, i));
    }
    return list;
  }

  private static void appendMap(StringBuilder out, Map<?, ?> map, int indent, int depth) {
    out.append('{');
    String separator = "";
    for (var entry : map.entrySet()) {
      out.append(separator);
      newLine(out, indent, depth + 1);
      quote(out, String.valueOf(entry.getKey()));
      out.append(indent < 0 ? ":" : ": ");
      append(out, entry.getValue(), indent, depth + 1);
      separator = ",";
    }
    if (!map.isEmpty()) {
      newLine(out, indent, depth);
    }
    out.append('}');
  }

  private static void appendList(StringBuilder out, Iterable<?> items, int indent, int depth) {
    boolean broken = false;
    for (Object item : items) {
      broken |= item instanceof Map<?, ?> || item instanceof Iterable<?>;
    }
    out.append('[');
    String separator = "";
    for (Object item : items) {
      out.append(separator);
      if (broken) {
        newLine(out, indent, depth + 1);
      }
      append(out, item, indent, depth + 1);
      separator = indent < 0 || broken ? "," : ", ";
    }
    if (broken) {
      newLine(out, indent, depth);
    }
    out.append(']');
  }

  private static void newLine(StringBuilder out, int indent, int depth) {
    if (indent >= 0) {
      out.append('\n').append("  ".repeat(depth));
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
