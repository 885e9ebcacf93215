package io.retort.distill;

import io.retort.data.Batch;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.EdmLoss;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;

/// Plain training of a teacher with EDM's denoising loss.
///
/// Source: EDM, Karras et al. 2022, section 5 and table 1. The pixels are averaged instead of
/// summed, so that the loss does not depend on the resolution; Adam does not notice.
///
/// @param network the teacher
/// @param batch images a step
/// @param sigmaData standard deviation of the data
/// @param meanLog P_mean, -1.2 in EDM
/// @param stdLog P_std, 1.2 in EDM
public record EdmTraining(
    DiffusionNet network, int batch, double sigmaData, double meanLog, double stdLog)
    implements Method {

  /// The one role.
  public static final String TEACHER = "teacher";

  @Override
  public String name() {
    return "edm";
  }

  @Override
  public List<Role> roles() {
    return List.of(new Role(TEACHER, network, true, Optional.empty(), true));
  }

  @Override
  public List<Phase> phases() {
    return List.of(new Phase("denoise", 1, Set.of(TEACHER), this::denoise));
  }

  private Terms denoise(Nets nets, Batch images, Noise noise) {
    Tape tape = nets.tape();
    Shape shape = nets.images(TEACHER, images.count());
    Var clean = tape.constant(shape, images.images());
    float[] sigma = noise.logNormal(images.count(), meanLog, stdLog);
    Var noised = noise.add(clean, sigma);
    Var denoised =
        nets.denoise(TEACHER, noised, sigma, images.labels(), noise.key(Purpose.DROPOUT));
    Var levels = tape.constant(Shape.of(sigma.length), sigma);
    Var loss = tape.apply(new EdmLoss(sigmaData, EdmLoss.Pixels.MEAN), denoised, clean, levels);
    SequencedMap<String, Var> parts = new LinkedHashMap<>();
    parts.put("denoising", loss);
    return new Terms(loss, parts);
  }
}
