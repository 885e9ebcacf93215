package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

final class SafetensorsPropertyTest {

  record Sample(String name, StorageType type, long[] shape, byte[] bytes) {}

  @Property(tries = 100)
  void whatIsWrittenIsReadBack(@ForAll("samples") List<Sample> samples) throws IOException {
    Path file = Files.createTempFile("retort", ".safetensors");
    try {
      var writer = new SafetensorsWriter();
      samples.forEach(s -> writer.raw(s.name, s.type, s.shape, () -> ByteBuffer.wrap(s.bytes)));
      writer.write(file);
      try (var reader = SafetensorsReader.open(file)) {
        assertThat(reader.entries()).hasSameSizeAs(samples);
        for (Sample sample : samples) {
          TensorEntry entry = reader.entry(sample.name);
          assertThat(entry.type()).isEqualTo(sample.type);
          assertThat(entry.shape()).isEqualTo(sample.shape);
          assertThat(reader.bytes(sample.name)).isEqualTo(sample.bytes);
          assertThat(entry.begin() % Math.max(sample.type.bits() / 8, 1)).isZero();
        }
      }
    } finally {
      Files.delete(file);
    }
  }

  @Provide
  Arbitrary<List<Sample>> samples() {
    Arbitrary<long[]> shapes =
        Arbitraries.integers()
            .between(0, 5)
            .map(Long::valueOf)
            .list()
            .ofMaxSize(4)
            .map(list -> list.stream().mapToLong(Long::longValue).toArray());
    return Combinators.combine(
            Arbitraries.strings().ofMaxLength(12).filter(SafetensorsPropertyTest::isEncodable),
            Arbitraries.of(StorageType.class),
            shapes,
            Arbitraries.longs())
        .as(SafetensorsPropertyTest::sample)
        .filter(sample -> sample.type.byteSize(sample.shape) >= 0)
        .list()
        .uniqueElements(Sample::name)
        .ofMaxSize(8);
  }

  private static boolean isEncodable(String name) {
    return StandardCharsets.UTF_8.newEncoder().canEncode(name);
  }

  private static Sample sample(String name, StorageType type, long[] shape, long seed) {
    var bytes = new byte[(int) Math.max(type.byteSize(shape), 0)];
    new Random(seed).nextBytes(bytes);
    return new Sample(name, type, Arrays.copyOf(shape, shape.length), bytes);
  }
}
