"""Trains folds: ``python train.py fold=0``; ``python train.py --help`` shows groups, keys and examples."""

import sys

from rsna.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
