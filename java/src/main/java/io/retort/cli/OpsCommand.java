package io.retort.cli;

import io.retort.grad.OpContract;
import io.retort.op.Backend;
import io.retort.op.Case;
import io.retort.op.Op;
import io.retort.op.OpCatalog;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// `retort ops`: the support table; with `--check` every number in it is proven on this machine.
@Command(
    description = {
      "Lists every op with its contract cases. With --check each case is run on the device and"
          + " held",
      "to a float64 reference: shapes, outputs, gradients, repeatability, leaks."
    })
@SuppressWarnings("NullAway.Init") // picocli fills mixins before the call
final class OpsCommand implements Callable<Integer> {
  private final Console console;

  @Option(names = "--check", description = "Run the contract of every op and case.")
  private boolean check;

  @Option(
      names = "--filter",
      paramLabel = "TEXT[,TEXT]",
      description = "Only ops whose name contains one of these, such as norm.")
  private String filter = "";

  @Mixin private DeviceOption device;
  @Mixin private CommonOptions common;

  OpsCommand(Console console) {
    this.console = console;
  }

  /// How one op fared.
  ///
  /// @param passed cases that kept the contract, null if they were not run
  private record Row(String op, List<Case> cases, @Nullable Integer passed) {
    String types() {
      return cases.stream()
          .flatMap(c -> c.inputs().stream())
          .map(input -> input.dtype().name().toLowerCase(Locale.ROOT))
          .distinct()
          .sorted()
          .collect(Collectors.joining(", "));
    }

    boolean covered() {
      return passed != null && passed > 0 && passed == cases.size();
    }

    Map<String, Object> json(String backend) {
      var json = new LinkedHashMap<String, Object>();
      json.put("op", op);
      json.put("backend", backend);
      json.put("cases", cases.size());
      json.put("types", types());
      if (passed != null) {
        json.put("passed", passed);
      }
      return json;
    }
  }

  @Override
  public Integer call() {
    device.validate();
    SequencedMap<String, List<Case>> ops = chosen();
    return check ? check(ops) : list(ops);
  }

  private SequencedMap<String, List<Case>> chosen() {
    SequencedMap<String, List<Case>> chosen = new LinkedHashMap<>();
    OpCatalog.cases()
        .forEach((type, cases) -> {
          String name = name(type, cases.get());
          if (Arrays.stream(filter.split(",", -1)).anyMatch(name::contains)) {
            chosen.put(name, cases.get());
          }
        });
    if (chosen.isEmpty()) {
      throw new UsageException("--filter %s: no op has that in its name".formatted(filter));
    }
    return chosen;
  }

  private static String name(Class<? extends Op> type, List<Case> cases) {
    return cases.isEmpty() ? type.getSimpleName() : cases.getFirst().op().name();
  }

  private int list(SequencedMap<String, List<Case>> ops) {
    List<Row> rows = new ArrayList<>();
    ops.forEach((name, cases) -> rows.add(new Row(name, cases, null)));
    if (common.json()) {
      console.json(rows.stream().map(row -> row.json(device.name())).toList());
    } else {
      var table = new TextTable("op", "types", ">cases");
      rows.forEach(row -> table.row(row.op(), row.types(), row.cases().size()));
      console.print(
          table.text()
              + "%n%d ops, %d cases; `retort ops --check` runs them%n"
                  .formatted(rows.size(), rows.stream().mapToInt(r -> r.cases().size()).sum()));
    }
    return ExitStatus.SUCCESS;
  }

  private int check(SequencedMap<String, List<Case>> ops) {
    Backend backend = device.open(console, true);
    int total = ops.values().stream().mapToInt(List::size).sum();
    List<Row> rows = new ArrayList<>();
    List<String> failures = new ArrayList<>();
    int done = 0;
    for (var entry : ops.entrySet()) {
      int passed = 0;
      for (Case each : entry.getValue()) {
        console.progress("%d of %d cases  %s".formatted(++done, total, entry.getKey()));
        List<String> broken = new OpContract(each).check(backend);
        passed += broken.isEmpty() ? 1 : 0;
        broken.forEach(
            what -> failures.add("%s, %s: %s".formatted(entry.getKey(), each.name(), what)));
      }
      rows.add(new Row(entry.getKey(), entry.getValue(), passed));
    }
    report(backend.name(), rows, failures);
    device.profile(console);
    if (!failures.isEmpty()) {
      throw new IllegalArgumentException(
          "%d of %d cases break the op contract on %s"
              .formatted(broken(rows), total, backend.name()));
    }
    return ExitStatus.SUCCESS;
  }

  private static int broken(List<Row> rows) {
    return rows.stream()
        .mapToInt(r -> r.cases().size() - (r.passed() == null ? 0 : r.passed()))
        .sum();
  }

  private void report(String backend, List<Row> rows, List<String> failures) {
    long covered = rows.stream().filter(Row::covered).count();
    double coverage = 100.0 * covered / rows.size();
    if (common.json()) {
      var json = new LinkedHashMap<String, Object>();
      json.put("backend", backend);
      json.put("coverage_percent", coverage);
      json.put("ops", rows.stream().map(row -> row.json(backend)).toList());
      json.put("failures", failures);
      console.json(json);
      return;
    }
    var table = new TextTable("op", "types", ">" + backend);
    rows.forEach(row -> table.row(row.op(), row.types(), row.passed() + "/" + row.cases().size()));
    var text = new StringBuilder(table.text());
    failures.forEach(failure -> text.append("FAILED ").append(failure).append('\n'));
    text.append(
        "%n%d of %d ops keep the contract on %s: coverage %.1f %%%n"
            .formatted(covered, rows.size(), backend, coverage));
    console.print(text.toString());
  }
}
