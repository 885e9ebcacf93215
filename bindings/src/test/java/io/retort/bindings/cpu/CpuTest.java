package io.retort.bindings.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CpuTest {
  private static final String BASE = "fpu sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt";
  private static final String AVX2 = " avx avx2 fma bmi1 bmi2 f16c movbe abm xsave";
  private static final String AVX512 = " avx512f avx512bw avx512cd avx512dq avx512vl";

  @ParameterizedTest
  @CsvSource({"0,base", "1,avx2;base", "2,avx512;avx2;base"})
  void isasAreListedBestFirst(int generations, String isas) {
    var flags = List.of(BASE, BASE + AVX2, BASE + AVX2 + AVX512).get(generations);

    assertThat(cpu(flags).isas()).containsExactly(isas.split(";"));
  }

  @Test
  void avx512WithoutOneOfItsPartsIsNotEnough() {
    assertThat(cpu(BASE + AVX2 + " avx512f avx512cd").isas()).containsExactly("avx2", "base");
  }

  @Test
  void avx512WithoutAvx2IsNotEnough() {
    assertThat(cpu(BASE + AVX512).isas()).containsExactly("base");
  }

  @Test
  void anOldProcessorRunsNothing() {
    assertThat(cpu("fpu sse sse2").isas()).isEmpty();
  }

  @Test
  void anUnreadableDescriptionRunsNothing() {
    assertThat(Cpu.parse(List.of()).isas()).isEmpty();
    assertThat(Cpu.parse(List.of()).model()).isEqualTo("unknown");
  }

  @Test
  void thisMachineIsDescribed() {
    var cpu = Cpu.detect();

    assertThat(cpu.cores()).isPositive();
    assertThat(cpu.isas()).contains("base");
  }

  private static Cpu cpu(String flags) {
    return Cpu.parse(
        List.of("processor\t: 0", "model name\t: Some CPU @ 2.0 GHz", "flags\t\t: " + flags));
  }
}
