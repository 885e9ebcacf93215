/// Checkpoints on disk: models, the state of a run, the safetensors, PyTorch and NumPy formats they
/// are made of, and files that appear as a whole or not at all.
///
/// Weights come out of any [io.retort.checkpoint.TensorFile]; what is written is safetensors.
///
/// [io.retort.checkpoint.OnnxExport] writes models for other runtimes.
///
/// Read first [io.retort.checkpoint.ModelFile], [io.retort.checkpoint.TrainingCheckpoint] and
/// [io.retort.checkpoint.SafetensorsReader].
///
/// Invariants: no byte of a file is trusted before it is checked against the file's length; the
/// only failure a file can cause is a [io.retort.checkpoint.CheckpointException] of one sentence; a
/// failed or killed write leaves the former file as it was; tensor names are keys, never paths.
/// Readers may be shared by threads, writers belong to one.
@NullMarked
package io.retort.checkpoint;

import org.jspecify.annotations.NullMarked;
