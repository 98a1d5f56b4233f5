"""Predicting on the nodes of a cluster: `stream` hands out the work, `node` does it."""
