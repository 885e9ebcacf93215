package io.retort.recipe;

import io.retort.data.NearestName;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.snakeyaml.engine.v2.common.FlowStyle;
import org.snakeyaml.engine.v2.common.ScalarStyle;
import org.snakeyaml.engine.v2.exceptions.Mark;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;
import org.snakeyaml.engine.v2.nodes.ScalarNode;
import org.snakeyaml.engine.v2.nodes.SequenceNode;
import org.snakeyaml.engine.v2.nodes.Tag;

/// Trees of records as YAML mappings: keys are component names in snake case.
///
/// Components may be records, `int`, `long`, `double`, `boolean`, strings, enums (lower case in
/// YAML), lists of integers, and maps of records, whose keys stand beside those of the record.
final class Records {
  private static final String INTEGER = "[-+]?[0-9]{1,19}";
  private static final String NUMBER = "[-+]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][-+]?[0-9]{1,3})?";

  private Records() {}

  /// A copy of `defaults` with what `node` states.
  ///
  /// @param path key of this record inside the recipe, empty for the recipe itself
  /// @param source file name or option, for messages
  static <R extends Record> R read(R defaults, MappingNode node, String path, String source) {
    SequencedMap<String, @Nullable Object> values = values(defaults);
    Set<String> seen = new HashSet<>();
    for (NodeTuple tuple : node.getValue()) {
      Node at = tuple.getKeyNode();
      String where = where(source, at.getStartMark());
      String key = at instanceof ScalarNode scalar ? scalar.getValue() : "";
      String full = path + key;
      if (!values.containsKey(key)) {
        throw new RecipeException(where, full, NearestName.unknown(key, values.sequencedKeySet()));
      }
      if (!seen.add(key)) {
        throw new RecipeException(where, full, "is given twice");
      }
      values.put(
          key, value(type(defaults, key), values.get(key), tuple.getValueNode(), full, source));
    }
    return create(defaults, values, path, where(source, node.getStartMark()));
  }

  /// The components of a record by YAML key, with their values.
  static SequencedMap<String, @Nullable Object> values(Record source) {
    SequencedMap<String, @Nullable Object> values = new LinkedHashMap<>();
    components(source.getClass())
        .forEach((key, component) -> {
          try {
            Object value = component.getAccessor().invoke(source);
            if (value instanceof SequencedMap<?, ?> sections) {
              sections.forEach((name, section) -> values.put(String.valueOf(name), section));
            } else {
              values.put(key, value);
            }
          } catch (ReflectiveOperationException impossible) {
            throw new IllegalStateException(impossible);
          }
        });
    return values;
  }

  /// The mapping that states one value under a path of keys.
  static MappingNode nested(List<String> path, Node value) {
    Node inner = path.size() == 1 ? value : nested(path.subList(1, path.size()), value);
    Node key = new ScalarNode(Tag.STR, path.getFirst(), ScalarStyle.PLAIN);
    return new MappingNode(Tag.MAP, List.of(new NodeTuple(key, inner)), FlowStyle.BLOCK);
  }

  /// `FILE:LINE`, or the file alone.
  static String where(String source, Optional<Mark> mark) {
    return source.startsWith("--")
        ? source
        : source + mark.map(at -> ":" + (at.getLine() + 1)).orElse("");
  }

  private static Map<String, RecordComponent> components(Class<?> type) {
    Map<String, RecordComponent> components = new LinkedHashMap<>();
    for (RecordComponent component : type.getRecordComponents()) {
      components.put(snakeCase(component.getName()), component);
    }
    return components;
  }

  /// What a value of this key has to be; a record where the key belongs to a map.
  private static Class<?> type(Record of, String key) {
    RecordComponent component = components(of.getClass()).get(key);
    return component == null ? Record.class : component.getType();
  }

  private static String snakeCase(String name) {
    return name.replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
  }

