package io.retort.checkpoint;

import io.retort.checkpoint.PickleMachine.Storage;
import io.retort.checkpoint.PickleMachine.Tuple;
import io.retort.data.DataException;
import io.retort.data.MappedFile;
import io.retort.data.Printable;
import io.retort.data.ZipArchive;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;

/// Reads the state dict of a `.pt` or `.pth` file that PyTorch 1.6 or newer wrote: a zip of raw
/// storages and one pickle that says which tensor is which part of them.
///
/// The pickle is read by a [PickleMachine], never run. Where a file holds several state dicts,
/// `FILE#NAME` names one; without a name `ema` is taken, or the only one there is. Prefixes that
/// wrappers put before every name (`module.`, `_orig_mod.`) are dropped.
///
/// Source: PyTorch's notes on serialization semantics.
public final class TorchFile implements TensorFile {
  /// What the pickle of a PyTorch file is called inside its zip, a regular expression.
  public static final String PICKLE = "([^/]*/)?data\\.pkl";

  private static final int MAX_DEPTH = 8;
  private static final int MAX_VALUES = 1_000_000;
  private static final int MOST_NAMED = 8;
  private static final long SLACK = 1 << 19;

  /// What a tensor takes beside its name, and what looking through a dict does.
  private static final long TENSOR_COST = 256;

  /// How often a path is made: found, listed, cut to its name.
  private static final long PATHS = 3;

  private static final String AVERAGED = "ema";
  private static final List<String> WRAPPERS = List.of("module.", "_orig_mod.");

  private final Path file;
  private final ZipArchive zip;
  private final String folder;
  private final SequencedMap<String, TorchTensor> tensors = new LinkedHashMap<>();
  private final SequencedMap<String, String> metadata = new LinkedHashMap<>();
  private final SequencedMap<String, List<String>> roots = new LinkedHashMap<>();
  private final Map<Storage, MemorySegment> storages = new ConcurrentHashMap<>();
  private int visited;

  private TorchFile(Path file, ZipArchive zip, String folder) {
    this.file = file;
    this.zip = zip;
    this.folder = folder;
  }

  /// The file that `FILE#NAME` means, or `file` itself.
  static Path container(Path file) {
    String text = file.toString();
    int hash = text.lastIndexOf('#');
    return hash <= 0 || Files.exists(file) ? file : Path.of(text.substring(0, hash));
  }

  /// Opens one state dict of a file.
  public static TorchFile open(Path fileOrPart) {
    Path file = container(fileOrPart);
    TorchFile opened = everything(file);
    try {
      String part =
          file.equals(fileOrPart)
              ? ""
              : fileOrPart.toString().substring(fileOrPart.toString().lastIndexOf('#') + 1);
      opened.keepOnly(opened.chosen(part));
      return opened;
    } catch (RuntimeException refusal) {
      opened.close();
      throw refusal;
    }
  }

  /// Opens a file with every tensor in it, under its whole path: `ema.conv.weight`.
  public static TorchFile everything(Path file) {
    refusePickles(file);
    ZipArchive zip;
    try {
      zip = ZipArchive.open(file);
    } catch (DataException damaged) {
      throw CheckpointException.of(file, damaged);
    }
    try {
      return read(file, zip);
    } catch (DataException damaged) {
      zip.close();
      throw CheckpointException.of(file, damaged);
    } catch (RuntimeException | Error refusal) {
      zip.close();
      throw refusal;
    }
  }

  private static TorchFile read(Path file, ZipArchive zip) {
    String pickle =
        zip.names()
            .filter(name -> name.matches(PICKLE))
            .findFirst()
            .orElseThrow(() ->
                new CheckpointException(file, "", "is a zip file, but no PyTorch state dict"));
    String folder = pickle.substring(0, pickle.length() - "data.pkl".length());
    if (zip.find(folder + "constants.pkl").isPresent()) {
      throw new CheckpointException(
          file, "", "is a TorchScript program; save its state_dict() instead");
    }
    TorchFile opened = new TorchFile(file, zip, folder);
    opened.requireLittleEndian();
    MemorySegment code = zip.view(zip.entry(pickle));
    long budget = SLACK + zip.size() * 3 / 2;
    PickleMachine machine = new PickleMachine(file, code, zip.size(), budget);
    opened.collect(machine, "", machine.run(), 0, true);
    if (opened.tensors.isEmpty()) {
      throw new CheckpointException(file, "", "holds no tensors");
    }
    return opened;
  }

  private void requireLittleEndian() {
    zip.find(folder + "byteorder")
        .map(entry -> new String(zip.read(entry, 16), StandardCharsets.US_ASCII))
        .filter(order -> !order.equals("little"))
        .ifPresent(order -> {
          throw new CheckpointException(file, "", "was written on a big-endian machine");
        });
  }

