/// Runs and what they leave to look at: metric lines, TensorBoard events, pictures, metrics and one
/// self-contained page.
///
/// Read first [io.retort.report.Run], [io.retort.report.HtmlReport] and
/// [io.retort.report.MetricsLog]. Depends on everything but cli.
///
/// Invariants: one process works in a run's folder at a time; a run that stops, for whatever
/// reason, continues from its newest checkpoint as if it had never stopped; text that comes from a
/// run is escaped wherever it goes; a page needs no network and no script; log writers flush every
/// record, so a killed run loses at most the line it was writing; pages and checkpoints appear as a
/// whole or not at all. A writer belongs to one thread at a time.
@NullMarked
package io.retort.report;

import org.jspecify.annotations.NullMarked;
