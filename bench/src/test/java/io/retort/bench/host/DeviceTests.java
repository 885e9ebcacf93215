package io.retort.bench.host;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Set;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.EngineFilter;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary;
import org.junit.platform.launcher.listeners.TestExecutionSummary.Failure;

/// Runs the tests tagged `device` where there is no Maven, and prints one line for each that fails.
///
/// JUnit's own console needs `java.xml`, which is a tenth of what a bundle may weigh.
public final class DeviceTests {
  private static final int FRAMES = 12;

  private DeviceTests() {}

  /// @param arguments the folder of the test classes
  public static void main(String... arguments) {
    var request =
        LauncherDiscoveryRequestBuilder.request()
            .selectors(DiscoverySelectors.selectClasspathRoots(Set.of(Path.of(arguments[0]))))
            .filters(TagFilter.includeTags("device"), EngineFilter.includeEngines("junit-jupiter"))
            .build();
    var listener = new SkipsNamed();
    LauncherFactory.create().execute(request, listener);
    TestExecutionSummary summary = listener.getSummary();
    summary.printFailuresTo(new PrintWriter(System.err, true), FRAMES);
    for (Failure failure : summary.getFailures()) {
      System.out.printf(
          "FAILED %s: %s%n",
          name(failure.getTestIdentifier()),
          String.valueOf(failure.getException()).replaceAll("\\s+", " "));
    }
    System.out.printf(
        "%d passed, %d failed, %d skipped%n",
        summary.getTestsSucceededCount(),
        summary.getTotalFailureCount(),
        summary.getTestsSkippedCount() + summary.getTestsAbortedCount());
    System.exit(
        summary.getTestsSucceededCount() > 0 && summary.getTotalFailureCount() == 0 ? 0 : 1);
  }

  /// Prints why a test was skipped, when it is.
  private static final class SkipsNamed extends SummaryGeneratingListener {
    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
      super.executionSkipped(test, reason);
      System.out.printf("SKIPPED %s: %s%n", name(test), reason);
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
      super.executionFinished(test, result);
      if (result.getStatus() == TestExecutionResult.Status.ABORTED) {
        String reason = result.getThrowable().map(Throwable::getMessage).orElse("no reason given");
        System.out.printf("SKIPPED %s: %s%n", name(test), reason);
      }
    }
  }

  /// `Dmd2Test.cudaTakesTheSameSteps, cudaTakesTheSameSteps()`.
  private static String name(TestIdentifier test) {
    return test.getSource()
        .filter(MethodSource.class::isInstance)
        .map(MethodSource.class::cast)
        .map(source ->
            "%s.%s, %s"
                .formatted(
                    source.getClassName().substring(source.getClassName().lastIndexOf('.') + 1),
                    source.getMethodName(),
                    test.getDisplayName()))
        .orElseGet(test::getDisplayName);
  }
}
