package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Plan;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Scope;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/// Several networks of one structure, each for its part of the classes: the class of an image says
/// which one is asked.
///
/// Part i of K has the classes from `i classes / K` on, as many as every other part. The denoiser
/// sends images to their expert, because it knows the classes before they are tensors. Source:
/// multi-student distillation, Song et al. 2024 (arXiv 2410.23274).
///
/// @param expert the structure of each; it knows all classes
/// @param parts K, which divides the classes
public record ClassExperts(DiffusionNet expert, int parts) implements DiffusionNet {
  private static final String PREFIX = "experts.%d.";

  public ClassExperts {
    if (parts < 1 || expert.classes() % parts != 0 || expert.classes() == 0) {
      throw new IllegalArgumentException(
          "experts: parts must divide the classes, got %d parts of %d classes"
              .formatted(parts, expert.classes()));
    }
  }

  /// Classes of a part.
  public int classesEach() {
    return expert.classes() / parts;
  }

  /// The images whose classes belong to a part.
  public int[] rows(int[] labels, int part) {
    return IntStream.range(0, labels.length)
        .filter(i -> Math.floorDiv(labels[i], classesEach()) == part)
        .toArray();
  }

  /// The weights of one expert under its own names; freed with `scope`.
  public Parameters weights(Scope scope, Parameters all, int part) {
    return all.part(scope, PREFIX.formatted(part));
  }

  @Override
  public void declare(Plan plan) {
    for (int part = 0; part < parts; part++) {
      plan.include(PREFIX.formatted(part), expert.plan());
    }
  }

  @Override
  public int resolution() {
    return expert.resolution();
  }

  @Override
  public int imageChannels() {
    return expert.imageChannels();
  }

  @Override
  public int classes() {
    return expert.classes();
  }

  /// No expert is asked without a class.
  @Override
  public boolean hasNullClass() {
    return false;
  }

  @Override
  public Var apply(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout) {
    throw new IllegalArgumentException(
        "experts: a model of several students is a choice of networks, not one that can be traced;"
            + " keep it as safetensors");
  }
}
