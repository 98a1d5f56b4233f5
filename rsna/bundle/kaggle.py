"""What Kaggle's own uploader wants beside a bundle: metadata of the dataset, and the notebook with its own."""

import re
import shutil
from pathlib import Path

from rsna.files import write_json

NOTEBOOK = "kaggle_submission.ipynb"
_OF_KERNEL = " submission"


def write_metadata(folder: Path, owner: str, title: str) -> None:
    """Writes ``dataset-metadata.json``, and ``kernel/`` with ``kernel-metadata.json`` and the notebook.

    Subfolders are not uploaded with a dataset, so the kernel's is none of its files. A title has 6 to 50 characters:
    of a longer one of a kernel Kaggle says that its server has an error.
    """
    slug, of_kernel = _slug(title), f"{title[: 50 - len(_OF_KERNEL)].rstrip()}{_OF_KERNEL}"
    write_json(
        folder / "dataset-metadata.json",
        {"title": title, "id": f"{owner}/{slug}", "licenses": [{"name": "Apache 2.0"}]},
    )
    write_json(
        folder / "kernel" / "kernel-metadata.json",
        {
            "id": f"{owner}/{_slug(of_kernel)}",
            "title": of_kernel,
            "code_file": NOTEBOOK,
            "language": "python",
            "kernel_type": "notebook",
            "is_private": True,
            "enable_gpu": True,
            "machine_shape": "NvidiaTeslaT4",
            "enable_internet": False,
            "dataset_sources": [f"{owner}/{slug}"],
            "competition_sources": ["rsna-breast-cancer-detection"],
        },
    )
    shutil.copyfile(notebook(), folder / "kernel" / NOTEBOOK)


def _slug(title: str) -> str:
    """What stands for a title in an address, as Kaggle makes it."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def notebook() -> Path:
    """The notebook of the checkout, or the one that an installed package carries."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "notebooks" / NOTEBOOK
    return checkout if checkout.is_file() else package / "notebooks" / NOTEBOOK
