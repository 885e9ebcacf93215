package io.retort.checkpoint;

import io.retort.data.JsonNames;
import io.retort.data.JsonReader;
import java.util.AbstractMap;
import java.util.AbstractSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.SequencedMap;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// The strings of a safetensors header, in the order of the file: a view of its bytes, so that a
/// string is made when it is asked for. Safe for several threads.
final class HeaderMetadata extends AbstractMap<String, String>
    implements SequencedMap<String, String> {
  private final JsonReader header;
  private final int start;
  private final JsonNames keys;

  /// @param header has been read to its end
  /// @param start where the object of the strings begins
  HeaderMetadata(JsonReader header, int start, JsonNames keys) {
    this.header = header;
    this.start = start;
    this.keys = keys;
  }

  @Override
  public @Nullable String get(@Nullable Object key) {
    int token = key instanceof String name ? keys.find(name) : -1;
    if (token < 0) {
      return null;
    }
    JsonReader member = header.from(token - 1);
    member.nameToken();
    return member.string();
  }

  @Override
  public boolean containsKey(@Nullable Object key) {
    return key instanceof String name && keys.find(name) >= 0;
  }

  @Override
  public SequencedMap<String, String> reversed() {
    return new LinkedHashMap<>(this).reversed();
  }

  @Override
  public Set<Entry<String, String>> entrySet() {
    return new AbstractSet<>() {
      @Override
      public int size() {
        return keys.size();
      }

      @Override
      public Iterator<Entry<String, String>> iterator() {
        JsonReader members = header.from(start);
        members.beginObject();
        return new Iterator<>() {
          private int left = keys.size();

          @Override
          public boolean hasNext() {
            return left > 0;
          }

          @Override
          public Entry<String, String> next() {
            if (left-- <= 0 || !members.hasNext()) {
              throw new NoSuchElementException();
            }
            return Map.entry(members.name(), members.string());
          }
        };
      }
    };
  }
}
