package io.retort.data;

import java.util.List;

/// What a reader must know of a data set before using it.
///
/// @param source where the images come from, for people
/// @param checksum SHA-256 of what was delivered, in hex, and of what it is the sum
/// @param flipAllowed whether a mirrored image is as plausible as the original
public record DataCard(
    String name,
    String licence,
    String source,
    String checksum,
    int height,
    int width,
    int channels,
    List<String> classes,
    boolean flipAllowed) {
  public DataCard {
    classes = List.copyOf(classes);
  }
}
