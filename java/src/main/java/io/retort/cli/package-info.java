/// The command line: one class a command, each a thin face on the engine.
///
/// Read first: [Main] (what happens to arguments and failures), [Commands] (which commands there
/// are), [Console] (where words go). Nothing depends on this package; it may depend on everything.
///
/// Invariants: results go to stdout, everything said on the way to stderr; with `--json` stdout is
/// exactly one JSON document. Exit status 0 means success, 2 a wrong call, 1 anything else, with
/// one sentence on stderr. A command's class is loaded only when it is called, and native code only
/// when something has to be computed.
@NullMarked
package io.retort.cli;

import org.jspecify.annotations.NullMarked;
