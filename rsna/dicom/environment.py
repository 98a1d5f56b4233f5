"""The environment in which a process decodes fastest."""

HEAP = {"MALLOC_MMAP_THRESHOLD_": str(64 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""For the environment of processes that decode file after file: the C library (glibc) keeps up to 256 MiB of freed
pixels for the next image. Otherwise it gives them back, and a tenth of the time goes into getting them again."""
