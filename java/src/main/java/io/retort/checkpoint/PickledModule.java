package io.retort.checkpoint;

import java.nio.file.Path;

/// EDM's `network-snapshot-*.pkl`: a pickle of a module together with its source code, which
/// reading would run.
final class PickledModule {
  private static final String REASON =
      "is a pickle, which reading would run as a program; these six lines convert it where Python"
          + " and EDM's code are";

  private static final String CONVERSION =
      """
        import json, pickle
        from safetensors.torch import save_file
        with open("network-snapshot.pkl", "rb") as f:
            net = pickle.load(f)["ema"]
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, "model.safetensors")
        json.dump(dict(net.init_kwargs, precond=type(net).__name__), open("config.json", "w"))
      """;

  private PickledModule() {}

  /// Refuses a file that is called so, before anything beside it is missed.
  static void refuse(Path file) {
    if (file.toString().endsWith(".pkl")) {
      throw refused(file);
    }
  }

  /// The refusal of such a file, with the lines that turn it into `model.safetensors` and
  /// `config.json`.
  static CheckpointException refused(Path file) {
    return new CheckpointException(file, "", REASON, CONVERSION);
  }
}
