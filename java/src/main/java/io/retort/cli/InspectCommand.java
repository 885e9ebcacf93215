package io.retort.cli;

import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.NpzFile;
import io.retort.checkpoint.OnnxListing;
import io.retort.checkpoint.TensorFile;
import io.retort.checkpoint.TorchFile;
import io.retort.data.Datasets;
import io.retort.data.IdxFile;
import io.retort.data.PictureHeader;
import io.retort.data.ZipArchive;
import io.retort.report.EventsReader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// `retort inspect`: what a file holds, without trusting it or loading its data.
@Command(
    description = {
      "Lists what a file holds: the tensors of .safetensors (or the index of its shards), .pt and"
          + " .pth,",
      "the arrays of .npy and .npz, the images of a data set, an IDX file or a picture, the curves"
          + " of a",
      "TensorBoard event file, the inputs, outputs and operators of an .onnx file."
    },
    footer =
        "%nNothing in the file is trusted: a damaged or hostile one is refused in one sentence.")
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class InspectCommand implements Callable<Integer> {
  private static final int HEAD_BYTES = 16;
  private static final int NUMPY = 0x934e554d;
  private static final int ZIP = 0x504b;
  private static final int GZIP = 0x1f8b;
  private static final int PNG = 0x89504e47;
  private static final int JPEG = 0xffd8;
  private static final int IDX_BYTES = 0x000008;

  private final Console console;

  @Parameters(
      paramLabel = "FILE",
      description = "What it is, is told by its first bytes. FILE.pt#NAME: one of its state dicts.")
  private Path file;

  @Mixin private CommonOptions common;

  InspectCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    inspect(file);
    return ExitStatus.SUCCESS;
  }

  private void inspect(Path file) throws IOException {
    String name = String.valueOf(file.getFileName());
    if (Files.isDirectory(file)) {
      inspectFolder(file);
    } else if (name.contains("tfevents")) {
      show(Listing.of(EventsReader.read(file)));
    } else if (name.endsWith(".onnx")) {
      show(Listing.of(OnnxListing.read(file)));
    } else {
      inspectContent(file);
    }
  }

  private void inspectFolder(Path folder) throws IOException {
    Path weights = ModelFile.weights(folder);
    if (Files.exists(weights)) {
      inspect(weights);
    } else {
      show(Listing.of(Datasets.get(folder.toString())));
    }
  }

  private void inspectContent(Path file) throws IOException {
    byte[] head = new byte[HEAD_BYTES];
    if (Files.isRegularFile(file)) {
      try (var in = Files.newInputStream(file)) {
        in.readNBytes(head, 0, HEAD_BYTES);
      }
    }
    int first = ByteBuffer.wrap(head).getInt();
    boolean safetensors = head[8] == '{';
    if (first == NUMPY) {
      show(Listing.of(List.of(NpyFile.entry(file))));
    } else if (first == PNG || first >>> 16 == JPEG) {
      show(Listing.of(PictureHeader.read(file)));
    } else if (first >>> 16 == ZIP) {
      inspectArchive(file);
    } else if (!safetensors && (first >>> 8 == IDX_BYTES || first >>> 16 == GZIP)) {
      show(Listing.idx(IdxFile.sizes(file)));
    } else {
      show(TensorFile.open(file));
    }
  }

  /// A zip is what its entries are.
  private void inspectArchive(Path file) {
    boolean arrays;
    boolean torch;
    try (ZipArchive zip = ZipArchive.open(file)) {
      arrays = zip.names().allMatch(name -> name.endsWith(".npy"));
      torch = zip.names().anyMatch(name -> name.matches(TorchFile.PICKLE));
    }
    if (torch) {
      show(TorchFile.everything(file));
    } else if (arrays) {
      try (NpzFile opened = NpzFile.open(file)) {
        show(Listing.of(opened.entries()));
      }
    } else {
      show(Listing.of(Datasets.get(file.toString())));
    }
  }

  private void show(TensorFile opened) {
    try (opened) {
      show(Listing.of(opened));
    }
  }

  private void show(Listing listing) {
    if (common.json()) {
      var json = new LinkedHashMap<String, Object>();
      json.put("file", file.toString());
      json.putAll(listing.json());
      console.json(json);
    } else {
      console.print(listing.text());
    }
  }
}
