package io.retort.data;

import io.retort.data.Json.JsonException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

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
  private final JsonText text;
  private final int maxDepth;
  private final int maxNames;
  private final int maxInner;
  private final boolean checked;

  /// The names of every level that was ever open, and whether each level open now has an element
  /// yet: kept, so that objects that come and go cost nothing.
  private final List<JsonNames> names = new ArrayList<>();

  private final BitSet objects = new BitSet();
  private final BitSet started = new BitSet();
  private int depth;
  private int position;
  private int held;
  private int inner;

  /// Reads `utf8`, which is not copied and must not change meanwhile.
  public JsonReader(byte[] utf8, int maxDepth, int maxNames) {
    this(utf8, maxDepth, maxNames, maxNames);
  }

  /// Reads `utf8`, which is not copied and must not change meanwhile.
  ///
  /// @param maxInner names that may be held at once inside the outermost object's values
  public JsonReader(byte[] utf8, int maxDepth, int maxNames, int maxInner) {
    this(utf8, new JsonText(utf8), maxDepth, maxNames, maxInner, false);
  }

  private JsonReader(
      byte[] utf8, JsonText text, int maxDepth, int maxNames, int maxInner, boolean checked) {
    this.utf8 = utf8;
    this.text = text;
    this.maxDepth = maxDepth;
    this.maxNames = maxNames;
    this.maxInner = maxInner;
    this.checked = checked;
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
    char closing = objects.get(depth - 1) ? '}' : ']';
    int next = byteAfterSpace();
    if (next == closing) {
      return false;
    }
    if (started.get(depth - 1)) {
      if (next != ',') {
        throw failure("',' or '" + closing + "' must be here");
      }
      position++;
      if (byteAfterSpace() == closing) {
        throw failure("a value must follow ','");
      }
    }
    started.set(depth - 1);
    return true;
  }

  /// The name of the next member and its colon; the value comes next.
  public String name() {
    return text(nameToken());
  }

  /// As [#name], but yields where the name stands, for [#text] and [#is]; makes nothing.
  public int nameToken() {
    int token = stringToken();
    if (!checked) {
      if (!names.get(depth - 1).add(token)) {
        throw failure(
            "the name \"" + Printable.name(text(token)) + "\" appears twice in one object");
      }
      inner += depth > 1 ? 1 : 0;
      if (++held > maxNames || inner > maxInner) {
        throw failure("more than %d names".formatted(inner > maxInner ? maxInner : maxNames));
      }
    }
    if (byteAfterSpace() != ':') {
      throw failure("':' must follow a name");
    }
    position++;
    return token;
  }

  /// The names of the open object so far, which stay what they are when it ends.
  public JsonNames names() {
    JsonNames taken = names.get(depth - 1);
    held -= taken.size();
    inner -= depth > 1 ? taken.size() : 0;
    names.set(depth - 1, new JsonNames(text));
    return taken;
  }

  /// A string value with its escapes resolved.
  public String string() {
    return text(stringToken());
  }

  /// As [#string], but yields where the string stands, for [#text] and [#is]; makes nothing.
  public int stringToken() {
    if (byteAfterSpace() != '"') {
      throw failure("a string must be here");
    }
    int start = ++position;
    position = text.end(start) + 1;
    return start;
  }

  /// The name or string at a position that was read before.
  public String text(int token) {
    return text.text(token);
  }

  /// Whether the name or string at a position that was read before is `expected`, which is ASCII.
  public boolean is(int token, String expected) {
    return text.is(token, expected);
  }

  /// The position of the next byte that is no white space.
  public int position() {
    byteAfterSpace();
    return position;
  }

  /// Another reader of this document, which has been read to its end: from a position on, such as
  /// that of a name, without looking for names that appear twice.
  public JsonReader from(int start) {
    JsonReader reader = new JsonReader(utf8, text, maxDepth, maxNames, maxInner, true);
    reader.moveTo(start);
    return reader;
  }

  /// Goes on from another position; for what [#from] gives, outside every value.
  public void moveTo(int start) {
    position = start;
  }

  /// An integer literal that fits a `long`: no fraction, no exponent, no minus zero.
  public long integer() {
    int start = skipNumber();
    if (!isInteger(start)) {
      throw failure("an integer must be here, got " + Printable.name(literal(start)));
    }
    boolean negative = utf8[start] == '-';
    long value = 0;
    try {
      for (int i = negative ? start + 1 : start; i < position; i++) {
        value = Math.subtractExact(Math.multiplyExact(value, 10L), utf8[i] - '0');
      }
      return negative ? value : Math.negateExact(value);
    } catch (ArithmeticException _) {
      throw failure("the integer " + Printable.name(literal(start)) + " exceeds 64 bits");
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
      throw failure("the number " + Printable.name(literal) + " exceeds 64 bits");
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
          nameToken();
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
      case STRING -> stringToken();
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
    if (depth == maxDepth) {
      throw failure("nested deeper than " + maxDepth);
    }
    position++;
    if (!checked && names.size() == depth) {
      names.add(new JsonNames(text));
    }
    objects.set(depth, object);
    started.clear(depth);
    depth++;
  }

  private void end(char bracket) {
    if (byteAfterSpace() != bracket) {
      throw failure("'" + bracket + "' must be here");
    }
    position++;
    depth--;
    if (!checked) {
      JsonNames closed = names.get(depth);
      held -= closed.size();
      inner -= depth > 0 ? closed.size() : 0;
      closed.clear();
    }
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

  private JsonException failure(String what) {
    return new JsonException(what + " (at byte " + position + ")");
  }
}
