package io.retort.op;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.SequencedMap;
import java.util.function.Supplier;

/// Every op class with its contract cases: what `retort ops` lists and OpContractTest runs.
public final class OpCatalog {

  /// Names are asked for at every step.
  private static final ClassValue<String> NAMES =
      new ClassValue<>() {
        @Override
        protected String computeValue(Class<?> op) {
          return op.getSimpleName()
              .replaceAll("(?<=[a-z0-9])(?=[A-Z])", "_")
              .toLowerCase(Locale.ROOT);
        }
      };

  private OpCatalog() {}

  /// Lower-case name with underscores of an op class.
  static String name(Class<? extends Op> op) {
    return NAMES.get(op);
  }

  /// Op classes in alphabetical order, each with a supplier of its cases.
  public static SequencedMap<Class<? extends Op>, Supplier<List<Case>>> cases() {
    SequencedMap<Class<? extends Op>, Supplier<List<Case>>> cases = new LinkedHashMap<>();
    cases.put(Activation.class, Activation::cases);
    cases.put(Add.class, Add::cases);
    cases.put(AddNoise.class, AddNoise::cases);
    cases.put(Affine.class, Affine::cases);
    cases.put(Attention.class, Attention::cases);
    cases.put(Augment.class, Augment::cases);
    cases.put(Broadcast.class, Broadcast::cases);
    cases.put(Cast.class, Cast::cases);
    cases.put(Concat.class, Concat::cases);
    cases.put(Conv2d.class, Conv2d::cases);
    cases.put(CrossEntropy.class, CrossEntropy::cases);
    cases.put(Dropout.class, Dropout::cases);
    cases.put(EdmInput.class, EdmInput::cases);
    cases.put(EdmLoss.class, EdmLoss::cases);
    cases.put(EdmOutput.class, EdmOutput::cases);
    cases.put(Fourier.class, Fourier::cases);
    cases.put(GroupNorm.class, GroupNorm::cases);
    cases.put(LayerNorm.class, LayerNorm::cases);
    cases.put(Linear.class, Linear::cases);
    cases.put(Lookup.class, Lookup::cases);
    cases.put(MatMul.class, MatMul::cases);
    cases.put(Mmd.class, Mmd::cases);
    cases.put(Multiply.class, Multiply::cases);
    cases.put(Pad.class, Pad::cases);
    cases.put(Permute.class, Permute::cases);
    cases.put(Pool.class, Pool::cases);
    cases.put(Reduce.class, Reduce::cases);
    cases.put(Resample.class, Resample::cases);
    cases.put(Reshape.class, Reshape::cases);
    cases.put(ScoreDifference.class, ScoreDifference::cases);
    cases.put(SelfAttention.class, SelfAttention::cases);
    cases.put(SidLoss.class, SidLoss::cases);
    cases.put(Sinusoid.class, Sinusoid::cases);
    cases.put(Slice.class, Slice::cases);
    cases.put(Softmax.class, Softmax::cases);
    return cases;
  }
}
