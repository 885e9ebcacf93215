package io.retort.data;

import io.retort.data.Json.JsonException;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// Pulls one strict JSON document token by token from UTF-8 bytes, building nothing.
///
/// ```java
/// reader.beginObject();
/// while (reader.hasNext()) {
///   String name = reader.name();      // then exactly one value: a scalar, begin.., or skip()
/// }
/// reader.endObject();
/// reader.end();                       // refuses what follows the document
/// ```
///
/// The caller bounds the nesting depth and the number of member names held at once (names of every
/// open object are kept, to refuse duplicates). Integers are read as `long` without passing through
/// `double`. Every refusal is a [JsonException] that names the byte.
public final class JsonReader {

  /// What the next value is.
  public enum Kind {
    OBJECT,
    ARRAY,
    STRING,
    NUMBER,
    BOOLEAN,
    NULL
  }

  private static final int LONGEST_NUMBER = 1024;

  /// Characters of an integer that fits a `long` whatever they are.
  private static final int SAFE_DIGITS = 18;

  private final byte[] utf8;
  private final int maxDepth;
  private final int maxNames;
  private final Deque<Container> open = new ArrayDeque<>();
  private int position;
  private int names;

  /// Reads `utf8`, which is not copied and must not change meanwhile.
  public JsonReader(byte[] utf8, int maxDepth, int maxNames) {
    this.utf8 = utf8;
    this.maxDepth = maxDepth;
    this.maxNames = maxNames;
  }

  /// The kind of the next value, judged by its first byte; consumes only white space.
  public Kind peek() {
    return switch (byteAfterSpace()) {
      case '{' -> Kind.OBJECT;
      case '[' -> Kind.ARRAY;
      case '"' -> Kind.STRING;
      case 't', 'f' -> Kind.BOOLEAN;
      case 'n' -> Kind.NULL;
      case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9' -> Kind.NUMBER;
      case -1 -> throw failure("the document ends where a value must begin");
      default -> throw failure("a value must begin here");
    };
  }

  public void beginObject() {
    begin('{', true);
  }

  public void endObject() {
    end('}');
  }

  public void beginArray() {
    begin('[', false);
  }

  public void endArray() {
    end(']');
  }

  /// Whether the open object or array has another element; consumes the comma before it, so ask
  /// once per element.
  public boolean hasNext() {
    Container container = open.element();
    int next = byteAfterSpace();
    char closing = container.closing();
    if (next == closing) {
      return false;
    }
    if (container.started) {
      if (next != ',') {
        throw failure("',' or '" + closing + "' must be here");
      }
      position++;
      if (byteAfterSpace() == closing) {
        throw failure("a value must follow ','");
      }
    }
    container.started = true;
    return true;
  }

  /// The name of the next member and its colon; the value comes next.
  public String name() {
    Container container = open.element();
    String name = string();
    if (!container.isNew(name)) {
      throw failure("the name \"" + abbreviated(name) + "\" appears twice in one object");
    }
    if (++names > maxNames) {
      throw failure("more than %d names".formatted(maxNames));
    }
    if (byteAfterSpace() != ':') {
      throw failure("':' must follow a name");
    }
    position++;
    return name;
  }

  /// A string value with its escapes resolved.
  public String string() {
    if (byteAfterSpace() != '"') {
      throw failure("a string must be here");
    }
    int start = ++position;
    while (position < utf8.length) {
      byte c = utf8[position];
      if (c == '"') {
        return decoded(start, position++);
      }
      if (c == '\\') {
        return escapedString(start);
      }
      if (c >= 0 && c < 0x20) {
        throw failure("a control character inside a string");
      }
      position++;
    }
    throw failure("the document ends inside a string");
  }

