"""Predicts a folder with a run or a bundle: ``python infer.py run=runs/demo input=data/demo``; ``--help`` for more."""

import sys

from rsna.cli import main

if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:]]))
