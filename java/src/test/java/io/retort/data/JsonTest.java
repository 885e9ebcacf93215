package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.data.Json.JsonException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class JsonTest {

  @Test
  void parsesEveryKindOfValue() {
    String text = "{\"a\":[1,-2.5,1e2,true,false,null,\"x\\n\\u00e9\\ud83d\\ude00\"],\"b\":{}}";
    assertThat(Json.parseObject(text))
        .isEqualTo(
            Map.of(
                "a", Arrays.asList(1L, -2.5, 100.0, true, false, null, "x\né😀"), "b", Map.of()));
  }

  @Test
  void integersDoNotPassThroughDouble() {
    assertThat(Json.parse("9007199254740993")).isEqualTo(9007199254740993L);
    assertThat(Json.parse("9223372036854775807")).isEqualTo(Long.MAX_VALUE);
    assertThat(Json.parse("9223372036854775808")).isEqualTo(0x1p63);
    assertThat(Json.parse("-0")).isEqualTo(-0.0);
  }

  @Test
  void writesMapsInTheirOrderAndNonFiniteNumbersAsNull() {
    var run = new TreeMap<String, Object>(Map.of("steps", 400L, "loss", Double.NaN, "lr", 1e-3f));
    run.put("name", "a \"b\"\u0001\u2028");
    assertThat(Json.write(run))
        .isEqualTo(
            "{\"loss\":null,\"lr\":0.001,\"name\":\"a \\\"b\\\"\\u0001\u2028\",\"steps\":400}");
  }

  @Test
  void indentsObjectsAndKeepsShortArraysOnOneLine() {
    assertThat(Json.writeIndented(Map.of("rows", List.of(Map.of("n", new long[] {1, 2})))))
        .isEqualTo(
            """
            {
              "rows": [
                {
                  "n": [1, 2]
                }
              ]
            }
            """);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "- 1",
        "NaN",
        "Infinity",
        "1e999",
        "nul",
        "truex",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"tab\there\"",
        "\"open",
        "'a'",
        "[1] 2",
        "/* c */ 1",
        "\ufeff1",
      })
  void refusesWhatIsNotStrictJson(String text) {
    assertThatThrownBy(() -> Json.parse(text)).isInstanceOf(JsonException.class);
  }

  @Test
  void refusesBytesThatAreNotUtf8() {
    byte[] overlong = {'"', (byte) 0xc0, (byte) 0xaf, '"'};
    assertThatThrownBy(() -> Json.parse(overlong)).isInstanceOf(JsonException.class);
  }

  @Test
  void boundsDepthAndSize() {
    assertThatThrownBy(() -> Json.parse("[".repeat(100_000)))
        .isInstanceOf(JsonException.class)
        .hasMessageContaining("nested deeper than 64");
    assertThatThrownBy(() -> Json.parse("[" + "0,".repeat(3_000_000) + "0]"))
        .isInstanceOf(JsonException.class)
        .hasMessageContaining("values");
    assertThatThrownBy(() -> Json.parse(new byte[(16 << 20) + 1]))
        .isInstanceOf(JsonException.class)
        .hasMessageContaining("more than 16777216");
  }

  @Property(tries = 300)
  void whatIsWrittenIsReadBack(@ForAll("documents") Object document) {
    assertThat(Json.parse(Json.write(document))).isEqualTo(document);
    assertThat(Json.parse(Json.writeIndented(document))).isEqualTo(document);
  }

  @Property(tries = 1000)
  void anyBytesAreParsedOrRefused(@ForAll byte[] bytes) {
    parsedOrRefused(bytes);
  }

  @Property(tries = 1000)
  void anyTextOfTheRightCharactersIsParsedOrRefused(@ForAll("jsonish") String text) {
    parsedOrRefused(text.getBytes(StandardCharsets.UTF_8));
  }

  private static void parsedOrRefused(byte[] bytes) {
    try {
      Json.parse(bytes);
    } catch (JsonException refused) {
      assertThat(refused).hasMessageNotContaining("\n");
    }
  }

  @Provide
  Arbitrary<String> jsonish() {
    return Arbitraries.strings().withChars("{}[]\",:0123.eE+-\\utrfalsn d8c").ofMaxLength(24);
  }

  @Provide
  Arbitrary<Object> documents() {
    Arbitrary<Object> scalar =
        Arbitraries.oneOf(
            Arbitraries.longs().map(Object.class::cast),
            Arbitraries.doubles().map(Object.class::cast),
            Arbitraries.strings().ascii().map(Object.class::cast),
            Arbitraries.of(true, false).map(Object.class::cast));
    return Arbitraries.recursive(
        () -> scalar,
        inner ->
            Arbitraries.oneOf(
                inner.list().ofMaxSize(4).map(Object.class::cast),
                Arbitraries.maps(Arbitraries.strings().alpha().ofMaxLength(5), inner)
                    .ofMaxSize(4)
                    .map(Object.class::cast)),
        0,
        3);
  }
}
