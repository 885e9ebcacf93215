package io.retort.cli;

import java.util.LinkedHashMap;
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
      console.json(MethodCard.ALL.stream().map(MethodsCommand::json).toList());
      return ExitStatus.SUCCESS;
    }
    var table = new TextTable("method", "what", "paper", "recipe", "evidence");
    for (MethodCard card : MethodCard.ALL) {
      table.row(card.name(), card.title(), card.paper(), card.recipe(), card.evidence());
    }
    console.print(table.text());
    return ExitStatus.SUCCESS;
  }

  private static Map<String, Object> json(MethodCard card) {
    var json = new LinkedHashMap<String, Object>();
    json.put("name", card.name());
    json.put("title", card.title());
    json.put("paper", card.paper());
    json.put("recipe", card.recipe());
    json.put("evidence", card.evidence());
    return json;
  }
}
