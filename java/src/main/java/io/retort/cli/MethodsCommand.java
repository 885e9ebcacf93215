package io.retort.cli;

import io.retort.distill.MethodKind;
import io.retort.distill.Methods;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/// `retort methods`: every method with its paper, its recipe and its evidence.
@Command(description = "The methods a recipe can name, with papers, recipes and evidence.")
@SuppressWarnings("NullAway.Init") // picocli fills mixins before the call
final class MethodsCommand implements Callable<Integer> {
  private final Console console;

  @Mixin private CommonOptions common;

  MethodsCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    if (common.json()) {
      console.json(Methods.ALL.stream().map(MethodsCommand::json).toList());
      return ExitStatus.SUCCESS;
    }
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
    return ExitStatus.SUCCESS;
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
    return json;
  }
}
