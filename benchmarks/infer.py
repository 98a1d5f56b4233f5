"""Networks on the CPU by runtime, an exam by stage, and the whole against the usual notebook.

    python benchmarks/infer.py [--data DIR] [--part networks exam notebook] [--json docs/results/infer.json]

DIR holds DICOM mammograms at any depth; 12 of them at most are used.

networks: EfficientNet-B3 in one and four folds at 512×256 and 1024×512, images a second (an image is through when
every fold has seen it) in batches of 8, the best of three; the ratio to torch in 32 bits as everybody calls it; the
largest difference of a probability from it; the most memory the process took. Every row is a process of its own, on
networks that were converted before. Weights are random, of a spread of logits as training leaves it; they cost what
trained ones cost.

exam: four images, four folds of EfficientNet-B3 at 1024×512, seconds by stage.

notebook: pydicom's ``pixel_array``, windowing at full size, one fold after the other, in one process, against this
pipeline with torch, both with four EfficientNet-B0 at 256×128. It needs pydicom's decoders (pylibjpeg-openjpeg,
python-gdcm), and is left out without them.
"""

import rsna  # isort: skip  # noqa: F401  chooses how torch's threads wait, before it is imported

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import torch
from common import dicom_files, parser_of, write_result
from pydicom.pixels import apply_voi_lut

from rsna.config.data import PreprocessSettings
from rsna.config.model import ModelSettings
from rsna.evaluation.calibration import sigmoid
from rsna.evaluation.tables import text_table
from rsna.inference.batch import Batch
from rsna.inference.networks import Networks, TorchNetworks
from rsna.inference.pass_plan import PassPlan
from rsna.inference.stream import Example, Stream
from rsna.model.network import MammogramNet, build_model
from rsna.prepare.file_task import prepare_source

ROWS = (
    ("torch, as it comes", "32"), ("torch", "32"), ("torch", "bf16"), ("onnxruntime", "32"), ("openvino", "32"),
    ("openvino", "bf16"),
)  # fmt: skip
"""What stands in the table; torch by itself is this project's, which keeps the memory of freed tensors."""
SIZES, FOLDS = ((512, 256), (1024, 512)), (1, 4)
BATCH = 8
EXAM = 4
"""Images of a screening exam."""
FILES = 12


def build(folds: int, backbone: str, images: np.ndarray | None = None) -> list[MammogramNet]:
    """Networks of random weights; with images, of logits from -4 to 4 on them, as training leaves them."""
    networks = []
    for seed in range(folds):
        torch.manual_seed(seed)
        networks.append(build_model(ModelSettings(backbone=backbone, pretrained=False), 1))
        if images is not None:
            spread(networks[-1], torch.from_numpy(Batch(images).as_unit()))
        networks[-1].eval()
    return networks


def spread(network: MammogramNet, images: torch.Tensor) -> None:
    """Gives batch normalisation the statistics of the images, and the classifier a spread of logits."""
    torch.nn.init.normal_(network.classifier.weight)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
        logits = network.eval()(images)[:, 0]
        network.classifier.weight *= 8 / (logits.max() - logits.min())
        network.classifier.bias -= logits.mean() * 8 / (logits.max() - logits.min())


class Plain:
    """Torch as everybody calls it."""

    batch_invariant = False

    def __init__(self, networks: list[MammogramNet]) -> None:
        self.networks = networks

    def logits(self, batch: Batch) -> np.ndarray:
        images = torch.from_numpy(batch.as_unit())
        with torch.inference_mode():
            return np.stack([network(images).numpy() for network in self.networks])