  /// An integer literal that fits a `long`: no fraction, no exponent, no minus zero.
  public long integer() {
    int start = skipNumber();
    if (!isInteger(start)) {
      throw failure("an integer must be here, got " + abbreviated(literal(start)));
    }
    boolean negative = utf8[start] == '-';
    long value = 0;
    try {
      for (int i = negative ? start + 1 : start; i < position; i++) {
        value = Math.subtractExact(Math.multiplyExact(value, 10L), utf8[i] - '0');
      }
      return negative ? value : Math.negateExact(value);
    } catch (ArithmeticException _) {
      throw failure("the integer " + abbreviated(literal(start)) + " exceeds 64 bits");
    }
  }

  /// A `Long` for an integer literal, a finite `Double` for any other number.
  public Number number() {
    int start = skipNumber();
    boolean integer = isInteger(start);
    if (integer && position - start <= SAFE_DIGITS) {
      long value = 0;
      for (int i = utf8[start] == '-' ? start + 1 : start; i < position; i++) {
        value = value * 10 + (utf8[i] - '0');
      }
      return utf8[start] == '-' ? -value : value;
    }
    String literal = literal(start);
    if (integer) {
      try {
        return Long.valueOf(literal);
      } catch (NumberFormatException _) {
        return new BigDecimal(literal).doubleValue();
      }
    }
    double value = Double.parseDouble(literal);
    if (!Double.isFinite(value)) {
      throw failure("the number " + abbreviated(literal) + " exceeds 64 bits");
    }
    return value;
  }

  public boolean bool() {
    boolean value = byteAfterSpace() == 't';
    literal(value ? "true" : "false");
    return value;
  }

  public void nil() {
    byteAfterSpace();
    literal("null");
  }

  /// Passes over one value of any kind, checking all of it.
  public void skip() {
    switch (peek()) {
      case OBJECT -> {
        beginObject();
        while (hasNext()) {
          name();
          skip();
        }
        endObject();
      }
      case ARRAY -> {
        beginArray();
        while (hasNext()) {
          skip();
        }
        endArray();
      }
      case STRING -> string();
      case NUMBER -> skipNumber();
      case BOOLEAN -> bool();
      case NULL -> nil();
    }
  }

  /// Refuses anything but white space after the document.
  public void end() {
    if (byteAfterSpace() != -1) {
      throw failure("nothing may follow the document");
    }
  }

  private void begin(char bracket, boolean object) {
    if (byteAfterSpace() != bracket) {
      throw failure("'" + bracket + "' must be here");
    }
    if (open.size() == maxDepth) {
      throw failure("nested deeper than " + maxDepth);
    }
    position++;
    open.push(new Container(object));
  }

  private void end(char bracket) {
    if (byteAfterSpace() != bracket) {
      throw failure("'" + bracket + "' must be here");
    }
    position++;
    names -= open.pop().names();
  }

