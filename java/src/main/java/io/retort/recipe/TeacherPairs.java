package io.retort.recipe;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.SafetensorsWriter;
import io.retort.checkpoint.StorageType;
import io.retort.data.Batch;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.ImageSampler;
import io.retort.distill.Method;
import io.retort.grad.Parameters;
import io.retort.op.Backend;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/// Samples of a teacher by the noise they came from, written once per teacher and then mapped into
/// memory.
///
/// The file holds images `(count, H, W, C)`; the noise of image i is a function of i, and so is its
/// class. Its name says which weights, how many images and how many steps, so that runs share it
/// and never mistake it.
final class TeacherPairs implements AutoCloseable {
  /// Of the noise: apart from the seeds of runs, so that no run meets it by chance.
  private static final long SEED = 1618033988;

  private static final String IMAGES = "images";
  private static final ValueLayout.OfFloat FLOATS =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final ImageSampler sampler;
  private final Method.Pairs wanted;
  private final long seed;
  private final SafetensorsReader file;

  private TeacherPairs(
      ImageSampler sampler, Method.Pairs wanted, long seed, SafetensorsReader file) {
    this.sampler = sampler;
    this.wanted = wanted;
    this.seed = seed;
    this.file = file;
  }

  /// Opens the file of a teacher, which is written first where it is missing.
  ///
  /// @param folder where such files are kept
  /// @param seed of the run: which pairs a step sees
  /// @param progress told how many images are made
  /// @throws CheckpointException if the file cannot be written or read
  static TeacherPairs open(
      Path folder,
      Backend backend,
      Denoiser teacher,
      Parameters weights,
      Method.Pairs wanted,
      long seed,
      LongConsumer progress) {
    ImageSampler sampler = ImageSampler.of(backend, teacher, weights, wanted.steps());
    Path file =
        folder.resolve(
            "%s-%d-%d.safetensors".formatted(name(weights), wanted.count(), wanted.steps()));
    if (!Files.exists(file)) {
      write(file, sampler, wanted, progress);
    }
    SafetensorsReader reader = SafetensorsReader.open(file);
    long bytes = Float.BYTES * teacher.images(wanted.count()).elements();
    if (reader.entry(IMAGES).bytes() != bytes) {
      reader.close();
      throw new CheckpointException(file, IMAGES, "has another size; delete the file");
    }
    return new TeacherPairs(sampler, wanted, seed, reader);
  }

  private static void write(
      Path file, ImageSampler sampler, Method.Pairs wanted, LongConsumer progress) {
    try {
      Files.createDirectories(file.getParent());
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
    SafetensorsWriter writer = new SafetensorsWriter();
    writer.metadata("steps", Integer.toString(wanted.steps()));
    writer.tensor(
        IMAGES,
        StorageType.F32,
        sampler.denoiser().images(wanted.count()).dims(),
        out -> draw(out, sampler, wanted.count(), progress));
    writer.write(file);
  }

  private static void draw(
      WritableByteChannel out, ImageSampler sampler, int count, LongConsumer progress)
      throws IOException {
    for (int from = 0; from < count; from += sampler.batch()) {
      int to = Math.min(count, from + sampler.batch());
      float[] part =
          sampler.sample(
              sampler.latents(SEED, from, to - from), labels(sampler, from, to), done -> {});
      ByteBuffer bytes =
          ByteBuffer.allocate(part.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      bytes.asFloatBuffer().put(part);
      while (bytes.hasRemaining()) {
        out.write(bytes);
      }
      progress.accept(to);
    }
  }

  /// Classes in turn, null for an unconditional teacher.
  private static int @Nullable [] labels(ImageSampler sampler, int from, int to) {
    int classes = sampler.denoiser().network().classes();
    if (classes == 0) {
      return null;
    }
    int[] labels = new int[to - from];
    Arrays.setAll(labels, i -> (from + i) % classes);
    return labels;
  }

  /// The batch with the pairs of its step: drawn with replacement, a function of seed and step.
  Batch with(Batch batch, long step) {
    int pixels = Math.toIntExact(sampler.denoiser().images(1).elements());
    MemorySegment images = file.data(IMAGES);
    int classes = sampler.denoiser().network().classes();
    PhiloxKey key = new PhiloxKey(seed, Purpose.DATA, 1, step);
    float[] latents = new float[wanted.batch() * pixels];
    float[] wantedImages = new float[latents.length];
    int[] labels = new int[wanted.batch()];
    for (int i = 0; i < wanted.batch(); i++) {
      int index = Philox.below(key, i, wanted.count());
      System.arraycopy(sampler.latents(SEED, index, 1), 0, latents, i * pixels, pixels);
      MemorySegment.copy(
          images, FLOATS, (long) Float.BYTES * index * pixels, wantedImages, i * pixels, pixels);
      labels[i] = classes == 0 ? 0 : index % classes;
    }
    return batch.with(new Batch.Pairs(latents, wantedImages, labels));
  }

  /// The first digits of the SHA-256 of the weights.
  private static String name(Parameters weights) {
    try {
      float[] values = weights.values().floats();
      ByteBuffer bytes =
          ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      bytes.asFloatBuffer().put(values);
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(bytes.array());
      return HexFormat.of().formatHex(digest, 0, 8);
    } catch (NoSuchAlgorithmException impossible) {
      throw new IllegalStateException("every Java platform has SHA-256", impossible);
    }
  }

  @Override
  public void close() {
    file.close();
  }
}
