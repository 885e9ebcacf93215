package io.retort.bench;

import io.retort.diffusion.Denoiser;
import io.retort.distill.AdamSpec;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.RandomConvNet;
import io.retort.net.SongUNet;
import io.retort.op.Activation;
import io.retort.op.AddNoise;
import io.retort.op.Backend;
import io.retort.op.EdmLoss;
import io.retort.op.Mmd;
import io.retort.op.MmdKernel;
import io.retort.op.Pool;
import io.retort.op.ScoreDifference;
import io.retort.optim.Adam;
import io.retort.tensor.DType;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.Set;

/// One DMD2 iteration with the Embedding Loss, as `bench/peers/pytorch/steps.py` does it: the
/// student's step (generate, noise, teacher, critic, score difference; features of one fresh random
/// ConvNet against real images'), its Adam and average; the critic's denoising step on the same
/// images, its Adam.
final class RetortDistillation implements AutoCloseable {
  static final double LEARNING_RATE = 2e-6;
  static final double AVERAGED = 0.999;
  static final double SIGMA_MAX = 80;
  static final int FEATURES = 128;
  static final int DEPTH = 3;

  private final StepSpec spec;
  private final Backend backend;
  private final DType type;
  private final Denoiser denoiser;
  private final Parameters teacher;
  private final Parameters student;
  private final Parameters average;
  private final Parameters critic;
  private final Adam studentAdam;
  private final Adam criticAdam;
  private final RandomConvNet embedding =
      new RandomConvNet(
          StepSpec.IMAGE_CHANNELS, FEATURES, DEPTH, true, Activation.Kind.RELU, Pool.Kind.AVG);
  private int iteration;

  RetortDistillation(StepSpec spec, Backend backend, DType type) {
    this.spec = spec;
    this.backend = backend;
    this.type = type;
    SongUNet network = RetortStep.network(spec);
    denoiser = new Denoiser(network, StepSpec.SIGMA_DATA).in(type);
    teacher = HashedWeights.of(network, StepSpec.TEACHER, backend.memory());
    student = HashedWeights.of(network, 0, backend.memory());
    average = HashedWeights.of(network, 0, backend.memory());
    critic = HashedWeights.of(network, 0, backend.memory());
    var adam = new AdamSpec(LEARNING_RATE, 0.9, 0.999, 1e-8, 0, 0, 0, 0);
    studentAdam = new Adam(student, adam);
    criticAdam = new Adam(critic, adam);
  }

  /// @param check with hashed numbers in place of random ones
  /// @return the sum of all losses
  double step(boolean check) {
    iteration++;
    try (Scope scope = new Scope(backend.memory())) {
      Var[] images = new Var[1];
      double loss = studentStep(scope, check, images) + criticStep(scope, check, images[0]);
      return loss;
    }
  }

  private double studentStep(Scope scope, boolean check, Var[] images) {
    student.zeroGradients();
    Tape tape = new Tape(backend, scope, Set.of(student));
    Var x = denoiser.denoise(tape, student, latents(tape, check), top(), null, null);
    images[0] = x;
    float[] sigma = levels(check, 0);
    Var noised = noised(tape, x.detach(), sigma, check, 1);
    Var byTeacher = denoiser.denoise(tape, teacher, noised, sigma, null, null).detach();
    Var byCritic = denoiser.denoise(tape, critic, noised, sigma, null, null).detach();
    var difference = new ScoreDifference(ScoreDifference.Form.DMD, 1e-6);
    Var loss = tape.apply(difference, x, byTeacher, byCritic).add(embedded(tape, x, check));
    double value = loss.item();
    tape.backward(loss);
    studentAdam.update(backend, LEARNING_RATE, average, AVERAGED);
    return value;
  }

  private double criticStep(Scope scope, boolean check, Var images) {
    critic.zeroGradients();
    Tape tape = new Tape(backend, scope, Set.of(critic));
    Var x = tape.constant(images.value());
    float[] sigma = levels(check, 1);
    Var denoised =
        denoiser.denoise(tape, critic, noised(tape, x, sigma, check, 2), sigma, null, null);
    var edm = new EdmLoss(StepSpec.SIGMA_DATA, EdmLoss.Pixels.MEAN);
    Var loss = tape.apply(edm, denoised, x, tape.constant(Shape.of(sigma.length), sigma));
    double value = loss.item();
    tape.backward(loss);
    criticAdam.update(backend, LEARNING_RATE, null, 0);
    return value;
  }

  /// Squared distance of the mean features, over the root of their dimension each.
  private Var embedded(Tape tape, Var x, boolean check) {
    Parameters weights =
        check
            ? HashedWeights.of(embedding, StepSpec.EMBEDDING, tape.scope())
            : embedding.plan().initialise(tape.scope(), key(Purpose.EMBEDDING, 0));
    Var real = tape.constant(images(), spec.clean());
    Var generated = embedding.apply(tape, weights, x.cast(type));
    Var target = embedding.apply(tape, weights, real.cast(type));
    return tape.apply(new Mmd(new MmdKernel.Linear(), false), generated, target);
  }

  private Var latents(Tape tape, boolean check) {
    if (check) {
      return tape.constant(images(), spec.noise(0)).scale(SIGMA_MAX);
    }
    Tensor z = tape.scope().allocate(images());
    backend.random().normal(z, key(Purpose.NOISE, 0), 0, SIGMA_MAX);
    return tape.constant(z);
  }

  private Var noised(Tape tape, Var x, float[] sigma, boolean check, int stream) {
    if (!check) {
      var noise = new AddNoise(key(Purpose.NOISE, stream));
      return tape.apply(noise, x, tape.constant(Shape.of(sigma.length), sigma));
    }
    float[] noise = spec.noise(stream);
    int size = noise.length / sigma.length;
    for (int i = 0; i < noise.length; i++) {
      noise[i] *= sigma[i / size];
    }
    return x.add(tape.constant(images(), noise));
  }

  private float[] levels(boolean check, int stream) {
    if (check) {
      return spec.sigma();
    }
    float[] sigma = new float[spec.batch()];
    for (int i = 0; i < sigma.length; i++) {
      double z = Philox.normal(key(Purpose.TIME, stream), i);
      sigma[i] = (float) Math.exp(-1.2 + 1.2 * z);
    }
    return sigma;
  }

  private float[] top() {
    float[] sigma = new float[spec.batch()];
    Arrays.fill(sigma, (float) SIGMA_MAX);
    return sigma;
  }

  private Shape images() {
    return denoiser.images(spec.batch());
  }

  private PhiloxKey key(Purpose purpose, int stream) {
    return new PhiloxKey(0, purpose, stream, iteration);
  }

  @Override
  public void close() {
    studentAdam.close();
    criticAdam.close();
    teacher.close();
    student.close();
    average.close();
    critic.close();
  }
}
