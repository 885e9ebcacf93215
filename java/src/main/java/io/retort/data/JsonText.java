package io.retort.data;

import io.retort.data.Json.JsonException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.ThreadLocalRandom;
import org.jspecify.annotations.Nullable;

/// The strings of one JSON document, each named by where its first character stands.
///
/// Strings are checked, hashed and compared where they lie, so that a document of many names costs
/// no memory for them; [#text] makes a `String` of one. Checking, hashing and [#equal] are for one
/// thread, [#text] and [#is] for any number.
final class JsonText {
  private static final int CHUNK = 256;

  private final byte[] utf8;

  /// Odd, and different every time, so that no document can be made of names with equal hashes.
  private final long multiplier = ThreadLocalRandom.current().nextLong() | 1;

  private byte[] first = {};
  private byte[] second = {};
  private @Nullable CharsetDecoder decoder;
  private @Nullable CharBuffer chars;

  JsonText(byte[] utf8) {
    this.utf8 = utf8;
  }

  /// Checks the string that begins at `start`; yields where its closing quote is.
  int end(int start) {
    boolean ascii = true;
    for (int at = start; at < utf8.length; at++) {
      byte c = utf8[at];
      if (c == '"') {
        if (!ascii) {
          requireUtf8(start, at);
        }
        return at;
      }
      if (c == '\\') {
        at += escapeLength(at) - 1;
      } else if (c >= 0 && c < 0x20) {
        throw failure("a control character inside a string", at);
      }
      ascii &= c >= 0;
    }
    throw failure("the document ends inside a string", utf8.length);
  }

  private void requireUtf8(int start, int end) {
    if (decoder == null || chars == null) {
      decoder = StandardCharsets.UTF_8.newDecoder();
      chars = CharBuffer.allocate(CHUNK);
    }
    decoder.reset();
    ByteBuffer bytes = ByteBuffer.wrap(utf8, start, end - start);
    while (true) {
      var result = decoder.decode(bytes, chars.clear(), true);
      if (result.isError()) {
        throw failure("a string that is not UTF-8", end);
      }
      if (result.isUnderflow()) {
        return;
      }
    }
  }

  /// Characters of the escape at `at`, which is checked.
  private int escapeLength(int at) {
    int c = at + 1 < utf8.length ? utf8[at + 1] : -1;
    return switch (c) {
      case '"', '\\', '/', 'b', 'f', 'n', 'r', 't' -> 2;
      case 'u' -> {
        char high = fourHexDigits(at + 2);
        if (!Character.isSurrogate(high)) {
          yield 6;
        }
        if (Character.isHighSurrogate(high)
            && at + 7 < utf8.length
            && utf8[at + 6] == '\\'
            && utf8[at + 7] == 'u'
            && Character.isLowSurrogate(fourHexDigits(at + 8))) {
          yield 12;
        }
        throw failure("a lone surrogate inside a string", at);
      }
      default -> throw failure("an unknown escape inside a string", at);
    };
  }

  /// The character that the checked escape at `at` stands for.
  private int escaped(int at) {
    return switch (utf8[at + 1]) {
      case 'b' -> '\b';
      case 'f' -> '\f';
      case 'n' -> '\n';
      case 'r' -> '\r';
      case 't' -> '\t';
      case 'u' -> {
        char high = fourHexDigits(at + 2);
        yield Character.isSurrogate(high)
            ? Character.toCodePoint(high, fourHexDigits(at + 8))
            : high;
      }
      default -> utf8[at + 1];
    };
  }

  private char fourHexDigits(int from) {
    int value = 0;
    for (int at = from; at < from + 4; at++) {
      byte c = at < utf8.length ? utf8[at] : -1;
      int digit = c < 0 ? -1 : Character.digit((char) c, 16);
      if (digit < 0) {
        throw failure("\\u must be followed by four hexadecimal digits", at);
      }
      value = value << 4 | digit;
    }
    return (char) value;
  }

