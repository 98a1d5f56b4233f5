"""What happens beside the training steps: checkpoints, history, progress, the watch over the loss."""
