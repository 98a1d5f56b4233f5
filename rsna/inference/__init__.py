"""Weights and images in, probabilities and a submission out. Runs on the base install."""
