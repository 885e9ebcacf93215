/// What a run leaves to look at: metric lines, TensorBoard events, plots and one self-contained
/// page.
///
/// Read first [io.retort.report.HtmlReport], [io.retort.report.SvgPlot] and
/// [io.retort.report.MetricsLog].
///
/// Invariants: text that comes from a run is escaped wherever it goes; a page needs no network and
/// no script; log writers flush every record, so a killed run loses at most the line it was
/// writing; a page appears as a whole or not at all. Nothing here knows networks or methods. A
/// writer belongs to one thread at a time.
@NullMarked
package io.retort.report;

import org.jspecify.annotations.NullMarked;
