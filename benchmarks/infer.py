"""Images per second from file to probability: this pipeline against the usual notebook, on the CPU.

    python benchmarks/infer.py --data FOLDER [--json FILE] [--repeat 4] [--folds 4]

FOLDER holds DICOM mammograms at any depth. Both predict the same files with four EfficientNet-B0 at 256×128. The usual
notebook decodes with pydicom's ``pixel_array``, windows at full size, resizes, and asks one fold after the other, a
batch at a time, in one process; it needs pydicom's decoders (pylibjpeg-openjpeg, python-gdcm). Weights are random: they
cost what trained ones cost.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pydicom
import torch
from pydicom.pixels import apply_voi_lut

from rsna.config.data import PreprocessSettings
from rsna.config.model import ModelSettings
from rsna.inference.networks import TorchNetworks
from rsna.inference.pass_plan import PassPlan
from rsna.inference.stream import Stream
from rsna.model.network import MammogramNet, build_model

SIZE = (256, 128)
BATCH = 16
EXAM = 4
"""Images of a screening exam."""


def notebook(paths: list[str], networks: list[MammogramNet]) -> float:
    """Images per second of the usual notebook."""
    started = time.perf_counter()
    for start in range(0, len(paths), BATCH):
        images = []
        for path in paths[start : start + BATCH]:
            dataset = pydicom.dcmread(path)
            pixels = apply_voi_lut(dataset.pixel_array, dataset).astype(np.float32)
            pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min())
            if dataset.PhotometricInterpretation == "MONOCHROME1":
                pixels = 1 - pixels
            images.append(cv2.resize(pixels, SIZE[::-1], interpolation=cv2.INTER_AREA))
        batch = torch.from_numpy(np.stack(images))[:, None]
        with torch.inference_mode():
            for network in networks:
                network(batch).sigmoid().numpy()
    return len(paths) / (time.perf_counter() - started)


def pipeline(paths: list[str], networks: list[MammogramNet]) -> tuple[float, dict[str, float]]:
    """Images per second of this project, and seconds an exam by stage."""
    device = TorchNetworks(networks, torch.device("cpu"))
    stream = Stream([device], PreprocessSettings(size=SIZE), PassPlan(len(networks), False), batch_size=BATCH)
    failed = [one.failure for one in stream.predict((path,) for path in paths) if one.failure]
    if failed:
        raise SystemExit(f"{len(failed)} images failed: {failed[0]}")
    stages = stream.stages
    seconds = {name: getattr(stages, name) * EXAM / len(paths) for name in ("read", "decode", "prepare", "network")}
    return len(paths) / stages.wall, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeat", type=int, default=4, help="how often every file is predicted")
    parser.add_argument("--folds", type=int, default=4)
    options = parser.parse_args()
    paths = [str(path) for path in sorted(options.data.rglob("*.dcm"))] * options.repeat
    if not paths:
        raise SystemExit(f"{options.data} holds no *.dcm")
    settings = ModelSettings(backbone="efficientnet_b0", pretrained=False)
    networks = [build_model(settings, 1).eval() for _ in range(options.folds)]
    usual = notebook(paths, networks)
    ours, stages = pipeline(paths, networks)
    result = {
        "pipeline_images_per_s": round(ours, 2),
        "notebook_images_per_s": round(usual, 2),
        "times": round(ours / usual, 2),
        "stages": {name: round(seconds, 4) for name, seconds in stages.items()},
        "images": len(paths),
        "folds": options.folds,
        "torch_threads": torch.get_num_threads(),
    }
    print(f"pipeline {ours:.2f} images/s, usual notebook {usual:.2f} images/s: {ours / usual:.1f} ×")
    print("seconds an exam of 4 images:", ", ".join(f"{name} {seconds:.3f}" for name, seconds in stages.items()))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
