"""What can be wrong with a run or a bundle."""


class RunError(ValueError):
    """A run or a bundle that cannot be used as it is; the message names the file and how to go on."""
