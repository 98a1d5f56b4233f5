"""What an archive costs in machines, hours, disk, network and money, from what was measured here an image.

    python benchmarks/plan.py [--images N] [--days N] [--core-hour $] [--gpu-hour $] [--gib-month $] …

Reads docs/results/prepare.json, cache.json and gpu.json, and prints the table of docs/scale.md. Everything that was not
measured here is an option, and its default an assumption: prices are round numbers near list prices of large clouds in
2026, not looked up for any one of them; `--source-mb` is the competition's mean, 314 GB of 54,706 files;
`--forward-share` is the time that a network takes to predict an image, as a share of a step of training.
"""

import argparse
import json
from typing import Any

from common import RESULTS, above_zero, at_least, from_zero

HOUR = 3600


def main() -> None:
    """Prints the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=above_zero, default=1e7, help="images of the archive")
    parser.add_argument(
        "--days", type=above_zero, default=2.0, help="that preparing, each fold and predicting may take"
    )
    parser.add_argument("--source-mb", type=above_zero, default=5.75, help="of a file, MB")
    parser.add_argument(
        "--folds", type=at_least(2), default=4, help="folds that are trained, and networks that predict"
    )
    parser.add_argument("--epochs", type=above_zero, default=4, help="of each fold")
    parser.add_argument(
        "--forward-share", type=above_zero, default=0.33, help="predicting an image ÷ a step of training"
    )
    parser.add_argument("--link-gbit", type=above_zero, default=10, help="from the files to the cores, Gbit/s")
    parser.add_argument("--link-share", type=above_zero, default=0.8, help="of the link that is had")
    parser.add_argument("--months", type=from_zero, default=3, help="that prepared images are kept")
    parser.add_argument("--core-hour", type=from_zero, default=0.05, help="price, $")
    parser.add_argument("--gpu-hour", type=from_zero, default=3.0, help="price of one H100, $")
    parser.add_argument("--gib-month", type=from_zero, default=0.025, help="price of object storage, $")
    parser.add_argument("--egress-gb", type=from_zero, default=0.09, help="price of a GB that leaves a cloud, $")
    options = parser.parse_args()
    for line in plan(options):
        print(line)


def measured() -> dict[str, float]:
    """Of one image at 1024×512: preparations a second and core, KiB prepared, training steps a second and GPU."""
    prepare, cache, gpu = (_result(name) for name in ("prepare", "cache", "gpu"))
    kib = next(row["size_kib"] for row in cache["formats"] if row["format"] == "TIFF, row differences, Zstandard 1")
    rates = [row["pipeline_images_per_s"] for row in gpu["table"] if row["size"] == [1024, 512]]
    return {"prepared_per_core_s": prepare["two_processes_images_per_s"] / 2, "kib": kib, "trained_per_gpu_s": rates[0]}


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["result"]
    return found


def plan(o: argparse.Namespace) -> list[str]:
    """Lines of the table, in Markdown, and what binds."""
    found, images, seconds = measured(), o.images, o.days * 24 * HOUR
    core_hours = images / found["prepared_per_core_s"] / HOUR
    source_mb_a_core = found["prepared_per_core_s"] * o.source_mb
    link_mb = o.link_gbit * 1000 / 8 * o.link_share
    epoch_hours = images * (1 - 1 / o.folds) / found["trained_per_gpu_s"] / HOUR
    fold_hours = epoch_hours * o.epochs
    forward_per_s = found["trained_per_gpu_s"] / o.forward_share
    predict_hours = images * o.folds / forward_per_s / HOUR
    prepared_gib = images * found["kib"] / 2**20
    read_mib = found["trained_per_gpu_s"] * found["kib"] / 1024

    def row(step: str, cost: str, machines: str, dollars: float) -> str:
        return f"| {step} | {cost} | {machines} | {dollars:,.0f} |"

    def gpus(hours: float) -> str:
        return f"{max(1, -(-hours * HOUR // seconds)):.0f} GPU(s) for {o.days:g} days"

    cores = max(1, -(-core_hours * HOUR // seconds))
    return [
        f"{images:,.0f} images:",
        "",
        "| step | work | machines | $ |",
        "|---|---|---|---|",
        row("prepare", f"{core_hours:,.0f} core hours", f"{cores:.0f} cores for {o.days:g} days",
            core_hours * o.core_hour),
        row("train one fold", f"{fold_hours:,.0f} GPU hours ({epoch_hours:.1f} an epoch)", gpus(fold_hours),
            fold_hours * o.gpu_hour),
        row(f"train {o.folds} folds", f"{o.folds * fold_hours:,.0f} GPU hours", f"{o.folds} × the same",
            o.folds * fold_hours * o.gpu_hour),
        row(f"predict with {o.folds} networks, prepared", f"{predict_hours:,.0f} GPU hours", gpus(predict_hours),
            predict_hours * o.gpu_hour),
        row("keep what is prepared", f"{prepared_gib / 1024:.2f} TiB, {o.months:g} months", f"{images:,.0f} files",
            prepared_gib * o.months * o.gib_month),
        "",
        f"- Files: {images * o.source_mb / 1e6:,.1f} TB, {images * o.source_mb / link_mb / HOUR:.0f} h through "
        f"{o.link_gbit:g} Gbit/s at {o.link_share:.0%}.",
        f"- Moved out of a cloud that takes {o.egress_gb:g} $/GB, they cost "
        f"{images * o.source_mb / 1e3 * o.egress_gb:,.0f} $.",
        f"- A core that prepares takes in {source_mb_a_core:.0f} MB/s: that link feeds "
        f"{link_mb / source_mb_a_core:.0f} cores, and beyond them is what limits.",
        f"- A GPU that trains reads {read_mib:.0f} MiB/s in {found['trained_per_gpu_s']:.0f} pieces; eight of them "
        f"{8 * read_mib:.0f} MiB/s in {8 * found['trained_per_gpu_s']:,.0f}.",
        f"- A GPU that predicts with {o.folds} networks takes {forward_per_s / o.folds:.0f} images/s: from DICOM files "
        f"that is {forward_per_s / o.folds / found['prepared_per_core_s']:.0f} cores that decode beside each GPU.",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
