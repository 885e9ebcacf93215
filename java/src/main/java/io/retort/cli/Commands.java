package io.retort.cli;

import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.function.Function;

/// The commands by name. Naming one here does not load its class; [Main] creates only what is
/// called.
final class Commands {

  /// @param name as typed
  /// @param summary one line of the overview
  /// @param create makes the command, which picocli fills and [Main] calls
  record Entry(
      String name, String summary, Function<Console, ? extends Callable<Integer>> create) {}

  static final List<Entry> ALL =
      List.of(
          new Entry(
              "distill",
              "turns a teacher into a one-step student (the main job)",
              DistillCommand::new),
          new Entry("train", "trains a teacher, or a metric net, from a recipe", TrainCommand::new),
          new Entry("resume", "continues a run exactly where it stopped", ResumeCommand::new),
          new Entry("sample", "generates images from a model", SampleCommand::new),
          new Entry("denoise", "one forward pass D(x; sigma) on your arrays", DenoiseCommand::new),
          new Entry("export", "writes a model for ONNX Runtime or others", ExportCommand::new),
          new Entry("eval", "measures a model against data, with the floor", EvalCommand::new),
          new Entry("compare", "runs side by side: quality by steps and time", CompareCommand::new),
          new Entry(
              "inspect",
              "lists what a file holds, whatever its format, safely",
              InspectCommand::new),
          new Entry("data", "data sets: list, fetch, show", DataCommand::new),
          new Entry("methods", "the methods: papers, recipes, evidence", MethodsCommand::new),
          new Entry("ops", "the ops of each backend; --check proves them", OpsCommand::new),
          new Entry(
              "doctor", "what this machine offers, and what would be used", DoctorCommand::new));

  private Commands() {}

  static Optional<Entry> find(String name) {
    return ALL.stream().filter(entry -> entry.name().equals(name)).findFirst();
  }
}
