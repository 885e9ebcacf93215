package io.retort.cli;

import java.util.List;

/// What a reader wants to know of a method before using it.
///
/// @param name as recipes spell it
/// @param title what it is, in one line
/// @param paper where it comes from
/// @param recipe a recipe inside Retort that uses it
/// @param evidence where its numbers stand
record MethodCard(String name, String title, String paper, String recipe, String evidence) {

  static final List<MethodCard> ALL =
      List.of(
          new MethodCard(
              "edm",
              "teacher: denoising with EDM's preconditioning",
              "Karras et al. 2022, arXiv 2206.00364",
              "fashion-mnist-teacher",
              "recipes/evidence/"),
          new MethodCard(
              "dmd2",
              "one-step student: score difference + GAN + Embedding Loss",
              "Yin et al. 2024, arXiv 2405.14867; Ying et al. 2026, arXiv 2604.22379",
              "fashion-mnist-dmd2-el",
              "recipes/evidence/"),
          new MethodCard(
              "classifier",
              "metric net: LeNet whose features measure image sets, in no loss",
              "LeCun et al. 1998",
              "fashion-mnist-metric-net",
              "recipes/evidence/"));
}
