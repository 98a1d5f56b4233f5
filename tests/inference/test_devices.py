"""Freed tensors stay with the process, where the C library can be told so."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from rsna.inference.devices import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
    keep_freed_memory()
for _ in range(20):
    torch.ones(32 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(32 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_tensors_are_made_of_the_memory_of_freed_ones():
    """Ten tensors of 128 MB: 330,000 pages of 4 KB, or fewer where the system hands out larger ones."""
    faults = {
        how: int(subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, check=True).stdout)
        for how in ("given back", "kept")
    }
    assert faults["kept"] < faults["given back"] / 4