def open_networks(runtime: str, precision: Any, folder: Path) -> Networks | Plain:
    """What a row measures, of the networks in a folder."""
    if runtime == "onnxruntime":
        from rsna.inference.backends.onnx_networks import OnnxNetworks

        return OnnxNetworks(sorted(folder.glob("*.onnx")))
    if runtime == "openvino":
        from rsna.inference.backends.openvino_networks import OpenVinoNetworks

        return OpenVinoNetworks(folder / "folds.xml", precision)
    networks = torch.load(folder / "networks.pt", weights_only=False)  # of this very benchmark
    return Plain(networks) if runtime != "torch" else TorchNetworks(networks, torch.device("cpu"), precision)


def convert(folder: Path, folds: int) -> None:
    """Writes networks for every runtime that is installed; ``images.npy`` is there."""
    images = np.load(folder / "images.npy")
    networks = build(folds, "tf_efficientnet_b3", images[:BATCH])
    torch.save(networks, folder / "networks.pt")
    if find_spec("openvino"):
        from rsna.inference.backends.openvino_networks import write_openvino

        write_openvino(networks, images.shape[1:], folder / "folds.xml")
    if find_spec("onnxruntime") and find_spec("onnxscript"):
        from rsna.inference.backends.onnx_networks import to_onnx

        for number, network in enumerate(networks):
            (folder / f"fold{number}.onnx").write_bytes(to_onnx(network, images.shape[1:]))


def measure(folder: Path, runtime: str, precision: str) -> dict[str, float]:
    """Images a second, and how far probabilities are from those of ``expected.npy``, which the first row writes."""
    images = np.load(folder / "images.npy")
    networks = open_networks(runtime, precision, folder)
    batch = Batch(np.concatenate([images] * BATCH)[:BATCH])
    networks.logits(batch)
    seconds = min(timed(lambda: networks.logits(batch)) for _ in range(3))
    logits = np.concatenate(
        [networks.logits(Batch(images[k : k + BATCH])) for k in range(0, len(images), BATCH)], axis=1
    )
    if not (folder / "expected.npy").exists():
        np.save(folder / "expected.npy", logits)
    difference = np.abs(sigmoid(logits) - sigmoid(np.load(folder / "expected.npy"))).max()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"images_per_s": BATCH / seconds, "difference": float(difference), "peak_gib": peak}


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def networks_table(paths: list[str]) -> list[dict[str, Any]]:
    """A row a size, number of folds and runtime."""
    rows: list[dict[str, Any]] = []
    print("images/s of every fold, ratio to torch as it comes, largest difference of a probability, memory")
    for size in SIZES:
        images = np.stack([prepare_source(path, settings=PreprocessSettings(size=size)).pixels for path in paths])
        for folds in FOLDS:
            with tempfile.TemporaryDirectory() as temporary:
                np.save(f"{temporary}/images.npy", images)
                ask("convert", temporary, str(folds))
                usual = 0.0
                for runtime, precision in ROWS:
                    if runtime in ("onnxruntime", "openvino") and find_spec(runtime) is None:
                        print(f"{runtime} is not installed and left out")
                        continue
                    row = ask("measure", temporary, runtime, precision)
                    usual = usual or row["images_per_s"]
                    about = {"size": size, "folds": folds, "runtime": runtime, "precision": precision}
                    rows.append(about | row | {"times_torch": row["images_per_s"] / usual})
                    print(
                        f"{size[0]}×{size[1]}, {folds} folds, {runtime} {precision}: {row['images_per_s']:.2f} "
                        f"({row['images_per_s'] / usual:.2f} ×), {row['difference']:.1e}, {row['peak_gib']:.1f} GiB",
                        flush=True,
                    )
    return rows