  private static Object value(
      Class<?> type, @Nullable Object before, Node node, String key, String source) {
    String where = where(source, node.getStartMark());
    if (before instanceof Record section) {
      if (node instanceof MappingNode mapping) {
        return read(section, mapping, key + ".", source);
      }
      throw new RecipeException(
          where, key, "is a section with the keys " + String.join(", ", values(section).keySet()));
    }
    if (type == List.class) {
      return integers(node, where, key);
    }
    if (node instanceof ScalarNode scalar) {
      return type.isEnum() ? constant(type, scalar, where, key) : plain(type, scalar, where, key);
    }
    throw new RecipeException(where, key, "must be one value, not a list or a section");
  }

  private static Object plain(Class<?> type, ScalarNode scalar, String where, String key) {
    String text = scalar.getValue();
    if (type == String.class) {
      return text;
    }
    if (type == boolean.class && scalar.isPlain() && text.matches("true|false")) {
      return Boolean.valueOf(text);
    }
    if (type == double.class && scalar.isPlain() && text.matches(NUMBER)) {
      double number = Double.parseDouble(text);
      if (Double.isFinite(number)) {
        return number;
      }
    }
    if ((type == int.class || type == long.class) && scalar.isPlain() && text.matches(INTEGER)) {
      return integer(type, text, where, key);
    }
    String expected =
        type == boolean.class ? "true or false" : type == double.class ? "a number" : "an integer";
    throw new RecipeException(where, key, "must be %s, got \"%s\"".formatted(expected, text));
  }

  private static Object integer(Class<?> type, String text, String where, String key) {
    try {
      long number = Long.parseLong(text);
      if (type == long.class) {
        return number;
      }
      return Math.toIntExact(number);
    } catch (NumberFormatException | ArithmeticException tooLarge) {
      throw new RecipeException(where, key, "is too large: " + text);
    }
  }

  private static Object constant(Class<?> type, ScalarNode scalar, String where, String key) {
    List<String> names = new ArrayList<>();
    for (Object constant : type.getEnumConstants()) {
      String name = ((Enum<?>) constant).name().toLowerCase(Locale.ROOT);
      if (name.equals(scalar.getValue())) {
        return constant;
      }
      names.add(name);
    }
    throw new RecipeException(
        where,
        key,
        "must be one of %s, got \"%s\"".formatted(String.join(", ", names), scalar.getValue()));
  }

  private static List<Integer> integers(Node node, String where, String key) {
    if (!(node instanceof SequenceNode sequence)) {
      throw new RecipeException(where, key, "must be a list of integers such as [1, 2, 2]");
    }
    List<Integer> integers = new ArrayList<>();
    for (Node element : sequence.getValue()) {
      if (!(element instanceof ScalarNode scalar)) {
        throw new RecipeException(where, key, "must be a list of integers such as [1, 2, 2]");
      }
      integers.add((Integer) plain(int.class, scalar, where, key));
    }
    return integers;
  }

  private static <R extends Record> R create(
      R like, SequencedMap<String, @Nullable Object> values, String path, String where) {
    Class<?>[] types =
        Arrays.stream(like.getClass().getRecordComponents())
            .map(RecordComponent::getType)
            .toArray(Class<?>[]::new);
    try {
      @SuppressWarnings("unchecked")
      Class<R> type = (Class<R>) like.getClass();
      return type.getDeclaredConstructor(types).newInstance(arguments(like, values));
    } catch (InvocationTargetException refused) {
      if (refused.getCause() instanceof IllegalArgumentException reason) {
        String section = path.isEmpty() ? "" : path.substring(0, path.length() - 1);
        throw new RecipeException(where, section, String.valueOf(reason.getMessage()));
      }
      throw new IllegalStateException(refused);
    } catch (ReflectiveOperationException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  /// One argument a component: its value, or the values of its keys.
  private static @Nullable Object[] arguments(
      Record like, SequencedMap<String, @Nullable Object> values) {
    List<@Nullable Object> arguments = new ArrayList<>();
    components(like.getClass())
        .forEach((key, component) -> {
          if (component.getType() == SequencedMap.class) {
            SequencedMap<String, @Nullable Object> sections = new LinkedHashMap<>(values);
            sections.keySet().removeAll(components(like.getClass()).keySet());
            arguments.add(sections);
          } else {
            arguments.add(values.get(key));
          }
        });
    return arguments.toArray();
  }
}
