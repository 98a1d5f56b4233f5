"""Packing a run for a machine without network, and verifying what was packed."""