  /// Refuses pickles outside a zip: old PyTorch files, and EDM's snapshots, which are programs.
  private static void refusePickles(Path file) {
    try (MappedFile mapped = MappedFile.open(file)) {
      long size = mapped.size();
      if (size >= 2 && (mapped.bytes().get(ValueLayout.JAVA_BYTE, 0) & 0xff) == PICKLE_PROTOCOL) {
        boolean old =
            mapped.bytes().get(ValueLayout.JAVA_BYTE, 1) == 2 && !file.toString().endsWith(".pkl");
        throw old
            ? new CheckpointException(
                file,
                "",
                "is in the format before PyTorch 1.6; torch.save(torch.load(FILE,"
                    + " weights_only=True), NEW) writes the one that is read")
            : PickledModule.refused(file);
      }
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  /// Finds tensors in dicts and lists, and the plain values beside them.
  ///
  /// @param named whether only text keys lead here, as they do to a state dict
  private void collect(PickleMachine machine, String path, Object value, int depth, boolean named) {
    machine.charge(TENSOR_COST + PATHS * path.length());
    if (++visited > MAX_VALUES || depth > MAX_DEPTH) {
      throw new CheckpointException(file, "", "is nested deeper or wider than a state dict");
    }
    switch (value) {
      case TorchTensor tensor -> {
        if (tensors.put(path, tensor) != null) {
          throw new CheckpointException(file, path, "appears twice");
        }
      }
      case Map<?, ?> dict -> {
        boolean text = named && dict.keySet().stream().allMatch(String.class::isInstance);
        if (text && dict.values().stream().anyMatch(TorchTensor.class::isInstance)) {
          roots.put(path, direct(path, dict));
        }
        dict.forEach((key, inner) -> collect(machine, below(path, key), inner, depth + 1, text));
      }
      case Tuple(List<Object> values) -> collectAll(machine, path, values, depth);
      case List<?> values -> collectAll(machine, path, values, depth);
      case Storage _ -> throw new CheckpointException(file, path, "is a bare storage");
      default -> {
        if (depth == 1) {
          metadata.put(path, String.valueOf(value));
        }
      }
    }
  }

  private void collectAll(PickleMachine machine, String path, List<?> values, int depth) {
    for (int i = 0; i < values.size(); i++) {
      collect(machine, below(path, i), values.get(i), depth + 1, false);
    }
  }

  private static String below(String path, Object key) {
    return path.isEmpty() ? String.valueOf(key) : path + "." + key;
  }

  private static List<String> direct(String path, Map<?, ?> dict) {
    List<String> names = new ArrayList<>();
    dict.forEach((key, value) -> {
      if (value instanceof TorchTensor) {
        names.add(below(path, key));
      }
    });
    return names;
  }

  /// The path of the state dict that is meant, empty for the whole file.
  private String chosen(String part) {
    if (roots.containsKey(part)) {
      return part;
    }
    if (part.isEmpty()) {
      if (roots.size() == 1) {
        return roots.firstEntry().getKey();
      }
      for (String path : roots.keySet()) {
        if (path.equals(AVERAGED) || path.endsWith("." + AVERAGED)) {
          return path;
        }
      }
    }
    String names =
        roots.keySet().stream()
            .limit(MOST_NAMED)
            .map(Printable::name)
            .collect(Collectors.joining(", "));
    throw new CheckpointException(
        file,
        "",
        roots.isEmpty()
            ? "holds tensors, but no state dict"
            : part.isEmpty()
                ? "holds several state dicts (%s); name one after a #, as in %s#%s"
                    .formatted(names, file.getFileName(), names.replaceFirst(",.*", ""))
                : "holds no state dict of the name %s, only %s"
                    .formatted(Printable.name(part), names));
  }

  private void keepOnly(String root) {
    List<String> kept = Objects.requireNonNull(roots.get(root));
    int cut = root.isEmpty() ? 0 : root.length() + 1;
    SequencedMap<String, TorchTensor> chosen = new LinkedHashMap<>();
    kept.forEach(
        name -> chosen.put(name.substring(cut), Objects.requireNonNull(tensors.get(name))));
    tensors.clear();
    tensors.putAll(chosen);
    for (String wrapper : WRAPPERS) {
      if (tensors.keySet().stream().allMatch(name -> name.startsWith(wrapper))) {
        SequencedMap<String, TorchTensor> bare = new LinkedHashMap<>();
        tensors.forEach((name, tensor) -> bare.put(name.substring(wrapper.length()), tensor));
        tensors.clear();
        tensors.putAll(bare);
      }
    }
  }

  @Override
  public Path file() {
    return file;
  }

  /// Plain values that stand beside the state dicts, such as the number of steps.
  @Override
  public SequencedMap<String, String> metadata() {
    return Collections.unmodifiableSequencedMap(metadata);
  }

  @Override
  public List<TensorEntry> entries() {
    return tensors.entrySet().stream().map(e -> e.getValue().entry(e.getKey())).toList();
  }

  @Override
  public Optional<TensorEntry> find(String name) {
    return Optional.ofNullable(tensors.get(name)).map(tensor -> tensor.entry(name));
  }

  @Override
  public MemorySegment data(String name) {
    TorchTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new CheckpointException(file, name, "is not in this file");
    }
    Storage storage = tensor.storage();
    try {
      return tensor.gather(storages.computeIfAbsent(storage, key -> open(name, key)));
    } catch (ArithmeticException _) {
      throw new CheckpointException(
          file,
          name,
          "is a strided view of more than 2 GiB; save it again with .contiguous() first");
    }
  }

  private MemorySegment open(String name, Storage storage) {
    ZipArchive.Entry entry =
        zip.find(folder + "data/" + storage.key())
            .orElseThrow(() ->
                new CheckpointException(
                    file,
                    name,
                    "lies in the storage %s, which is missing"
                        .formatted(Printable.name(storage.key()))));
    if (entry.size() != storage.elements() * storage.type().bits() / 8) {
      throw new CheckpointException(
          file,
          name,
          "lies in a storage of %d bytes, which should have %d"
              .formatted(entry.size(), storage.elements() * storage.type().bits() / 8));
    }
    try {
      return zip.view(entry);
    } catch (DataException damaged) {
      throw CheckpointException.of(file, damaged);
    }
  }

  @Override
  public void close() {
    zip.close();
  }
}
