package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Dense;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.tensor.DType;
import io.retort.tensor.ShapeException;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// A pool of small discriminators on the feature maps of a network: `count` heads on every map, of
/// which a caller lets one look.
///
/// A head is `[conv4x4 stride 2, norm, SiLU]`, once where it keeps a map of logits, until nothing
/// is left to halve where it gives one logit; heads in turn see the whole, places, and places
/// without being told the class. The class enters as the inner product of its embedding with the
/// mean features. Sources: Chen et al. 2024 (NitroFusion, arXiv 2412.02030); the class after Miyato
/// & Koyama 2018; sizes are ours.
///
/// @param maps finest first
/// @param classes 0 if nothing is told the class
/// @param width channels of every convolution, a multiple of 4
/// @param count heads on every map
public record FeatureHeads(List<FeatureMap> maps, int classes, int width, int count)
    implements Net {
  private static final double EPS = 1e-5;

  /// What a head looks at.
  private enum Sight {
    WHOLE,
    PLACES,
    PLACES_UNTOLD;

    static Sight of(int head) {
      return values()[head % values().length];
    }
  }

  /// A convolution by the side it works on.
  private record Stage(Conv conv, Norm norm) {}

  public FeatureHeads {
    maps = List.copyOf(maps);
    if (maps.isEmpty() || width < 4 || width % 4 != 0 || count < 1 || classes < 0) {
      throw new ShapeException(
          "heads: there must be a map, a width that is a multiple of 4 and at least one head, got"
              + " %d maps, width %d, %d heads".formatted(maps.size(), width, count));
    }
  }

  @Override
  public void declare(Plan plan) {
    for (int map = 0; map < maps.size(); map++) {
      for (int head = 0; head < count; head++) {
        for (Stage stage : stages(map, head)) {
          stage.conv.declare(plan);
          stage.norm.declare(plan);
        }
        logit(map, head).declare(plan);
        if (told(head)) {
          embedding(map, head).declare(plan);
        }
      }
    }
  }

  /// Logits `(N, places)` of one head on every map; large means real.
  ///
  /// @param features `(N, side, side, channels)` of every map
  /// @param labels one-hot `(N, classes)`, null without classes
  /// @param chosen which head looks at each map
  public List<Var> apply(
      Tape tape, Parameters parameters, List<Var> features, @Nullable Var labels, int... chosen) {
    if (features.size() != maps.size() || chosen.length != maps.size()) {
      throw new ShapeException(
          "heads: there must be features and a head for each of %d maps, got %d and %d"
              .formatted(maps.size(), features.size(), chosen.length));
    }
    List<Var> logits = new ArrayList<>();
    for (int map = 0; map < maps.size(); map++) {
      logits.add(look(tape, parameters, features.get(map), labels, map, chosen[map]));
    }
    return logits;
  }

  private Var look(
      Tape tape, Parameters parameters, Var features, @Nullable Var labels, int map, int head) {
    Var h = features;
    for (Stage stage : stages(map, head)) {
      h = stage.norm.silu(tape, parameters, stage.conv.apply(tape, parameters, h));
    }
    long samples = features.shape().dim(0);
    Var places = logit(map, head).apply(tape, parameters, h);
    places = places.reshape(samples, places.shape().elements() / samples);
    if (labels == null || !told(head)) {
      return places;
    }
    Var named = embedding(map, head).apply(tape, parameters, labels.cast(h.value().dtype()));
    Var agreement =
        h.mean(1, 2).cast(DType.F32).mul(named.cast(DType.F32)).sum(1).reshape(samples, 1);
    return places.cast(DType.F32).addBroadcast(agreement);
  }

  /// Beginning of the names of a head's weights.
  public static String prefix(int map, int head) {
    return "map" + map + ".head" + head + ".";
  }

  /// The part of a weight's name that says whose it is.
  public static String prefix(String weight) {
    return weight.substring(0, weight.lastIndexOf('.', weight.lastIndexOf('.') - 1) + 1);
  }

  private boolean told(int head) {
    return classes > 0 && Sight.of(head) != Sight.PLACES_UNTOLD;
  }

  private List<Stage> stages(int map, int head) {
    List<Stage> stages = new ArrayList<>();
    int side = maps.get(map).side();
    int most = Sight.of(head) == Sight.WHOLE ? Integer.MAX_VALUE : 1;
    for (int i = 0; i == 0 || (i < most && side >= 4); i++) {
      int in = i == 0 ? maps.get(map).channels() : width;
      String name = prefix(map, head) + "conv" + i;
      Conv conv =
          side >= 2 ? Conv.plain(name, in, width, 4, 2, 1) : Conv.plain(name, in, width, 1, 1, 0);
      stages.add(new Stage(conv, Norm.edm(prefix(map, head) + "norm" + i, width, EPS)));
      side = side >= 2 ? (side - 2) / 2 + 1 : side;
    }
    return stages;
  }

  /// One number from what is left of a whole map, or from every place of it.
  private Conv logit(int map, int head) {
    int left = maps.get(map).side();
    for (Stage stage : stages(map, head)) {
      left = stage.conv.kernel() == 4 ? (left - 2) / 2 + 1 : left;
    }
    int kernel = Sight.of(head) == Sight.WHOLE ? left : 1;
    return Conv.plain(prefix(map, head) + "logit", width, 1, kernel, 1, 0);
  }

  private Dense embedding(int map, int head) {
    return Dense.plain(prefix(map, head) + "embedding", classes, width).withoutBias();
  }
}
