package io.retort.recipe;

import io.retort.checkpoint.ModelConfig;
import io.retort.data.DataCard;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.Preconditioning;
import io.retort.net.DhariwalUNet;
import io.retort.net.DiT;
import io.retort.net.DiTConfig;
import io.retort.net.DiffusionNet;
import io.retort.net.SongUNet;
import io.retort.net.UNet2D;
import io.retort.net.UNet2DConfig;
import io.retort.net.UNet2DConfig.Classes;
import io.retort.net.UNet2DConfig.Middle;
import io.retort.net.UNet2DConfig.Stage;
import io.retort.net.UNet2DConfig.Time;
import io.retort.recipe.Recipe.Network;
import io.retort.recipe.Recipe.Network.Kind;
import io.retort.tensor.ShapeException;
import java.util.ArrayList;
import java.util.List;

/// The network of a teacher that begins at random: what a recipe's `network` says, for the images
/// of its data.
final class TeacherNetwork {
  private static final double NORM_EPS = 1e-5;
  private static final int MOST_GROUPS = 32;

  private TeacherNetwork() {}

  /// The network, if it can be built and, with this preconditioning, be saved.
  ///
  /// @throws RecipeException naming what does not fit
  static DiffusionNet of(Recipe recipe, DataCard card, Preconditioning preconditioning) {
    if (card.height() != card.width()) {
      throw refused("data", "must be square images, got " + card.height() + "x" + card.width());
    }
    Network network = recipe.network();
    DiffusionNet made;
    try {
      made = make(network, card);
    } catch (ShapeException wrong) {
      throw refused("network", String.valueOf(wrong.getMessage()));
    }
    boolean edm = network.kind() == Kind.SONG_UNET || network.kind() == Kind.DHARIWAL_UNET;
    if (edm != preconditioning instanceof Preconditioning.Edm) {
      throw refused(
          "network.kind",
          edm
              ? "must be unet2d or dit for the method %s; EDM's networks are trained by edm"
                  .formatted(recipe.method())
              : "must be song_unet or dhariwal_unet for the method %s; diffusers' are trained by"
                      .formatted(recipe.method())
                  + " flow");
    }
    ModelConfig.of(new Denoiser(made, preconditioning));
    return made;
  }

  private static DiffusionNet make(Network network, DataCard card) {
    int classes = network.conditional() ? card.classes().size() : 0;
    return switch (network.kind()) {
      case SONG_UNET ->
          new SongUNet(
              new SongUNet.Config(
                  card.height(),
                  card.channels(),
                  classes,
                  network.channels(),
                  network.multipliers(),
                  network.blocks(),
                  network.attention(),
                  network.dropout(),
                  0));
      case DHARIWAL_UNET ->
          new DhariwalUNet(
              new DhariwalUNet.Config(
                  card.height(),
                  card.channels(),
                  1,
                  classes,
                  network.channels(),
                  network.multipliers(),
                  4,
                  network.blocks(),
                  network.attention(),
                  network.dropout(),
                  0,
                  0));
      case UNET2D -> new UNet2D(unet2d(network, card, classes));
      case DIT -> new DiT(dit(network, card, classes));
    };
  }

  /// DDPM's U-Net: every level changes its resolution by a convolution.
  private static UNet2DConfig unet2d(Network network, DataCard card, int classes) {
    List<Integer> widths =
        network.multipliers().stream().map(each -> each * network.channels()).toList();
    List<Stage> down = new ArrayList<>();
    for (int level = 0; level < widths.size(); level++) {
      boolean attends = network.attention().contains(card.height() >> level);
      down.add(attends ? Stage.ATTENTION : Stage.PLAIN);
    }
    int width = 4 * network.channels();
    return new UNet2DConfig(
        card.height(),
        card.channels(),
        false,
        false,
        new Time(false, true, 0, width),
        classes == 0 ? Classes.NONE : new Classes(Classes.Kind.TABLE, classes),
        widths,
        down,
        down.reversed(),
        network.blocks(),
        new Middle(true, true, 1, Middle.AS_OTHERS),
        1,
        false,
        false,
        Math.max(1, network.channels() / network.heads()),
        groups(network.channels()),
        NORM_EPS,
        false,
        network.dropout());
  }

  /// At most 32 groups of at least four channels at every width.
  private static int groups(int channels) {
    int groups = Math.min(MOST_GROUPS, channels / 4);
    while (channels % groups != 0) {
      groups--;
    }
    return groups;
  }

  /// diffusers' DiT with the numbers of its constructor, an image itself in the place of a latent.
  private static DiTConfig dit(Network network, DataCard card, int classes) {
    if (classes == 0) {
      throw new ShapeException("dit: a DiT is told the class, conditional must be true");
    }
    if (network.channels() % network.heads() != 0) {
      throw new ShapeException(
          "dit: channels must be a multiple of heads, got %d and %d"
              .formatted(network.channels(), network.heads()));
    }
    return new DiTConfig(
        card.height(),
        card.channels(),
        false,
        network.patch(),
        network.heads(),
        network.channels() / network.heads(),
        network.blocks(),
        4 * network.channels(),
        classes,
        0.1,
        DiTConfig.Names.DIFFUSERS,
        NORM_EPS,
        false,
        true,
        false,
        network.dropout());
  }

  private static RecipeException refused(String key, String reason) {
    return new RecipeException("recipe", key, reason);
  }
}