  /// A checked string with its escapes resolved.
  String text(int start) {
    int at = plainEnd(start);
    if (utf8[at] == '"') {
      return plain(start, at);
    }
    var text = new StringBuilder(plain(start, at));
    while (utf8[at] != '"') {
      text.appendCodePoint(escaped(at));
      int run = at + escapeLength(at);
      at = plainEnd(run);
      text.append(plain(run, at));
    }
    return text.toString();
  }

  /// Where the run of characters from `at` on ends that stand for themselves.
  private int plainEnd(int at) {
    int end = at;
    while (utf8[end] != '"' && utf8[end] != '\\') {
      end++;
    }
    return end;
  }

  private String plain(int start, int end) {
    return new String(utf8, start, end - start, StandardCharsets.UTF_8);
  }

  /// Whether the checked string at `start` is `expected`, whose UTF-8 bytes are `bytes`.
  boolean is(int start, String expected, byte[] bytes) {
    for (int i = 0; ; i++) {
      byte c = utf8[start + i];
      if (c == '\\') {
        return text(start).equals(expected);
      }
      if (c == '"' || i == bytes.length) {
        return c == '"' && i == bytes.length;
      }
      if (c != bytes[i]) {
        return false;
      }
    }
  }

  /// Whether the checked string at `start` is `expected`, which is ASCII.
  boolean is(int start, String expected) {
    int at = start;
    for (int i = 0; ; i++) {
      boolean ends = utf8[at] == '"';
      if (ends || i == expected.length()) {
        return ends && i == expected.length();
      }
      boolean escape = utf8[at] == '\\';
      if ((escape ? escaped(at) : utf8[at]) != expected.charAt(i)) {
        return false;
      }
      at += escape ? escapeLength(at) : 1;
    }
  }

  /// Whether two checked strings are the same.
  boolean equal(int one, int other) {
    for (int i = 0; ; i++) {
      byte a = utf8[one + i];
      byte b = utf8[other + i];
      if (a == '\\' || b == '\\') {
        first = roomFor(first, one);
        second = roomFor(second, other);
        int length = decode(one, first);
        return length == decode(other, second)
            && Arrays.equals(first, 0, length, second, 0, length);
      }
      if (a != b || a == '"') {
        return a == b;
      }
    }
  }

  /// Equal for strings that are.
  int hash(int start) {
    int end = plainEnd(start);
    if (utf8[end] == '"') {
      return hash(utf8, start, end);
    }
    first = roomFor(first, start);
    return hash(first, 0, decode(start, first));
  }

  int hash(byte[] bytes) {
    return hash(bytes, 0, bytes.length);
  }

  private int hash(byte[] bytes, int from, int to) {
    long hash = multiplier;
    for (int i = from; i < to; i++) {
      hash = (hash ^ bytes[i]) * multiplier;
      hash ^= hash >>> 32;
    }
    return (int) (hash * multiplier >>> 32);
  }

  /// A string takes no more bytes than its escaped form.
  private byte[] roomFor(byte[] scratch, int start) {
    int end = start;
    while (utf8[end] != '"') {
      end += utf8[end] == '\\' ? escapeLength(end) : 1;
    }
    return scratch.length >= end - start ? scratch : new byte[end - start];
  }

  /// Writes a checked string as UTF-8 without its escapes; yields its length.
  private int decode(int start, byte[] into) {
    int length = 0;
    for (int at = start; utf8[at] != '"'; ) {
      if (utf8[at] == '\\') {
        length = encode(escaped(at), into, length);
        at += escapeLength(at);
      } else {
        into[length++] = utf8[at++];
      }
    }
    return length;
  }

  private static int encode(int codePoint, byte[] into, int at) {
    int extra = codePoint < 0x80 ? 0 : codePoint < 0x800 ? 1 : codePoint < 0x10000 ? 2 : 3;
    int mark = extra == 0 ? 0 : 0xff << 7 - extra;
    into[at] = (byte) (mark | codePoint >> 6 * extra);
    for (int i = 1; i <= extra; i++) {
      into[at + i] = (byte) (0x80 | codePoint >> 6 * (extra - i) & 0x3f);
    }
    return at + 1 + extra;
  }

  private static JsonException failure(String what, int at) {
    return new JsonException(what + " (at byte " + at + ")");
  }
}
