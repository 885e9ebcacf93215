package io.retort.data;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/// The names of one object of a JSON document: an open-addressing table of where they stand, four
/// to twelve bytes a name whatever its length.
///
/// Names are added by the thread that reads the document; [#find] is for any number of threads.
public final class JsonNames {
  /// Most objects have few names: those are looked through, more are hashed.
  private static final int FEW = 8;

  private static final int FREE = 0;

  private final JsonText text;

  /// Positions of names, none of which is 0: an object's bracket stands before them.
  private int[] slots = new int[FEW];

  private int size;

  JsonNames(JsonText text) {
    this.text = text;
  }

  public int size() {
    return size;
  }

  /// Where a name stands, or -1 if it is not among them.
  public int find(String name) {
    byte[] utf8 = name.getBytes(StandardCharsets.UTF_8);
    if (slots.length == FEW) {
      for (int i = 0; i < size; i++) {
        if (text.is(slots[i], name, utf8)) {
          return slots[i];
        }
      }
      return -1;
    }
    for (int slot = text.hash(utf8) & slots.length - 1; ; slot = slot + 1 & slots.length - 1) {
      if (slots[slot] == FREE) {
        return -1;
      }
      if (text.is(slots[slot], name, utf8)) {
        return slots[slot];
      }
    }
  }

  /// Adds the name at `token`; yields whether no earlier one is the same.
  boolean add(int token) {
    if (slots.length == FEW) {
      for (int i = 0; i < size; i++) {
        if (text.equal(slots[i], token)) {
          return false;
        }
      }
      if (size < FEW) {
        slots[size++] = token;
        return true;
      }
    }
    if (size >= slots.length / 4 * 3) {
      grow();
    }
    if (!insert(slots, token, true)) {
      return false;
    }
    size++;
    return true;
  }

  private void grow() {
    var larger = new int[slots.length == FEW ? 4 * FEW : 2 * slots.length];
    for (int token : slots) {
      if (token != FREE) {
        insert(larger, token, false);
      }
    }
    slots = larger;
  }

  private boolean insert(int[] table, int token, boolean compare) {
    int slot = text.hash(token) & table.length - 1;
    while (table[slot] != FREE) {
      if (compare && text.equal(table[slot], token)) {
        return false;
      }
      slot = slot + 1 & table.length - 1;
    }
    table[slot] = token;
    return true;
  }

  /// Forgets all names, and a table that was only needed for many.
  void clear() {
    if (slots.length == FEW) {
      Arrays.fill(slots, 0, size, FREE);
    } else {
      slots = new int[FEW];
    }
    size = 0;
  }
}
