package io.retort.checkpoint;

import io.retort.data.Printable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;

/// Reads the pickle of a PyTorch state dict without being able to run anything: a machine over the
/// opcodes such a pickle needs, whose only callables are the rebuilding of tensors, parameters and
/// ordered dicts, and of the arguments that training scripts save beside them.
///
/// Every other opcode and every other global is refused by its name. Yields `SequencedMap` for
/// dicts (keys text or integers), `List`, [Tuple], [TorchTensor], `String`, `Long`, `Double`,
/// `Boolean` and [Atom#NONE]. What it allocates is charged to a budget, so that a short file cannot
/// fill the memory.
///
/// Source: Python's `pickletools`, protocols 2 to 5; PyTorch's serialization notes.
final class PickleMachine {

  /// Values that are one of a kind.
  enum Atom {
    NONE,
    MARK
  }

  record Tuple(List<Object> values) {}

  /// A storage of the file: its key, its element type, its number of elements.
  record Storage(String key, StorageType type, long elements) {}

  private enum Callable {
    REBUILD_TENSOR,
    REBUILD_PARAMETER,
    ORDERED_DICT,
    NAMESPACE,
    SIZE
  }

  private static final Map<String, Object> GLOBALS =
      Map.ofEntries(
          Map.entry("torch._utils _rebuild_tensor_v2", Callable.REBUILD_TENSOR),
          Map.entry("torch._utils _rebuild_parameter", Callable.REBUILD_PARAMETER),
          Map.entry("collections OrderedDict", Callable.ORDERED_DICT),
          Map.entry("argparse Namespace", Callable.NAMESPACE),
          Map.entry("torch Size", Callable.SIZE),
          Map.entry("torch FloatStorage", StorageType.F32),
          Map.entry("torch DoubleStorage", StorageType.F64),
          Map.entry("torch HalfStorage", StorageType.F16),
          Map.entry("torch BFloat16Storage", StorageType.BF16),
          Map.entry("torch LongStorage", StorageType.I64),
          Map.entry("torch IntStorage", StorageType.I32),
          Map.entry("torch ShortStorage", StorageType.I16),
          Map.entry("torch CharStorage", StorageType.I8),
          Map.entry("torch ByteStorage", StorageType.U8),
          Map.entry("torch BoolStorage", StorageType.BOOL),
          Map.entry("torch ComplexFloatStorage", StorageType.C64));

  private static final int NEWEST_PROTOCOL = 5;
  private static final int LONGEST_NAME = 256;
  private static final long OBJECT_COST = 64;
  private static final long SLOT_COST = 8;

  /// What a byte of text takes on its way to a string: twice if it is ASCII.
  private static final long BYTE_COST = 2;

  private static final long WIDE_BYTE_COST = 5;

  private final Path file;
  private final MemorySegment code;
  private final List<Object> stack = new ArrayList<>();
  private final Map<Integer, Object> memo = new HashMap<>();
  private final long largest;
  private long position;
  private long budget;

  /// @param largest bytes a storage may have
  /// @param budget bytes the values may take, about
  PickleMachine(Path file, MemorySegment code, long largest, long budget) {
    this.file = file;
    this.code = code;
    this.largest = largest;
    this.budget = budget;
  }

  /// Runs to the end and yields the one value that is left.
  Object run() {
    while (true) {
      int opcode = unsigned8();
      if (opcode == '.') {
        Object result = pop();
        if (!stack.isEmpty() || position != code.byteSize()) {
          throw refused("does not end with its value");
        }
        return result;
      }
      step(opcode);
    }
  }

  private void step(int opcode) {
    switch (opcode) {
      case 0x80 -> requireProtocol(unsigned8());
      case 0x95 -> skip(Long.BYTES);
      case '(' -> push(Atom.MARK);
      case '0' -> pop();
      case 'N' -> push(Atom.NONE);
      case 0x88 -> push(true);
      case 0x89 -> push(false);
      case 'K' -> push((long) unsigned8());
      case 'M' -> push((long) (unsigned8() | unsigned8() << 8));
      case 'J' -> push((long) int32());
      case 0x8a -> push(longOf(unsigned8()));
      case 'G' -> push(Double.longBitsToDouble(Long.reverseBytes(int64())));
      case 'X' -> push(text(int32() & 0xffff_ffffL));
      case 0x8c -> push(text(unsigned8()));
      case 'c' -> push(global(line(), line()));
      case 0x93 -> {
        String name = pop(String.class, "a name");
        push(global(pop(String.class, "a module"), name));
      }
      case 'q' -> remember(unsigned8());
      case 'r' -> remember(int32());
      case 0x94 -> remember(memo.size());
      case 'h' -> push(recall(unsigned8()));
      case 'j' -> push(recall(int32()));
      default -> build(opcode);
    }
  }

