package io.retort.checkpoint;

import io.retort.data.Printable;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;

/// The dict literal at the head of a `.npy` file: `{'descr': '<f4', 'fortran_order': False,
/// 'shape': (3, 4), }`.
///
/// `kind` is one of `b i u f`; `itemBytes` the size of one item.
record NpyHeader(char kind, int itemBytes, boolean bigEndian, boolean fortranOrder, long[] shape) {
  private static final int MAX_RANK = 64;

  /// Parses exactly the three members NumPy writes, in any order.
  static NpyHeader parse(Path file, String text) {
    return new Parser(file, text).parse();
  }

  /// The header of `values` values in C order, little-endian.
  static NpyHeader of(char kind, int itemBytes, long[] shape, int values) {
    if (Arrays.stream(shape).reduce(1, Math::multiplyExact) != values) {
      throw new IllegalArgumentException(
          "%d values do not make the shape %s".formatted(values, Arrays.toString(shape)));
    }
    return new NpyHeader(kind, itemBytes, false, false, shape.clone());
  }

  String typeName() {
    return kind + Integer.toString(itemBytes);
  }

  /// Bytes of data; the parser has checked that the product fits.
  long dataBytes() {
    return Arrays.stream(shape).reduce(itemBytes, (a, b) -> a * b);
  }

  private static final class Parser {
    private final Path file;
    private final String text;
    private int position;

    Parser(Path file, String text) {
      this.file = file;
      this.text = text;
    }

    NpyHeader parse() {
      Set<String> members = new HashSet<>();
      String descr = "";
      boolean fortranOrder = false;
      long[] shape = {};
      expect('{');
      while (!accept('}')) {
        String member = string();
        if (!members.add(member)) {
          throw failure("'" + Printable.name(member) + "' appears twice");
        }
        expect(':');
        switch (member) {
          case "descr" -> descr = descr();
          case "fortran_order" -> fortranOrder = bool();
          case "shape" -> shape = tuple();
          default -> throw failure("'" + Printable.name(member) + "' is not a member");
        }
        if (!accept(',')) {
          expect('}');
          break;
        }
      }
      skipSpace();
      if (position != text.length()) {
        throw failure("nothing may follow the dict");
      }
      if (members.size() != 3) {
        throw failure("needs descr, fortran_order and shape");
      }
      return header(descr, fortranOrder, shape);
    }

    private NpyHeader header(String descr, boolean fortranOrder, long[] shape) {
      String order = descr.isEmpty() ? "" : descr.substring(0, 1);
      String type = "<>|=".contains(order) && !order.isEmpty() ? descr.substring(1) : descr;
      if (type.startsWith("O")) {
        throw failure("holds Python objects, which are never read");
      }
      if (!Set.of("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
          .contains(type)) {
        throw failure("the type '" + Printable.name(descr) + "' is not a plain number");
      }
      boolean nativeBig = ByteOrder.nativeOrder() == ByteOrder.BIG_ENDIAN;
      var header =
          new NpyHeader(
              type.charAt(0),
              type.charAt(1) - '0',
              order.equals(">") || (order.equals("=") && nativeBig),
              fortranOrder,
              shape);
      requirePossible(header);
      return header;
    }

    /// Also refuses shapes whose product overflows behind a zero.
    private void requirePossible(NpyHeader header) {
      try {
        long bytes = header.itemBytes;
        for (long dimension : header.shape) {
          bytes = Math.multiplyExact(bytes, Math.max(dimension, 1));
        }
      } catch (ArithmeticException _) {
        throw failure("the shape " + Arrays.toString(header.shape) + " is impossible");
      }
    }

    private String descr() {
      skipSpace();
      if (position < text.length() && text.charAt(position) == '[') {
        throw failure("holds records, only plain numbers are read");
      }
      return string();
    }

    private String string() {
      skipSpace();
      char quote = position < text.length() ? text.charAt(position) : ' ';
      if (quote != '\'' && quote != '"') {
        throw failure("a string must be here");
      }
      int end = text.indexOf(quote, position + 1);
      if (end < 0) {
        throw failure("a string does not end");
      }
      String string = text.substring(position + 1, end);
      if (string.indexOf('\\') >= 0) {
        throw failure("a string has an escape");
      }
      position = end + 1;
      return string;
    }

    private boolean bool() {
      skipSpace();
      if (text.startsWith("True", position)) {
        position += 4;
        return true;
      }
      if (text.startsWith("False", position)) {
        position += 5;
        return false;
      }
      throw failure("True or False must be here");
    }

    private long[] tuple() {
      var numbers = new long[MAX_RANK];
      int count = 0;
      expect('(');
      while (!accept(')')) {
        if (count == MAX_RANK) {
          throw failure("more than " + MAX_RANK + " dimensions");
        }
        numbers[count++] = natural();
        if (!accept(',')) {
          if (count == 1) {
            throw failure("a shape must be a tuple");
          }
          expect(')');
          break;
        }
      }
      return Arrays.copyOf(numbers, count);
    }

    private long natural() {
      skipSpace();
      int start = position;
      while (position < text.length()
          && text.charAt(position) >= '0'
          && text.charAt(position) <= '9') {
        position++;
      }
      if (position == start || position - start > 18) {
        throw failure("a dimension must be a natural number of at most 18 digits");
      }
      return Long.parseLong(text, start, position, 10);
    }

    private void expect(char c) {
      if (!accept(c)) {
        throw failure("'" + c + "' must be here");
      }
    }

    private boolean accept(char c) {
      skipSpace();
      if (position < text.length() && text.charAt(position) == c) {
        position++;
        return true;
      }
      return false;
    }

    private void skipSpace() {
      while (position < text.length() && " \n\t\r".indexOf(text.charAt(position)) >= 0) {
        position++;
      }
    }

    private CheckpointException failure(String what) {
      return new CheckpointException(
          file, "", "malformed npy header, " + what + " (at character " + position + ")");
    }
  }
}
