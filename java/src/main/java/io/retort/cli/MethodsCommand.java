package io.retort.cli;

import io.retort.data.Printable;
import io.retort.distill.MethodKind;
import io.retort.distill.Methods;
import io.retort.recipe.BuiltIn;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// `retort methods`: every method with its paper, its recipe and its evidence; or all that is known
/// of some.
@Command(
    description = {
      "The methods a recipe can name, with papers, recipes and evidence; of the methods named, what"
          + " each",
      "recipe does, how it differs from its paper, what it reached and in which time."
    })
@SuppressWarnings("NullAway.Init") // picocli fills mixins before the call
final class MethodsCommand implements Callable<Integer> {
  private final Console console;

  @Mixin private CommonOptions common;

  @Parameters(arity = "0..*", paramLabel = "METHOD", description = "Methods to tell more of.")
  private List<String> methods = List.of();

  MethodsCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    for (String method : methods) {
      if (!Methods.names().contains(method)) {
        throw new UsageException(
            "there is no method '%s'; the methods are: %s"
                .formatted(Printable.name(method), String.join(", ", Methods.names())));
      }
    }
    List<MethodKind<?>> kinds =
        Methods.ALL.stream()
            .filter(kind -> methods.isEmpty() || methods.contains(kind.name()))
            .toList();
    if (common.json()) {
      console.json(kinds.stream().map(MethodsCommand::json).toList());
    } else if (methods.isEmpty()) {
      list();
    } else {
      kinds.forEach(this::tell);
    }
    return ExitStatus.SUCCESS;
  }

  private void list() {
    var table = new TextTable("method", "what", "paper", "recipes", "evidence");
    for (MethodKind<?> kind : Methods.ALL) {
      table.row(
          kind.name(),
          kind.title(),
          kind.paper(),
          String.join(", ", kind.recipes()),
          kind.evidence());
    }
    console.print(table.text());
  }

  private void tell(MethodKind<?> kind) {
    console.print("%s: %s%n%s%n".formatted(kind.name(), kind.title(), kind.paper()));
    for (String recipe : kind.recipes()) {
      var text = new StringBuilder(command(kind, recipe)).append(System.lineSeparator());
      BuiltIn.notes(recipe)
          .forEach((name, note) -> text.append("  %-10s%s%n".formatted(name, note)));
      console.print(text.toString());
    }
    console.print("more in %s%n".formatted(kind.evidence()));
  }

  private static String command(MethodKind<?> kind, String recipe) {
    String command = kind.goal() == MethodKind.Goal.STUDENT ? "distill" : "train";
    return "retort %s %s".formatted(command, recipe);
  }

  private static Map<String, Object> json(MethodKind<?> kind) {
    var json = new LinkedHashMap<String, Object>();
    json.put("name", kind.name());
    json.put("title", kind.title());
    json.put("paper", kind.paper());
    json.put("recipe", kind.recipes().getFirst());
    json.put("recipes", kind.recipes());
    json.put("goal", kind.goal().name().toLowerCase(Locale.ROOT));
    json.put("evidence", kind.evidence());
    var notes = new LinkedHashMap<String, Object>();
    kind.recipes().forEach(recipe -> notes.put(recipe, BuiltIn.notes(recipe)));
    json.put("notes", notes);
    return json;
  }
}