  private void build(int opcode) {
    switch (opcode) {
      case ')' -> push(new Tuple(List.of()));
      case 't' -> push(new Tuple(sinceMark()));
      case 0x85, 0x86, 0x87 -> push(new Tuple(last(opcode - 0x84)));
      case ']' -> push(new ArrayList<>());
      case '}' -> push(new LinkedHashMap<>());
      case 'a' -> {
        Object value = pop();
        list().add(value);
      }
      case 'e' -> {
        List<Object> values = sinceMark();
        list().addAll(values);
      }
      case 's' -> putAll(last(2));
      case 'u' -> putAll(sinceMark());
      case 'R', 0x81 -> {
        Tuple arguments = pop(Tuple.class, "arguments");
        push(call(pop(), arguments.values));
      }
      case 'b' -> {
        // Modules attach version numbers to their dict, a namespace has a script's arguments;
        // nothing here needs them.
        pop(SequencedMap.class, "the state of a dict");
        dict();
      }
      case 'Q' -> push(storage(pop(Tuple.class, "a storage").values));
      default ->
          throw refused(
              "uses the pickle opcode 0x%02x, which no state dict needs".formatted(opcode));
    }
  }

  private void requireProtocol(int protocol) {
    if (protocol < 2 || protocol > NEWEST_PROTOCOL) {
      throw refused("uses the pickle protocol " + protocol);
    }
  }

  private Object global(String module, String name) {
    Object known = GLOBALS.get(module + " " + name);
    if (known == null) {
      throw refused(
          "holds the Python object %s, which is never made; save the tensors alone with torch.save"
                  .formatted(Printable.name(module + "." + name))
              + "(model.state_dict(), ..)");
    }
    return known;
  }

  private Object call(Object function, List<Object> arguments) {
    if (!(function instanceof Callable callable)) {
      throw refused("calls something that is no function");
    }
    return switch (callable) {
      case ORDERED_DICT, NAMESPACE -> {
        if (!arguments.isEmpty()) {
          throw refused("makes a dict out of something");
        }
        yield new LinkedHashMap<Object, Object>();
      }
      case SIZE -> new Tuple(argument(arguments, 0, Tuple.class).values);
      case REBUILD_PARAMETER -> argument(arguments, 0, TorchTensor.class);
      case REBUILD_TENSOR ->
          TorchTensor.of(
              file,
              argument(arguments, 0, Storage.class),
              argument(arguments, 1, Long.class),
              numbers(argument(arguments, 2, Tuple.class)),
              numbers(argument(arguments, 3, Tuple.class)));
    };
  }

  /// `('storage', type, key, device, elements)`.
  private Storage storage(List<Object> id) {
    if (id.size() != 5 || !"storage".equals(id.get(0))) {
      throw refused("refers to something that is no storage");
    }
    StorageType type = argument(id, 1, StorageType.class);
    long elements = argument(id, 4, Long.class);
    if (elements < 0 || elements > largest * 8 / type.bits()) {
      throw refused("has a storage of %d elements, which the file cannot hold".formatted(elements));
    }
    return new Storage(argument(id, 2, String.class), type, elements);
  }

  private long[] numbers(Tuple tuple) {
    var numbers = new long[tuple.values.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = argument(tuple.values, i, Long.class);
    }
    return numbers;
  }

  private <T> T argument(List<Object> arguments, int index, Class<T> type) {
    if (index < arguments.size() && type.isInstance(arguments.get(index))) {
      return type.cast(arguments.get(index));
    }
    throw refused(
        "has no %s where one must be".formatted(type.getSimpleName().toLowerCase(Locale.ROOT)));
  }

  private void putAll(List<Object> pairs) {
    Map<Object, Object> dict = dict();
    if (pairs.size() % 2 != 0) {
      throw refused("has a key without a value");
    }
    for (int i = 0; i < pairs.size(); i += 2) {
      Object key = pairs.get(i);
      if (!(key instanceof String || key instanceof Long)) {
        throw refused("has a dict with keys that are neither text nor integers");
      }
      charge(OBJECT_COST);
      if (dict.put(key, pairs.get(i + 1)) != null) {
        throw refused("has the key %s twice in one dict".formatted(Printable.name(key.toString())));
      }
    }
  }

