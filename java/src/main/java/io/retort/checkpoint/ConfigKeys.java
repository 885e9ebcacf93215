package io.retort.checkpoint;

import io.retort.data.Json;
import io.retort.data.NearestName;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// The keys of a configuration, read one by one with their defaults; [#end] refuses those that were
/// never asked for.
///
/// Every method throws [IllegalArgumentException] that names the key that is wrong.
final class ConfigKeys {
  private static final int LONGEST_SHOWN = 60;

  private final Map<String, @Nullable Object> values;
  private final Set<String> known = new LinkedHashSet<>();

  ConfigKeys(Map<String, @Nullable Object> values) {
    this.values = values;
  }

  private @Nullable Object value(String key) {
    known.add(key);
    return values.get(key);
  }

  boolean has(String key) {
    return value(key) != null;
  }

  /// An integer that must be there.
  int integer(String key, int low, int high) {
    Object value = value(key);
    if (value instanceof Long number && number >= low && number <= high) {
      return number.intValue();
    }
    throw new IllegalArgumentException(
        key + " must be an integer from " + low + " to " + high + ", got " + shown(value));
  }

  int integer(String key, int fallback, int low, int high) {
    return has(key) ? integer(key, low, high) : fallback;
  }

  /// The side of a square that must be there: one integer, or height and width.
  int side(String key, int high) {
    if (value(key) instanceof List<?> sides
        && sides.size() == 2
        && sides.get(0) instanceof Long side
        && side.equals(sides.get(1))
        && side >= 1
        && side <= high) {
      return side.intValue();
    }
    return integer(key, 1, high);
  }

  /// A finite number in `[low, high]`.
  double number(String key, double fallback, double low, double high) {
    Object value = value(key);
    if (value == null) {
      return fallback;
    }
    if (value instanceof Number number
        && number.doubleValue() >= low
        && number.doubleValue() <= high) {
      return number.doubleValue();
    }
    throw new IllegalArgumentException(
        key
            + " must be a number from "
            + text(low)
            + " to "
            + text(high)
            + ", got "
            + shown(value));
  }

  private static String text(double number) {
    return number == Math.rint(number) && Math.abs(number) < 1e6
        ? Long.toString((long) number)
        : Double.toString(number);
  }

  boolean flag(String key, boolean fallback) {
    Object value = value(key);
    if (value == null || value instanceof Boolean) {
      return value == null ? fallback : (Boolean) value;
    }
    throw new IllegalArgumentException(key + " must be true or false, got " + shown(value));
  }

  /// Integers of at least 1.
  List<Integer> integers(String key, List<Integer> fallback, int most, int high) {
    Object value = value(key);
    if (value == null) {
      return fallback;
    }
    if (value instanceof List<?> list
        && list.size() <= most
        && list.stream().allMatch(e -> e instanceof Long n && n >= 1 && n <= high)) {
      return list.stream().map(e -> ((Long) e).intValue()).toList();
    }
    throw new IllegalArgumentException(
        key + " must be a list of at most " + most + " positive integers, got " + shown(value));
  }

  /// Finite numbers, at least one.
  List<Double> numbers(String key, List<Double> fallback, int most) {
    Object value = value(key);
    if (value == null) {
      return fallback;
    }
    if (value instanceof List<?> list && !list.isEmpty() && list.size() <= most) {
      List<Double> numbers = new ArrayList<>();
      for (Object element : list) {
        if (element instanceof Number number && Double.isFinite(number.doubleValue())) {
          numbers.add(number.doubleValue());
        }
      }
      if (numbers.size() == list.size()) {
        return numbers;
      }
    }
    throw new IllegalArgumentException(
        key + " must be a list of 1 to " + most + " numbers, got " + shown(value));
  }

  /// One of a few names.
  String name(String key, String fallback, List<String> names) {
    Object value = value(key);
    if (value == null) {
      return fallback;
    }
    if (value instanceof String text && names.contains(text)) {
      return text;
    }
    String wanted =
        names.size() == 1
            ? '"' + names.getFirst() + '"'
            : "one of \"" + String.join("\", \"", names) + '"';
    throw new IllegalArgumentException(
        key
            + " must be "
            + wanted
            + (value instanceof String text
                ? ", got \"" + text + "\"; the nearest is " + NearestName.of(text, names)
                : ", got " + shown(value)));
  }

  /// A value as it stands in the file, shortened.
  private static String shown(@Nullable Object value) {
    String text = value == null ? "none" : Json.write(value);
    return text.length() <= LONGEST_SHOWN ? text : text.substring(0, LONGEST_SHOWN) + "...";
  }

  /// A constant by its lower-case name.
  <E extends Enum<E>> E constant(String key, E fallback) {
    List<E> constants = List.of(fallback.getDeclaringClass().getEnumConstants());
    List<String> names = constants.stream().map(ConfigKeys::text).toList();
    return constants.get(names.indexOf(name(key, text(fallback), names)));
  }

  /// The name of a constant as configurations spell it.
  static String text(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }

  /// @throws IllegalArgumentException if there is a key that nobody read
  void end() {
    for (String key : values.keySet()) {
      if (!known.contains(key)) {
        throw new IllegalArgumentException("key " + key + " " + NearestName.unknown(key, known));
      }
    }
  }
}
