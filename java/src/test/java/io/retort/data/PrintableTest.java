package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class PrintableTest {

  @Test
  void whatCanBeReadStays() {
    assertThat(Printable.line("a name of 3 words")).isEqualTo("a name of 3 words");
    assertThat(Printable.line("Fréchet–Übung 蒸馏")).isEqualTo("Fréchet–Übung 蒸馏");
    assertThat(Printable.line("")).isEmpty();
  }

  @Test
  void aMessageHasOneLine() {
    assertThat(Printable.line("first\r\n   second\u2028third\n\n\nfourth"))
        .isEqualTo("first second third fourth");
    assertThat(Printable.line("a\tb\u001b[2Jc\u202ed\u0000")).isEqualTo("a?b?[2Jc?d?");
  }

  @Test
  void aNameKeepsItsLength() {
    assertThat(Printable.name("a\r\nb\u2028c")).isEqualTo("a??b?c");
  }

  @Test
  void aLongTextEndsInDots() {
    assertThat(Printable.line("x".repeat(10), 10)).isEqualTo("x".repeat(10));
    assertThat(Printable.line("x".repeat(11), 10)).isEqualTo("xxxxxxx...");
    assertThat(Printable.name("y".repeat(81))).hasSize(80).endsWith("yyy...");
  }
}