  @SuppressWarnings("unchecked") // only dicts of this machine are on the stack
  private Map<Object, Object> dict() {
    if (!stack.isEmpty() && stack.getLast() instanceof LinkedHashMap<?, ?> dict) {
      return (Map<Object, Object>) dict;
    }
    throw refused("changes something that is no dict");
  }

  @SuppressWarnings("unchecked") // only lists of this machine are on the stack
  private List<Object> list() {
    if (!stack.isEmpty() && stack.getLast() instanceof ArrayList<?> list) {
      return (List<Object>) list;
    }
    throw refused("appends to something that is no list");
  }

  private void push(Object value) {
    charge(value instanceof Enum<?> || value instanceof Boolean ? SLOT_COST : OBJECT_COST);
    stack.add(value);
  }

  private Object pop() {
    if (stack.isEmpty()) {
      throw refused("takes more values than it has");
    }
    return stack.removeLast();
  }

  private <T> T pop(Class<T> type, String what) {
    Object value = pop();
    if (!type.isInstance(value)) {
      throw refused("has something else where " + what + " must be");
    }
    return type.cast(value);
  }

  private List<Object> last(int count) {
    if (stack.size() < count) {
      throw refused("takes more values than it has");
    }
    return take(stack.size() - count);
  }

  private List<Object> sinceMark() {
    int mark = stack.lastIndexOf(Atom.MARK);
    if (mark < 0) {
      throw refused("takes more values than it has");
    }
    List<Object> values = take(mark + 1);
    stack.removeLast();
    return values;
  }

  /// Removes the values from `from` on.
  private List<Object> take(int from) {
    List<Object> top = stack.subList(from, stack.size());
    charge(SLOT_COST * top.size());
    List<Object> values = List.copyOf(top);
    top.clear();
    return values;
  }

  private void remember(int index) {
    if (stack.isEmpty() || index < 0) {
      throw refused("remembers a value it does not have");
    }
    charge(OBJECT_COST);
    memo.put(index, stack.getLast());
  }

  private Object recall(int index) {
    Object value = memo.get(index);
    if (value == null) {
      throw refused("recalls a value it does not have");
    }
    return value;
  }

  /// Takes from the budget what is made of the values.
  void charge(long bytes) {
    budget -= bytes;
    if (budget < 0) {
      throw refused("makes more values than a state dict of this size can have");
    }
  }

  /// A little-endian two's complement integer.
  private long longOf(int bytes) {
    if (bytes > Long.BYTES + 1) {
      throw refused("has an integer of more than 64 bits");
    }
    long value = 0;
    byte last = 0;
    for (int i = 0; i < bytes; i++) {
      last = (byte) unsigned8();
      if (i < Long.BYTES) {
        value |= (last & 0xffL) << 8 * i;
      }
    }
    if (bytes < Long.BYTES) {
      return last < 0 ? value | -1L << 8 * bytes : value;
    }
    if (bytes > Long.BYTES && last != value >> 63) {
      throw refused("has an integer of more than 64 bits");
    }
    return value;
  }

  private String text(long bytes) {
    charge(OBJECT_COST + BYTE_COST * bytes);
    byte[] utf8 = take(bytes);
    for (byte c : utf8) {
      if (c < 0) {
        charge((WIDE_BYTE_COST - BYTE_COST) * bytes);
        break;
      }
    }
    return new String(utf8, StandardCharsets.UTF_8);
  }

  private String line() {
    long end = position;
    while (end < code.byteSize() && code.get(ValueLayout.JAVA_BYTE, end) != '\n') {
      end++;
    }
    if (end == code.byteSize() || end - position > LONGEST_NAME) {
      throw refused("has a name that does not end");
    }
    String text = text(end - position);
    position++;
    return text;
  }

  private byte[] take(long bytes) {
    long at = position;
    skip(bytes);
    var taken = new byte[Math.toIntExact(bytes)];
    MemorySegment.copy(code, ValueLayout.JAVA_BYTE, at, taken, 0, taken.length);
    return taken;
  }

  private int unsigned8() {
    long at = position;
    skip(1);
    return code.get(ValueLayout.JAVA_BYTE, at) & 0xff;
  }

  private int int32() {
    long at = position;
    skip(Integer.BYTES);
    return code.get(ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), at);
  }

  private long int64() {
    long at = position;
    skip(Long.BYTES);
    return code.get(ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), at);
  }

  private void skip(long bytes) {
    if (bytes > code.byteSize() - position) {
      throw refused("ends too early");
    }
    position += bytes;
  }

  private CheckpointException refused(String reason) {
    return new CheckpointException(file, "", "its pickle " + reason);
  }
}
