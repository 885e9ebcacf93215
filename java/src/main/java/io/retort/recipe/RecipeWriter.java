package io.retort.recipe;

import io.retort.data.Json;
import io.retort.distill.Methods;
import java.math.BigDecimal;
import java.util.List;
import java.util.Locale;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// Writes every number of a recipe, so that [RecipeReader] makes an equal one of it whatever the
/// defaults become. The numbers of other methods are written only where they are not the defaults.
public final class RecipeWriter {
  /// Words that mean the same in every YAML dialect and need no quotes.
  private static final String PLAIN = "[A-Za-z/.][A-Za-z0-9/._-]*";

  private static final String RESERVED = "(?i)true|false|null|yes|no|on|off|y|n|\\.inf|\\.nan";

  private RecipeWriter() {}

  /// The recipe as YAML.
  public static String yaml(Recipe recipe) {
    StringBuilder out = new StringBuilder();
    SequencedMap<String, @Nullable Object> values = Records.values(recipe);
    Methods.ALL.stream()
        .filter(kind -> !kind.name().equals(recipe.method()))
        .filter(kind -> kind.defaults().equals(values.get(kind.name())))
        .forEach(kind -> values.remove(kind.name()));
    section(out, values, "");
    return out.toString();
  }

  private static void section(
      StringBuilder out, SequencedMap<String, @Nullable Object> values, String indent) {
    values.forEach((key, value) -> {
      out.append(indent).append(key).append(':');
      if (value instanceof Record inner) {
        out.append('\n');
        section(out, Records.values(inner), indent + "  ");
      } else {
        out.append(' ').append(scalar(value)).append('\n');
      }
    });
  }

  private static String scalar(@Nullable Object value) {
    return switch (value) {
      case Double number -> number(number);
      case Enum<?> constant -> constant.name().toLowerCase(Locale.ROOT);
      case List<?> list ->
          list.stream().map(String::valueOf).collect(Collectors.joining(", ", "[", "]"));
      case String text -> text.matches(PLAIN) && !text.matches(RESERVED) ? text : Json.write(text);
      case null, default -> String.valueOf(value);
    };
  }

  /// The shortest decimal that reads back as the same double.
  private static String number(double value) {
    BigDecimal exact = new BigDecimal(Double.toString(value)).stripTrailingZeros();
    String plain = exact.toPlainString();
    return plain.length() <= 8
        ? plain
        : Double.toString(value).replace(".0E", "e").replace('E', 'e');
  }
}
