"""Packs: many prepared images in few files, written from a cache and read in its place."""
