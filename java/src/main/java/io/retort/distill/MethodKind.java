package io.retort.distill;

import static java.util.Objects.requireNonNull;

import io.retort.data.DataCard;
import io.retort.net.DiffusionNet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// A method before it has networks: how recipes name it, with which numbers, and how it is made of
/// them. The file of the method declares it; [Methods] lists all.
///
/// Recipes, `retort methods`, reports and controls are derived from it.
///
/// @param <S> its numbers: a record of plain values and records of them, the section of a recipe
///   under its name; refuses wrong ones with an [IllegalArgumentException] that names the key. A
///   student's implement [Distillation]
/// @param name as recipes spell it
/// @param goal what comes out
/// @param title what it is, in one line
/// @param paper where it comes from
/// @param recipes those of `recipes/` that use it, the first one to begin with
/// @param evidence where its numbers stand, or that there are none yet
/// @param defaults its numbers where a recipe states none
/// @param maker makes the method
/// @param ablations what to leave out to see what it is worth
public record MethodKind<S extends Record>(
    String name,
    Goal goal,
    String title,
    String paper,
    List<String> recipes,
    String evidence,
    S defaults,
    Maker<S> maker,
    Ablations<S> ablations) {

  public MethodKind {
    recipes = List.copyOf(recipes);
    if ((goal == Goal.STUDENT) != (defaults instanceof Distillation)) {
      throw new IllegalArgumentException(
          "method %s: the numbers of a student, and no others, implement Distillation"
              .formatted(name));
    }
  }

  /// What a run with the method leaves behind.
  public enum Goal {
    TEACHER,
    STUDENT,
    METRIC_NET
  }

  /// Makes a method of its numbers.
  @FunctionalInterface
  public interface Maker<S> {
    Method make(S settings, Inputs inputs);
  }

  /// Settings inside the method's section that switch one of its ideas off, as `key=value`, by the
  /// name of the control, the idea that sets its recipe apart first; empty where nothing would be
  /// left.
  @FunctionalInterface
  public interface Ablations<S> {
    SequencedMap<String, String> of(S settings);

    /// For methods of one idea.
    static <S> Ablations<S> none() {
      return settings -> new LinkedHashMap<>();
    }
  }

  /// What a method is made for.
  ///
  /// @param data the images
  /// @param network the teacher's structure, null for a metric net
  /// @param sigmaData standard deviation of the data, of the teacher's preconditioning
  /// @param steps length of the run
  public record Inputs(
      DataCard data, @Nullable DiffusionNet network, double sigmaData, long steps) {

    /// The structure of the teacher, of its student and of a critic.
    DiffusionNet teacher() {
      return requireNonNull(network, "a method without a teacher asked for one");
    }
  }

  /// The method with these numbers.
  ///
  /// @param settings of the class of [#defaults]
  public Method make(Record settings, Inputs inputs) {
    return maker.make(cast(settings), inputs);
  }

  /// The controls of these numbers.
  public SequencedMap<String, String> controls(Record settings) {
    return ablations.of(cast(settings));
  }

  /// The numbers as what they are.
  public S cast(Record settings) {
    @SuppressWarnings("unchecked")
    Class<S> type = (Class<S>) defaults.getClass();
    return type.cast(settings);
  }
}
