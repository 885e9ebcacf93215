package io.retort.op;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.function.Supplier;

/// Every op class with its contract cases: what `retort ops` lists and OpContractTest runs.
public final class OpCatalog {

  private OpCatalog() {}

  /// Op classes in alphabetical order, each with a supplier of its cases.
  public static SequencedMap<Class<? extends Op>, Supplier<List<Case>>> cases() {
    SequencedMap<Class<? extends Op>, Supplier<List<Case>>> cases = new LinkedHashMap<>();
    // one line an op, alphabetical: cases.put(GroupNorm.class, GroupNorm::cases);
    return cases;
  }
}
