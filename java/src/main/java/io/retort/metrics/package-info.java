/// How close generated images are to real ones: distances between sets of images, each a number
/// with its formula, its paper, its bias and the value that real held-out images reach (the
/// *floor*).
///
/// Read first: [io.retort.metrics.Evaluation] (one call from images to a row),
/// [io.retort.metrics.Frechet] (the headline distance), [io.retort.metrics.MetricTable] (how rows
/// are shown).
///
/// Rules that keep the numbers honest:
///
/// - every metric sees the same thing: images clipped and quantised to 8 bits
///   ([io.retort.data.Images]);
/// - the number of images `n` is fixed for all rows of a table, because most of these distances are
///   biased and the bias shrinks with n; a row without its n means nothing;
/// - the floor (held-out real images against the training images, at the same n) stands in every
///   table;
/// - features come from a [io.retort.metrics.FeatureExtractor] that is trained on the training
///   split only and is used in no loss; its name is part of the metric's name. No number here is
///   "the FID": published values need Inception-2015 features of 50,000 images.
///
/// The mathematics is plain Java on `float[][]` features (one row per image) and bytes; it knows no
/// tensors, so a test can feed it numbers by hand. Nothing changes after construction (arrays
/// handed in or out are shared and must not be written) and nothing starts threads; random choices
/// (subsets, projections) come from a seed and repeat exactly.
@NullMarked
package io.retort.metrics;

import org.jspecify.annotations.NullMarked;