def ask(*arguments: str) -> dict[str, float]:
    """What this program prints in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def exam_table(paths: list[str]) -> dict[str, dict[str, float]]:
    """Seconds an exam by stage and runtime: of a core for files, of the device for networks."""
    size = (1024, 512)
    settings = PreprocessSettings(size=size)
    found = {}
    networks = build(4, "tf_efficientnet_b3")
    with tempfile.TemporaryDirectory() as temporary:
        runtimes: dict[str, Networks] = {"torch": TorchNetworks(networks, torch.device("cpu"))}
        if find_spec("openvino"):
            from rsna.inference.backends.openvino_networks import OpenVinoNetworks, write_openvino

            write_openvino(networks, size, Path(temporary, "folds.xml"))
            runtimes["openvino"] = OpenVinoNetworks(Path(temporary, "folds.xml"))
        for name, device in runtimes.items():
            device.logits(Batch(np.zeros((EXAM, *size), np.uint8)))  # what is compiled and chosen once
            found[name] = by_stage(device, settings, 4, paths, EXAM)[1]
    stages = ["read", "decode", "prepare", "network", "wall"]
    rows = [["seconds an exam of 4 images", *stages]]
    rows += [[name, *(f"{seconds[stage]:.3f}" for stage in stages)] for name, seconds in found.items()]
    print(text_table(rows), flush=True)
    return found


def by_stage(
    device: Networks, settings: PreprocessSettings, folds: int, paths: list[str], batch: int
) -> tuple[float, dict[str, float]]:
    """Images per second of this project, and seconds an exam by stage."""
    stream = Stream([[device]], [settings], (PassPlan(folds, False),), batch_size=batch)
    failed = [one.failure for one in stream.predict([Example((path,))] for path in paths) if one.failure]
    if failed:
        raise SystemExit(f"{len(failed)} images failed: {failed[0]}")
    names = ("read", "decode", "prepare", "network", "wall")
    seconds = {name: getattr(stream.stages, name) * EXAM / len(paths) for name in names}
    return len(paths) / stream.stages.wall, seconds


def notebook_table(paths: list[str]) -> dict[str, Any]:
    """This pipeline against the usual notebook."""
    networks = build(4, "efficientnet_b0")
    paths = paths * 4
    try:
        usual = notebook(paths, networks, (256, 128))
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        print(f"the usual notebook is left out: {str(error).splitlines()[0]}; pip install '.[bench]'")
        return {}
    device = TorchNetworks(networks, torch.device("cpu"))
    ours, stages = by_stage(device, PreprocessSettings(size=(256, 128)), 4, paths, 16)
    print(f"four EfficientNet-B0 at 256×128: pipeline {ours:.2f} images/s, usual notebook {usual:.2f}", end="")
    print(f": {ours / usual:.1f} ×")
    return {"pipeline_images_per_s": ours, "notebook_images_per_s": usual, "times": ours / usual, "stages": stages}


def notebook(paths: list[str], networks: list[MammogramNet], size: tuple[int, int]) -> float:
    """Images per second of the usual notebook."""
    started = time.perf_counter()
    for start in range(0, len(paths), 16):
        images = []
        for path in paths[start : start + 16]:
            dataset = pydicom.dcmread(path)
            pixels = apply_voi_lut(dataset.pixel_array, dataset).astype(np.float32)
            pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min())
            if dataset.PhotometricInterpretation == "MONOCHROME1":
                pixels = 1 - pixels
            images.append(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA))
        batch = torch.from_numpy(np.stack(images))[:, None]
        with torch.inference_mode():
            for network in networks:
                network(batch).sigmoid().numpy()
    return len(paths) / (time.perf_counter() - started)


def main() -> None:
    if sys.argv[1:2] == ["convert"]:  # a process of the table's
        convert(Path(sys.argv[2]), int(sys.argv[3]))
        print("{}")
        return
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), *sys.argv[3:])))
        return
    parser = parser_of(__doc__, data=True)
    tables = {"networks": networks_table, "exam": exam_table, "notebook": notebook_table}
    parser.add_argument("--part", nargs="+", default=list(tables), choices=list(tables), help="tables to make")
    options = parser.parse_args()
    paths = [str(path) for path in dicom_files(options.data, FILES)]
    result = {part: tables[part](paths) for part in options.part}
    write_result(options.json, result, torch_threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
