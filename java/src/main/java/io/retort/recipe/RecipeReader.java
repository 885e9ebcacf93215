package io.retort.recipe;

import io.retort.checkpoint.AtomicFile;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.composer.Composer;
import org.snakeyaml.engine.v2.events.CollectionStartEvent;
import org.snakeyaml.engine.v2.events.Event;
import org.snakeyaml.engine.v2.events.NodeEvent;
import org.snakeyaml.engine.v2.events.ScalarEvent;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.parser.Parser;
import org.snakeyaml.engine.v2.parser.ParserImpl;
import org.snakeyaml.engine.v2.scanner.StreamReader;

/// Reads recipes: YAML that states what differs from [Recipe#DEFAULT], then `key=value` settings on
/// top.
///
/// A recipe is untrusted text: at most 64 KiB, 2,000 keys and values, 16 levels deep, without
/// anchors and tags; every mistake is a [RecipeException].
public final class RecipeReader {
  private static final int MAX_BYTES = 1 << 16;
  private static final int MAX_DEPTH = 16;

  /// Keys, values and brackets: several times what naming every number of a recipe takes.
  private static final int MAX_EVENTS = 2000;

  private static final String OPTION = "--set";

  private RecipeReader() {}

  /// The recipe a user means: a file if there is one of that name, else one inside the jar.
  ///
  /// @param sets `key.of.section=value`, later ones win
  public static Recipe find(String nameOrFile, List<String> sets) {
    Path file = Path.of(nameOrFile);
    if (Files.exists(file) || !BuiltIn.recipes().contains(nameOrFile)) {
      return read(file, sets);
    }
    return builtIn(nameOrFile, sets);
  }

  /// A recipe file.
  public static Recipe read(Path file, List<String> sets) {
    try {
      if (Files.isRegularFile(file) && Files.size(file) > MAX_BYTES) {
        throw new RecipeException(file.toString(), "", "is larger than a recipe can be");
      }
      return parse(file.toString(), Files.readString(file), sets);
    } catch (CharacterCodingException failure) {
      throw new RecipeException(file.toString(), "", "is not UTF-8 text");
    } catch (IOException failure) {
      throw new RecipeException(
          file.toString(),
          "",
          "%s; recipes inside Retort are %s"
              .formatted(AtomicFile.reason(failure), String.join(", ", BuiltIn.recipes())));
    }
  }

  /// A recipe that travels inside the jar, by its name in [BuiltIn#recipes].
  public static Recipe builtIn(String name, List<String> sets) {
    return parse(name, BuiltIn.recipe(name), sets);
  }

  /// A recipe from text.
  ///
  /// @param name of the file, for messages
  public static Recipe parse(String name, String yaml, List<String> sets) {
    Recipe recipe =
        compose(name, yaml)
            .map(node -> Records.read(Recipe.DEFAULT, mapping(name, node), "", name))
            .orElse(Recipe.DEFAULT);
    return with(recipe, sets);
  }

  /// The recipe with some keys set, in order.
  public static Recipe with(Recipe recipe, List<String> sets) {
    Recipe changed = recipe;
    for (String set : sets) {
      changed = set(changed, set);
    }
    return changed;
  }

  private static Recipe set(Recipe recipe, String set) {
    int equals = set.indexOf('=');
    String key = equals < 0 ? set : set.substring(0, equals).strip();
    if (equals < 0 || !key.matches("[a-z0-9_]+(\\.[a-z0-9_]+)*")) {
      throw new RecipeException(OPTION, "", "must be key=value, got \"" + set + "\"");
    }
    Optional<Node> value = compose(OPTION, set.substring(equals + 1));
    if (value.isEmpty()) {
      throw new RecipeException(OPTION, key, "has no value");
    }
    return Records.read(recipe, Records.nested(List.of(key.split("\\.")), value.get()), "", OPTION);
  }

  private static MappingNode mapping(String name, Node node) {
    if (node instanceof MappingNode mapping) {
      return mapping;
    }
    throw new RecipeException(name, "", "must be lines of `key: value`");
  }

  private static Optional<Node> compose(String name, String yaml) {
    LoadSettings settings =
        LoadSettings.builder()
            .setLabel(name)
            .setCodePointLimit(MAX_BYTES)
            .setMaxAliasesForCollections(0)
            .build();
    try {
      requireShallow(name, parser(settings, yaml));
      return new Composer(settings, parser(settings, yaml)).getSingleNode();
    } catch (MarkedYamlEngineException malformed) {
      throw new RecipeException(
          Records.where(name, malformed.getProblemMark()),
          "",
          "is not YAML: " + malformed.getProblem());
    } catch (YamlEngineException malformed) {
      throw new RecipeException(name, "", "is not YAML: " + malformed.getMessage());
    }
  }

  private static Parser parser(LoadSettings settings, String yaml) {
    return new ParserImpl(settings, new StreamReader(settings, yaml));
  }

  /// Refuses what a recipe never needs before anything recursive sees it.
  private static void requireShallow(String name, Iterator<Event> events) {
    int depth = 0;
    int seen = 0;
    while (events.hasNext()) {
      Event event = events.next();
      depth +=
          switch (event.getEventId()) {
            case MappingStart, SequenceStart -> 1;
            case MappingEnd, SequenceEnd -> -1;
            default -> 0;
          };
      String where = Records.where(name, event.getStartMark());
      if (++seen > MAX_EVENTS) {
        throw new RecipeException(where, "", "holds more than a recipe can");
      }
      if (depth > MAX_DEPTH) {
        throw new RecipeException(where, "", "is nested too deeply");
      }
      if (event instanceof NodeEvent node && node.getAnchor().isPresent()) {
        throw new RecipeException(where, "", "must not use anchors");
      }
      if (event instanceof ScalarEvent scalar && scalar.getTag().isPresent()
          || event instanceof CollectionStartEvent start && start.getTag().isPresent()) {
        throw new RecipeException(where, "", "must not use tags");
      }
    }
  }
}
