package io.retort.net;

import io.retort.CudaUnderTest;
import io.retort.Golden;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Plan;
import io.retort.nn.ResampleConv;
import io.retort.nn.ResampleConv.Sampling;
import io.retort.op.Backend;
import io.retort.op.Sinusoid;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// The block and convolution variants of EDM's networks against the reference implementation.
@Tag("device")
final class UNetBlockGoldenTest {
  private static final List<Double> BOX = List.of(1.0, 1.0);
  private static final List<Double> FIR = List.of(1.0, 3.0, 3.0, 1.0);

  private final Backend backend = CudaUnderTest.orCpu();

  static Stream<UNetBlock> blocks() {
    return Stream.of(
        adm("plain", 16, 16, Sampling.KEEP, 0),
        adm("widen", 16, 24, Sampling.KEEP, 0),
        adm("adm_attn2", 32, 32, Sampling.KEEP, 2),
        new UNetBlock(
            "song_attn1",
            16,
            16,
            24,
            Sampling.KEEP,
            BOX,
            1,
            0,
            false,
            true,
            Math.sqrt(0.5),
            1e-6,
            UNetBlock.Start.SONG),
        adm("down_box", 16, 16, Sampling.DOWN, 0),
        adm("up_box", 16, 16, Sampling.UP, 0),
        song("down_box_proj", Sampling.DOWN, BOX),
        song("up_1331", Sampling.UP, FIR),
        song("down_1331", Sampling.DOWN, FIR));
  }

  private static UNetBlock adm(String name, int in, int out, Sampling sampling, int heads) {
    return new UNetBlock(
        name, in, out, 24, sampling, BOX, heads, 0, true, false, 1, 1e-5, UNetBlock.Start.ADM);
  }

  private static UNetBlock song(String name, Sampling sampling, List<Double> filter) {
    return new UNetBlock(
        name, 16, 16, 24, sampling, filter, 0, 0, false, true, 1, 1e-5, UNetBlock.Start.SONG);
  }

  @ParameterizedTest
  @MethodSource("blocks")
  void blockMatches(UNetBlock block) {
    Plan plan = new Plan();
    block.declare(plan);
    String name = block.name();
    try (Golden golden = Golden.open("blocks");
        Parameters parameters = plan.allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      parameters
          .all()
          .forEach(p ->
              p.value()
                  .set(
                      golden.floats(
                          name
                              + "/w"
                              + p.name().substring(name.length()).replaceFirst("\\.", "/"))));
      Tape tape = new Tape(backend, scope, Set.of(parameters));
      Shape shape = golden.imageShape(name + "/in/x");
      Tensor dx = scope.zeros(shape, DType.F32);
      Tensor demb = scope.zeros(golden.shape(name + "/in/emb"), DType.F32);
      Var x = tape.tracked(scope.of(shape, golden.images(name + "/in/x")), dx);
      Var emb = tape.tracked(scope.of(demb.shape(), golden.floats(name + "/in/emb")), demb);
      Var y = block.apply(tape, parameters, x, emb, null, 0);
      Golden.assertClose("y", y.value().floats(), golden.images(name + "/out/y"), 2e-5, 1e-4);
      tape.backward(y, scope.of(y.shape(), golden.images(name + "/in/cotangent")));
      Golden.assertGradient("x", dx.floats(), golden.images(name + "/g_in/x"));
      Golden.assertGradient("emb", demb.floats(), golden.floats(name + "/g_in/emb"));
      parameters
          .all()
          .forEach(p ->
              Golden.assertGradient(
                  p.name(),
                  p.gradient().floats(),
                  golden.floats(
                      name + "/g" + p.name().substring(name.length()).replaceFirst("\\.", "/"))));
    }
  }

  static Stream<ResampleConv> convolutions() {
    return Stream.of(
        new ResampleConv("conv_fused_down", 8, 12, 3, Sampling.DOWN, FIR, true, 1),
        new ResampleConv("conv_fused_up", 8, 12, 3, Sampling.UP, FIR, true, 1),
        new ResampleConv("conv_down_only", 8, 8, 0, Sampling.DOWN, FIR, false, 1),
        new ResampleConv("conv_up_only", 8, 8, 0, Sampling.UP, FIR, false, 1));
  }

  @ParameterizedTest
  @MethodSource("convolutions")
  void resamplingConvolutionMatches(ResampleConv conv) {
    Plan plan = new Plan();
    conv.declare(plan);
    String name = conv.name();
    try (Golden golden = Golden.open("blocks");
        Parameters parameters = plan.allocate(backend.memory());
        Scope scope = new Scope(backend.memory())) {
      parameters
          .all()
          .forEach(p ->
              p.value().set(golden.floats(name + "/w/" + p.name().substring(name.length() + 1))));
      Tape tape = Tape.inference(backend, scope);
      Var x = tape.constant(golden.imageShape(name + "/in/x"), golden.images(name + "/in/x"));
      Var y = conv.apply(tape, parameters, x);
      Golden.assertClose("y", y.value().floats(), golden.images(name + "/out/y"), 2e-5, 1e-4);
    }
  }

  @Test
  void positionalEmbeddingMatches() {
    try (Golden golden = Golden.open("blocks");
        Scope scope = new Scope(backend.memory())) {
      Tape tape = Tape.inference(backend, scope);
      Var t = tape.constant(golden.shape("posemb/in/t"), golden.floats("posemb/in/t"));
      for (boolean endpoint : List.of(true, false)) {
        Var emb = tape.apply(new Sinusoid(32, 10000, endpoint, false), t);
        String expected = endpoint ? "posemb/out/endpoint_True" : "posemb/out/endpoint_False";
        Golden.assertClose(expected, emb.value().floats(), golden.floats(expected), 2e-5, 1e-4);
      }
    }
  }
}
