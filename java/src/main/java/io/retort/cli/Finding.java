package io.retort.cli;

/// What `retort doctor` knows of one part of the machine.
///
/// @param what the part
/// @param found what is there, in a line
record Finding(Verdict verdict, String what, String found) {

  enum Verdict {
    GOOD("✓"),
    ABSENT("-"),
    BROKEN("✗");

    private final String mark;

    Verdict(String mark) {
      this.mark = mark;
    }

    String mark() {
      return mark;
    }
  }

  static Finding good(String what, String found) {
    return new Finding(Verdict.GOOD, what, found);
  }

  static Finding absent(String what, String found) {
    return new Finding(Verdict.ABSENT, what, found);
  }

  static Finding broken(String what, String found) {
    return new Finding(Verdict.BROKEN, what, found);
  }
}
