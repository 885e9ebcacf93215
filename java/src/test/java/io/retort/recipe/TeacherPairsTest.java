package io.retort.recipe;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodSteps;
import io.retort.backend.CpuBackend;
import io.retort.data.Batch;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.ImageSampler;
import io.retort.distill.Dmd;
import io.retort.distill.Method;
import io.retort.net.DiffusionNet;
import io.retort.op.Backend;
import io.retort.train.RoleState;
import io.retort.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Samples of a teacher: made once, and what the teacher makes of the noise beside them.
class TeacherPairsTest {
  private static final List<String> SETTINGS =
      List.of("batch=4", "real_batch=4", "pairs=10", "pair_steps=3");

  private final Backend backend = CpuBackend.open();
  private final Recipe recipe = MethodSteps.recipe(Dmd.KIND, SETTINGS);
  @TempDir private Path folder;

  private Batch batch(Trainer trainer, List<Long> progress, long step) {
    try (BatchSource source =
        MethodSteps.wiring(recipe, backend).source(trainer, folder, progress::add)) {
      return source.apply(step);
    }
  }

  private static Batch.Pairs pairs(Batch batch) {
    return Objects.requireNonNull(batch.pairs());
  }

  @Test
  void theyAreMadeOnceAndShared() throws IOException {
    List<Long> progress = new ArrayList<>();
    try (Trainer trainer = MethodSteps.trainer(recipe, backend)) {
      Batch first = batch(trainer, progress, 5);
      assertThat(progress).containsExactly(10L);
      Batch again = batch(trainer, progress, 5);

      assertThat(progress).as("the file was there").hasSize(1);
      assertThat(pairs(again).images()).isEqualTo(pairs(first).images());
      assertThat(pairs(again).latents()).isEqualTo(pairs(first).latents());
      assertThat(pairs(again).labels()).isEqualTo(pairs(first).labels());
      assertThat(pairs(batch(trainer, progress, 6)).latents()).isNotEqualTo(pairs(first).latents());
    }
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).hasSize(1);
    }
  }

  @Test
  void theImagesAreWhatTheTeacherMakesOfTheNoise() {
    try (Trainer trainer = MethodSteps.trainer(recipe, backend)) {
      Batch.Pairs pairs = pairs(batch(trainer, new ArrayList<>(), 0));
      RoleState teacher = trainer.roles().get(Method.TEACHER);
      Denoiser denoiser =
          new Denoiser((DiffusionNet) teacher.role().net(), trainer.spec().preconditioning());

      float[] expected =
          ImageSampler.of(backend, denoiser, teacher.weights(), 3)
              .sample(pairs.latents(), pairs.labels(), done -> {});

      for (int i = 0; i < expected.length; i++) {
        assertThat(pairs.images()[i]).isCloseTo(expected[i], within(1e-4f));
      }
      assertThat(Arrays.stream(pairs.labels())).allMatch(label -> label >= 0 && label < 3);
    }
  }

  @Test
  void whoeverStopsTheMakingLeavesNoFile() throws IOException {
    try (Trainer trainer = MethodSteps.trainer(recipe, backend)) {
      assertThatThrownBy(() ->
              MethodSteps.wiring(recipe, backend)
                  .source(
                      trainer,
                      folder,
                      done -> {
                        throw new IllegalStateException("stop");
                      }))
          .hasMessage("stop");
    }
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).isEmpty();
    }
  }
}
