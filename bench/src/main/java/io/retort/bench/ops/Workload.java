package io.retort.bench.ops;

import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import java.util.List;
import java.util.Map;

/// Something to time: an op, or a step of an optimizer, with its inputs.
interface Workload {

  /// What it is in a few words, with its sizes: `conv2d 3x3 256-256 32x32`.
  String name();

  /// The goal it is measured for: `G4a`.
  String goal();

  /// Element type of activations.
  DType precision();

  /// The calls to time, with inputs in `scope`: the same numbers on every backend.
  ///
  /// @param precision of activations; what is not [#precision] is for comparison, and its inputs
  ///   are nevertheless rounded to it
  List<Trial> trials(Backend backend, Scope scope, DType precision);

  /// The same with a few elements, for the emulator.
  Workload small();

  /// What a peer needs to know to do the same.
  Map<String, Object> description();
}
