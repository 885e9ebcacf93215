package io.retort.diffusion;

import io.retort.diffusion.Preconditioning.Coefficients;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.ClassExperts;
import io.retort.net.DiffusionNet;
import io.retort.net.UNet;
import io.retort.op.Add;
import io.retort.op.Broadcast;
import io.retort.op.EdmInput;
import io.retort.op.EdmOutput;
import io.retort.op.Slice;
import io.retort.tensor.DType;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.ToDoubleFunction;
import org.jspecify.annotations.Nullable;

/// A preconditioned network: `D(x; sigma) = c_skip x + c_out F(c_in x, c_noise)`, the estimate of
/// the clean images in `x = clean + sigma noise`.
///
/// F computes in `compute`; preconditioning, weights and the result are float32. EDM's own
/// coefficients are computed inside fused kernels, all others in float64 on the host. Source: EDM,
/// Karras et al. 2022, eq. 7 and table 1.
///
/// @param network F
/// @param preconditioning the coefficients
/// @param compute type of F's activations
public record Denoiser(DiffusionNet network, Preconditioning preconditioning, DType compute) {

  /// In place of a class: the null class, a one-hot row of zeros.
  public static final int NO_CLASS = -1;

  /// Stream of the label dropout, after those of the network's layers.
  private static final int LABEL_STREAM = 63;

  /// A denoiser that computes in float32.
  public Denoiser(DiffusionNet network, Preconditioning preconditioning) {
    this(network, preconditioning, DType.F32);
  }

  /// One with EDM's preconditioning that computes in float32.
  public Denoiser(DiffusionNet network, double sigmaData) {
    this(network, new Preconditioning.Edm(sigmaData), DType.F32);
  }

  /// The same denoiser with activations of another type.
  public Denoiser in(DType type) {
    return new Denoiser(network, preconditioning, type);
  }

  /// The denoised images.
  ///
  /// @param x noised images `(N, H, W, C)`
  /// @param sigma noise level per sample, each > 0
  /// @param labels class per sample, [#NO_CLASS] for the null class, null if all are unconditional
  /// @param dropout key of the dropout masks, null to switch dropout off
  public Var denoise(
      Tape tape,
      Parameters parameters,
      Var x,
      float[] sigma,
      int @Nullable [] labels,
      @Nullable PhiloxKey dropout) {
    return denoise(tape, parameters, x, sigma, labels, null, dropout);
  }

  /// The denoised images of a network that is told how they were augmented.
  ///
  /// @param augmentation one row a sample, of the length the network was built for; null for images
  ///   as they are
  /// @throws IllegalArgumentException if the network takes no augmentation of that length
  public Var denoise(
      Tape tape,
      Parameters parameters,
      Var x,
      float[] sigma,
      int @Nullable [] labels,
      float @Nullable [] augmentation,
      @Nullable PhiloxKey dropout) {
    return denoise(tape, parameters, x, sigma, new Given(labels, augmentation, null, dropout));
  }

  /// Classes that images are steered away from: `strength` of each one's row is taken from the row
  /// of what is asked for.
  ///
  /// @param classes one a sample
  public record Away(int[] classes, float[] strength) {}

  /// The denoised images of classes, steered away from others; a strength of 0 changes nothing.
  ///
  /// For networks whose class enters through a linear layer. A class is a prompt of one token, to
  /// which attention is its value: this is negative-away steer attention for such prompts. Source:
  /// SNOOPI, Nguyen et al. 2024 (arXiv 2412.02687).
  public Var steered(
      Tape tape, Parameters parameters, Var x, float[] sigma, int[] labels, Away away) {
    return denoise(tape, parameters, x, sigma, new Given(labels, null, away, null));
  }

  private Var denoise(Tape tape, Parameters parameters, Var x, float[] sigma, Given given) {
    check(x, sigma);
    List<Coefficients> coefficients = coefficients(sigma);
    if (preconditioning instanceof Preconditioning.Edm edm) {
      Var level = tape.constant(Shape.of(sigma.length), sigma);
      Var input = tape.apply(new EdmInput(edm.sigmaData()), x, level);
      Var predicted = predict(tape, parameters, input, coefficients, given);
      return tape.apply(new EdmOutput(edm.sigmaData()), x, predicted, level);
    }
    return combine(tape, parameters, x, coefficients, given);
  }

  /// `F(c_in x, c_noise)` in float32: what the network itself says, dropout off.
  ///
  /// @param x noised images `(N, H, W, C)`
  /// @param sigma noise level per sample, each > 0
  /// @param labels as in [#denoise]
  public Var predict(
      Tape tape, Parameters parameters, Var x, float[] sigma, int @Nullable [] labels) {
    check(x, sigma);
    List<Coefficients> coefficients = coefficients(sigma);
    Var input = scaled(tape, x, coefficients, Coefficients::in);
    return predict(tape, parameters, input, coefficients, new Given(labels, null, null, null));
  }

