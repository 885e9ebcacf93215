package io.retort.data;

/// Text out of a file as a message may show it: on one line, without characters that move a cursor
/// or hide a name, and not a megabyte of it.
public final class Printable {
  private static final int LONGEST_NAME = 80;

  private Printable() {}

  /// A sentence on one line: line breaks become spaces, what has no picture a question mark.
  public static String line(String text) {
    return plain(text) ? text : marked(text.replaceAll("\\R\\s*", " "));
  }

  /// The same, cut to `longest` characters, the last three of them dots.
  public static String line(String text, int longest) {
    return line(cut(text, longest));
  }

  /// A name of a tensor, a key or a file inside another; a line break, too, becomes a question
  /// mark.
  public static String name(String name) {
    String cut = cut(name, LONGEST_NAME);
    return plain(cut) ? cut : marked(cut);
  }

  private static boolean plain(String text) {
    return text.chars().allMatch(c -> c >= ' ' && c < 0x7f);
  }

  private static String marked(String text) {
    return text.replaceAll("[\\p{Cntrl}\\p{Cf}\\u2028\\u2029]", "?");
  }

  private static String cut(String text, int longest) {
    return text.length() <= longest ? text : text.substring(0, longest - 3) + "...";
  }
}
