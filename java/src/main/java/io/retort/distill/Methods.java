package io.retort.distill;

import java.util.List;
import java.util.Optional;

/// Every method there is. A new one is a file with a [MethodKind] and a line here.
public final class Methods {
  public static final List<MethodKind<?>> ALL =
      List.of(
          EdmTraining.KIND,
          FlowTraining.KIND,
          Dmd2.KIND,
          DiffInstruct.KIND,
          Sid.KIND,
          Dmd.KIND,
          ConsistencyModel.KIND,
          ContinuousConsistency.KIND,
          Gdd.KIND,
          SwiftBrush.KIND,
          GroupReward.KIND,
          MultiStudent.KIND,
          TwinFlow.KIND,
          NitroFusion.KIND,
          Adm.KIND,
          Snoopi.KIND,
          FlashDmd.KIND,
          UniDad.KIND,
          ClassifierTraining.KIND);

  private Methods() {}

  /// The method of a name.
  public static Optional<MethodKind<?>> named(String name) {
    return ALL.stream()
        .<MethodKind<?>>map(kind -> kind)
        .filter(kind -> kind.name().equals(name))
        .findFirst();
  }

  /// Names in order.
  public static List<String> names() {
    return ALL.stream().map(MethodKind::name).toList();
  }

  /// Names of the methods with this goal, in order.
  public static List<String> names(MethodKind.Goal goal) {
    return ALL.stream().filter(kind -> kind.goal() == goal).map(MethodKind::name).toList();
  }
}
