package io.retort.distill;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.MethodStepTest;
import org.junit.jupiter.api.Test;

/// Every method of the list is tested.
class MethodsTest {

  @Test
  void namesAreUnique() {
    assertThat(Methods.names()).doesNotHaveDuplicates();
  }

  /// `X` declares its numbers inside itself and has an `XTest` beside this one.
  @Test
  void everyMethodTakesItsSteps() {
    for (MethodKind<?> kind : Methods.ALL) {
      Class<?> method = kind.defaults().getClass().getEnclosingClass();

      assertThat(method).as(kind.name()).isAssignableTo(Method.class);
      assertThat(test(method)).as(kind.name()).isAssignableTo(MethodStepTest.class);
    }
  }

  private static Class<?> test(Class<?> method) {
    try {
      return Class.forName(method.getName() + "Test");
    } catch (ClassNotFoundException missing) {
      throw new AssertionError(method.getName() + "Test is missing", missing);
    }
  }
}
