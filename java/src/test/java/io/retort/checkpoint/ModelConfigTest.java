package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.data.Json;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.Preconditioning;
import io.retort.net.DhariwalUNet;
import io.retort.net.SongUNet;
import io.retort.net.SongVariant;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Configurations of EDM's networks: defaults, round trips, refusals.
final class ModelConfigTest {

  private static Denoiser read(String json) {
    return ModelConfig.denoiser(Json.parseObject(json.replace('\'', '"')));
  }

  @Test
  void whatIsMissingHasTheConstructorsDefault() {
    Denoiser edm = read("{'img_resolution': 64, 'img_channels': 3}");
    assertThat(edm.preconditioning()).isEqualTo(new Preconditioning.Edm(0.5));
    assertThat(((DhariwalUNet) edm.network()).config())
        .isEqualTo(
            new DhariwalUNet.Config(
                64, 3, 1, 0, 192, List.of(1, 2, 3, 4), 4, 3, List.of(32, 16, 8), 0.1, 0, 0));
    Denoiser vp = read("{'precond': 'VPPrecond', 'img_resolution': 32, 'img_channels': 3}");
    assertThat(vp.preconditioning()).isEqualTo(Preconditioning.Vp.DEFAULT);
    assertThat(((SongUNet) vp.network()).config())
        .isEqualTo(new SongUNet.Config(32, 3, 0, 128, List.of(1, 2, 2, 2), 4, List.of(16), 0.1, 0));
    Denoiser ve = read("{'precond': 'VEPrecond', 'img_resolution': 32, 'img_channels': 3}");
    assertThat(ve.preconditioning()).isEqualTo(new Preconditioning.Ve(0.02, 100));
    Denoiser iddpm = read("{'precond': 'iDDPMPrecond', 'img_resolution': 64, 'img_channels': 3}");
    assertThat(iddpm.preconditioning()).isEqualTo(Preconditioning.Iddpm.DEFAULT);
    assertThat(((DhariwalUNet) iddpm.network()).config().outputs()).isEqualTo(2);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "'precond': 'EDMPrecond', 'sigma_data': 0.7, 'sigma_min': 0.01, 'sigma_max': 50,"
            + " 'model_type': 'SongUNet', 'embedding_type': 'fourier', 'encoder_type': 'residual',"
            + " 'decoder_type': 'skip', 'channel_mult_noise': 2, 'resample_filter': [1, 3, 3, 1],"
            + " 'label_dropout': 0.1, 'augment_dim': 9, 'dropout': 0.13",
        "'precond': 'VPPrecond', 'beta_d': 15, 'beta_min': 0.2, 'M': 500, 'epsilon_t': 0.001,"
            + " 'model_type': 'DhariwalUNet', 'label_dim': 10, 'channel_mult_emb': 2",
        "'precond': 'VEPrecond', 'sigma_min': 0.01, 'model_type': 'SongUNet', 'use_fp16': true",
        "'precond': 'iDDPMPrecond', 'C_1': 0.01, 'C_2': 0.01, 'M': 100, 'model_type': 'SongUNet'"
      })
  void writtenAndReadItIsTheSameDenoiser(String keys) {
    Denoiser first =
        read("{'img_resolution': 16, 'img_channels': 3, 'model_channels': 64," + keys + "}");
    Denoiser second = read(Json.write(ModelConfig.of(first)));
    assertThat(second.preconditioning()).isEqualTo(first.preconditioning());
    assertThat(second.network().plan().shapes()).isEqualTo(first.network().plan().shapes());
    assertThat(ModelConfig.of(second)).isEqualTo(ModelConfig.of(first));
    assertThat(second.network().labelDropout()).isEqualTo(first.network().labelDropout());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "'chanel_mult': [1]              | key chanel_mult is unknown; the nearest key is"
            + " channel_mult",
        "'beta_d': 19.9                  | key beta_d is unknown",
        "'encoder_type': 'skips'         | encoder_type must be one of \"standard\", \"skip\","
            + " \"residual\", got \"skips\"; the nearest is skip",
        "'precond': 'EdmPrecond'         | the nearest is EDMPrecond",
        "'model_type': 'UNet'            | model_type must be one of \"SongUNet\","
            + " \"DhariwalUNet\"",
        "'dropout': 1.5                  | dropout must be a number from 0 to 0.999, got 1.5",
        "'num_blocks': 0                 | num_blocks must be an integer from 1 to 64, got 0",
        "'channel_mult': [1, 2, 2, 2, 2, 2] | resolution must be divisible by 2 for every level",
        "'channel_mult': []              | resolution must be divisible by 2 for every level",
        "'channel_mult': [0]             | channel_mult must be a list of at most 16 positive"
            + " integers",
        "'resample_filter': [1, 2, 1]    | filter must have an even number of taps",
        "'resample_filter': ['a']        | resample_filter must be a list of 1 to 16 numbers",
        "'model_channels': 3             | must be even and at least 4, got 3",
        "'model_channels': 18            | has 18 channels, which must be a multiple of its 4"
            + " groups",
        "'label_dropout': 'no'           | label_dropout must be a number from 0 to 1, got \"no\"",
        "'use_fp16': 1                   | use_fp16 must be true or false, got 1"
      })
  void wrongKeysAreNamed(String key, String reason) {
    String model = key.contains("model_type") ? "" : "'model_type': 'SongUNet',";
    assertThatThrownBy(() -> read("{'img_resolution': 16, 'img_channels': 3," + model + key + "}"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(reason);
  }

  @Test
  void headsThatDoNotDivideTheChannelsAreNamed() {
    assertThatThrownBy(() ->
            read(
                "{'img_resolution': 8, 'img_channels': 3, 'model_channels': 200,"
                    + " 'channel_mult': [1], 'attn_resolutions': [8]}"))
        .hasMessageContaining("has 200 channels, which must be a multiple of its");
  }

  @Test
  void aSizeMayBeHeightAndWidthOfASquare() {
    String net = "{'_class_name': 'UNet2DModel', 'sample_size': %s}";
    assertThat(read(net.formatted("[32, 32]")).network().resolution()).isEqualTo(32);
    for (String wrong : new String[] {"[32, 16]", "[32]", "[0, 0]", "[null, null]", "\"32\""}) {
      assertThatThrownBy(() -> read(net.formatted(wrong)))
          .hasMessage(
              "sample_size must be an integer from 1 to 4096, got %s"
                  .formatted(wrong.replace(" ", "")));
    }
  }

  @Test
  void theMissingSizeIsNamed() {
    assertThatThrownBy(() -> read("{'img_channels': 3}"))
        .hasMessageContaining("img_resolution must be an integer from 1 to 4096, got none");
  }

  @Test
  void othersHaveNoConfiguration() {
    var net =
        new SongUNet(
            new SongUNet.Config(8, 1, 0, 8, List.of(1), 1, List.of(), 0, 0, SongVariant.DDPMPP));
    assertThatThrownBy(() -> ModelConfig.of(new Denoiser(net, new Preconditioning.Flow(1))))
        .hasMessage("config: SongUNet with Flow has no config.json");
  }
}