  private int byteAfterSpace() {
    while (position < utf8.length) {
      byte c = utf8[position];
      if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
        return c & 0xff;
      }
      position++;
    }
    return -1;
  }

  /// The rest of a string from its first backslash on.
  private String escapedString(int start) {
    var text = new StringBuilder();
    int run = start;
    while (position < utf8.length) {
      byte c = utf8[position];
      if (c == '"') {
        text.append(decoded(run, position++));
        return text.toString();
      }
      if (c >= 0 && c < 0x20) {
        throw failure("a control character inside a string");
      }
      if (c == '\\') {
        text.append(decoded(run, position));
        position++;
        text.appendCodePoint(escape());
        run = position;
      } else {
        position++;
      }
    }
    throw failure("the document ends inside a string");
  }

  private int escape() {
    int c = position < utf8.length ? utf8[position++] : -1;
    return switch (c) {
      case '"', '\\', '/' -> c;
      case 'b' -> '\b';
      case 'f' -> '\f';
      case 'n' -> '\n';
      case 'r' -> '\r';
      case 't' -> '\t';
      case 'u' -> unicodeEscape();
      default -> throw failure("an unknown escape inside a string");
    };
  }

  private int unicodeEscape() {
    char first = fourHexDigits();
    if (!Character.isSurrogate(first)) {
      return first;
    }
    if (Character.isHighSurrogate(first)
        && position + 1 < utf8.length
        && utf8[position] == '\\'
        && utf8[position + 1] == 'u') {
      position += 2;
      char second = fourHexDigits();
      if (Character.isLowSurrogate(second)) {
        return Character.toCodePoint(first, second);
      }
    }
    throw failure("a lone surrogate inside a string");
  }

  private char fourHexDigits() {
    int value = 0;
    for (int i = 0; i < 4; i++) {
      byte c = position < utf8.length ? utf8[position++] : -1;
      int digit = c < 0 ? -1 : Character.digit((char) c, 16);
      if (digit < 0) {
        throw failure("\\u must be followed by four hexadecimal digits");
      }
      value = value << 4 | digit;
    }
    return (char) value;
  }

  private String decoded(int start, int end) {
    boolean ascii = true;
    for (int i = start; i < end && ascii; i++) {
      ascii = utf8[i] >= 0;
    }
    if (ascii) {
      return new String(utf8, start, end - start, StandardCharsets.ISO_8859_1);
    }
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .decode(ByteBuffer.wrap(utf8, start, end - start))
          .toString();
    } catch (CharacterCodingException _) {
      throw failure("a string that is not UTF-8");
    }
  }

  /// Passes over a number; yields where it began.
  private int skipNumber() {
    if (peek() != Kind.NUMBER) {
      throw failure("a number must be here");
    }
    int start = position;
    if (utf8[position] == '-') {
      position++;
    }
    if (position < utf8.length && utf8[position] == '0') {
      position++;
    } else {
      digits();
    }
    if (position < utf8.length && utf8[position] == '.') {
      position++;
      digits();
    }
    if (position < utf8.length && (utf8[position] | 0x20) == 'e') {
      position++;
      if (position < utf8.length && (utf8[position] == '+' || utf8[position] == '-')) {
        position++;
      }
      digits();
    }
    if (position - start > LONGEST_NUMBER) {
      throw failure("a number of more than %d characters".formatted(LONGEST_NUMBER));
    }
    return start;
  }

  /// The text from `start` to here.
  private String literal(int start) {
    return new String(utf8, start, position - start, StandardCharsets.US_ASCII);
  }

  private void digits() {
    int start = position;
    while (position < utf8.length && utf8[position] >= '0' && utf8[position] <= '9') {
      position++;
    }
    if (position == start) {
      throw failure("a digit must be here");
    }
  }

  /// Whether the number from `start` to here has neither fraction nor exponent and is not minus
  /// zero.
  private boolean isInteger(int start) {
    for (int i = start; i < position; i++) {
      if (utf8[i] != '-' && (utf8[i] < '0' || utf8[i] > '9')) {
        return false;
      }
    }
    return position - start != 2 || utf8[start] != '-' || utf8[start + 1] != '0';
  }

  private void literal(String word) {
    for (int i = 0; i < word.length(); i++, position++) {
      if (position >= utf8.length || utf8[position] != word.charAt(i)) {
        throw failure("'" + word + "' must be here");
      }
    }
  }

  private static String abbreviated(String text) {
    String printable = text.replaceAll("\\p{Cntrl}", "?");
    return printable.length() <= 60 ? printable : printable.substring(0, 57) + "...";
  }

  private JsonException failure(String what) {
    return new JsonException(what + " (at byte " + position + ")");
  }

  /// An open object or array.
  private static final class Container {
    /// Most objects have few names: those are looked through, more are hashed.
    private static final int FEW = 8;

    final boolean object;
    private final List<String> few = new ArrayList<>(0);
    private @Nullable Set<String> many;
    boolean started;

    Container(boolean object) {
      this.object = object;
    }

    /// Whether no member before had this name; remembers it.
    boolean isNew(String name) {
      if (many != null) {
        return many.add(name);
      }
      if (few.contains(name)) {
        return false;
      }
      few.add(name);
      if (few.size() > FEW) {
        many = new HashSet<>(few);
      }
      return true;
    }

    int names() {
      return many != null ? many.size() : few.size();
    }

    char closing() {
      return object ? '}' : ']';
    }
  }
}
