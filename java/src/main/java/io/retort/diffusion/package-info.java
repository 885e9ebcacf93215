/// Noise levels, preconditioning and samplers: diffusion without any method of distillation.
///
/// Read first: [Denoiser], [Preconditioning], [Sampler]. Depends on net and below.
///
/// Source throughout: EDM, Karras et al. 2022 ("Elucidating the Design Space of Diffusion-Based
/// Generative Models").
@NullMarked
package io.retort.diffusion;

import org.jspecify.annotations.NullMarked;