  /// The denoised images with the coefficients of each sample given: `x = signal clean + noise n`
  /// of [Level]s other than `signal = 1`.
  public Var denoise(
      Tape tape,
      Parameters parameters,
      Var x,
      List<Coefficients> coefficients,
      int @Nullable [] labels,
      @Nullable PhiloxKey dropout) {
    return combine(tape, parameters, x, coefficients, new Given(labels, null, null, dropout));
  }

  /// What a call says beside the images and their noise.
  private record Given(
      int @Nullable [] labels,
      float @Nullable [] augmentation,
      @Nullable Away away,
      @Nullable PhiloxKey dropout) {}

  private Var combine(
      Tape tape, Parameters parameters, Var x, List<Coefficients> coefficients, Given given) {
    Var input = scaled(tape, x, coefficients, Coefficients::in);
    Var predicted = predict(tape, parameters, input, coefficients, given);
    return tape.apply(
        new Add(1, 1),
        scaled(tape, x, coefficients, Coefficients::skip),
        scaled(tape, predicted, coefficients, Coefficients::out));
  }

  /// F in float32, without what else the network predicts.
  private Var predict(
      Tape tape, Parameters parameters, Var input, List<Coefficients> coefficients, Given given) {
    if (network instanceof ClassExperts experts) {
      return routed(experts, tape, parameters, input, coefficients, given);
    }
    Var scaled = input.cast(compute);
    Var noise = conditioning(tape, coefficients);
    Var labels = oneHot(tape, given.labels, given.away, coefficients.size(), given.dropout);
    Var raw =
        given.augmentation == null
            ? network.apply(tape, parameters, scaled, noise, labels, given.dropout)
            : augmented(coefficients.size(), given.augmentation.length)
                .apply(
                    tape,
                    parameters,
                    scaled,
                    noise,
                    labels,
                    tape.constant(
                        Shape.of(
                            coefficients.size(), given.augmentation.length / coefficients.size()),
                        given.augmentation),
                    given.dropout);
    int channels = network.imageChannels();
    Var image = raw.shape().last() == channels ? raw : tape.apply(new Slice(3, 0, channels), raw);
    return image.cast(DType.F32);
  }

  /// Each image by the expert of its class, in one call an expert.
  private Var routed(
      ClassExperts experts,
      Tape tape,
      Parameters parameters,
      Var input,
      List<Coefficients> coefficients,
      Given given) {
    int[] labels = given.labels == null ? new int[0] : given.labels;
    if (labels.length != coefficients.size() || given.augmentation != null || given.away != null) {
      throw new IllegalArgumentException(
          "denoise: a model of several students needs a class for every image, takes no"
              + " augmentation and cannot be steered");
    }
    for (int label : labels) {
      requireClass(label, experts.classes());
    }
    Denoiser expert = new Denoiser(experts.expert(), preconditioning, compute);
    List<Var> made = new ArrayList<>();
    List<Integer> order = new ArrayList<>();
    for (int part = 0; part < experts.parts(); part++) {
      int[] rows = experts.rows(labels, part);
      if (rows.length > 0) {
        int[] classes = Arrays.stream(rows).map(row -> labels[row]).toArray();
        Given theirs = new Given(classes, null, null, given.dropout);
        Var images = rows.length == labels.length ? input : chosen(input, rows);
        List<Coefficients> levels = Arrays.stream(rows).mapToObj(coefficients::get).toList();
        made.add(
            expert.predict(
                tape, experts.weights(tape.scope(), parameters, part), images, levels, theirs));
        Arrays.stream(rows).forEach(order::add);
      }
    }
    if (made.size() == 1) {
      return made.getFirst();
    }
    Var all = Var.concat(0, made.getFirst(), made.subList(1, made.size()).toArray(Var[]::new));
    int[] back = new int[order.size()];
    for (int i = 0; i < back.length; i++) {
      back[order.get(i)] = i;
    }
    return chosen(all, back);
  }

  /// Images in this order.
  private static Var chosen(Var images, int[] rows) {
    Shape shape = images.shape();
    long pixels = shape.elements() / shape.dim(0);
    Var ids =
        images.tape().constant(Shape.of(rows.length), Arrays.stream(rows).asLongStream().toArray());
    return images
        .reshape(shape.dim(0), pixels)
        .lookup(ids)
        .reshape(shape.with(0, rows.length).dims());
  }

  private UNet augmented(int samples, int numbers) {
    if (network instanceof UNet unet
        && unet.augmentation() > 0
        && numbers == samples * unet.augmentation()) {
      return unet;
    }
    throw new IllegalArgumentException(
        "denoise: augmentation must be %d rows as long as the network was built for, which is %s, got %d numbers"
            .formatted(samples, network instanceof UNet unet ? unet.augmentation() : "0", numbers));
  }

  /// The encoder's last features of noised images, of type `compute`: what a discriminator head
  /// looks at.
  ///
  /// @throws IllegalArgumentException if the network has no bottleneck
  public Var encode(
      Tape tape,
      Parameters parameters,
      Var x,
      float[] sigma,
      int @Nullable [] labels,
      @Nullable PhiloxKey dropout) {
    UNet unet = unet();
    Var input = entering(tape, x, sigma);
    return unet.encode(
        tape,
        parameters,
        input,
        conditioning(tape, coefficients(sigma)),
        oneHot(tape, labels, null, sigma.length, dropout),
        dropout);
  }

