"""What can be wrong with what a prediction is made from, and with a prediction that must not fall back."""


class RecipeError(ValueError):
    """A run or bundle that nothing can be predicted with; the message says what is missing."""


class StrictError(RuntimeError):
    """A fallback under strict=true."""