  /// What the encoder makes of noised images at every level, finest first, of type `compute`.
  ///
  /// @throws IllegalArgumentException if the network has no bottleneck
  public List<Var> features(
      Tape tape, Parameters parameters, Var x, float[] sigma, int @Nullable [] labels) {
    UNet unet = unet();
    Var input = entering(tape, x, sigma);
    return unet.features(
        tape,
        parameters,
        input,
        conditioning(tape, coefficients(sigma)),
        oneHot(tape, labels, null, sigma.length, null),
        null);
  }

  private UNet unet() {
    if (network instanceof UNet unet) {
      return unet;
    }
    throw new IllegalArgumentException(
        "encode: the network must be a U-Net, whose bottleneck a discriminator can look at, got "
            + network.getClass().getSimpleName());
  }

  /// `c_in x` in the type of the activations.
  private Var entering(Tape tape, Var x, float[] sigma) {
    check(x, sigma);
    Var input =
        preconditioning instanceof Preconditioning.Edm edm
            ? tape.apply(
                new EdmInput(edm.sigmaData()), x, tape.constant(Shape.of(sigma.length), sigma))
            : scaled(tape, x, coefficients(sigma), Coefficients::in);
    return input.cast(compute);
  }

  /// Shape of `count` images.
  public Shape images(int count) {
    return Shape.of(count, network.resolution(), network.resolution(), network.imageChannels());
  }

  private List<Coefficients> coefficients(float[] sigma) {
    List<Coefficients> all = new ArrayList<>(sigma.length);
    for (float s : sigma) {
      all.add(preconditioning.at(Level.of(s)));
    }
    return all;
  }

  /// x with each sample times its coefficient.
  private static Var scaled(
      Tape tape, Var x, List<Coefficients> coefficients, ToDoubleFunction<Coefficients> part) {
    if (coefficients.stream().allMatch(each -> part.applyAsDouble(each) == 1)) {
      return x;
    }
    Var factors = perSample(tape, coefficients, part, Shape.of(coefficients.size(), 1, 1, 1));
    return tape.apply(new Broadcast(Broadcast.Kind.MULTIPLY), x, factors);
  }

  private static Var conditioning(Tape tape, List<Coefficients> coefficients) {
    return perSample(tape, coefficients, Coefficients::noise, Shape.of(coefficients.size()));
  }

  private static Var perSample(
      Tape tape,
      List<Coefficients> coefficients,
      ToDoubleFunction<Coefficients> part,
      Shape shape) {
    float[] values = new float[coefficients.size()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) part.applyAsDouble(coefficients.get(i));
    }
    return tape.constant(shape, values);
  }

  private boolean isDropped(int sample, @Nullable PhiloxKey dropout) {
    return dropout != null
        && network.labelDropout() > 0
        && Philox.uniform(dropout.stream(dropout.stream() + LABEL_STREAM), sample)
            < network.labelDropout();
  }

  private void check(Var x, float[] sigma) {
    if (!x.shape().equals(images(sigma.length))) {
      throw new ShapeException(
          "denoise: x must be "
              + images(sigma.length)
              + " for "
              + sigma.length
              + " noise levels, got "
              + x.shape());
    }
    for (float s : sigma) {
      if (!(s > 0) || Float.isInfinite(s)) {
        throw new IllegalArgumentException("denoise: sigma must be finite and > 0, got " + s);
      }
    }
  }

  /// One row a sample; the null class is a row of zeros.
  private @Nullable Var oneHot(
      Tape tape,
      int @Nullable [] labels,
      @Nullable Away away,
      int samples,
      @Nullable PhiloxKey dropout) {
    int classes = network.classes();
    if (classes == 0) {
      return null;
    }
    float[] rows = new float[samples * classes];
    if (!network.hasNullClass()
        && (labels == null || Arrays.stream(labels).anyMatch(label -> label == NO_CLASS))) {
      throw new IllegalArgumentException(
          "denoise: the network has no null class, every image needs a class in [0, %d)"
              .formatted(classes));
    }
    if (labels != null) {
      if (labels.length != samples) {
        throw new ShapeException("denoise: labels must be " + samples + ", got " + labels.length);
      }
      for (int i = 0; i < samples; i++) {
        if (labels[i] == NO_CLASS || isDropped(i, dropout)) {
          continue;
        }
        requireClass(labels[i], classes);
        rows[i * classes + labels[i]] = 1;
      }
    }
    if (away != null) {
      for (int i = 0; i < samples; i++) {
        rows[i * classes + away.classes[i]] -= away.strength[i];
      }
    }
    return tape.constant(Shape.of(samples, classes), rows);
  }

  private static void requireClass(int label, int classes) {
    if (label < 0 || label >= classes) {
      throw new IllegalArgumentException(
          "denoise: a label must be in [0, " + classes + "), got " + label);
    }
  }
}
