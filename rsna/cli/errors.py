"""Which errors are said in a line, and which show where they come from."""

_TRAIN_EXTRA = {
    "albumentations", "captum", "filelock", "hydra", "jinja2", "matplotlib", "mlflow", "omegaconf",
    "pytorch_lightning", "rich",
}  # fmt: skip


def speaks_for_itself(error: BaseException) -> bool:
    """The project's own errors say what, where and how to mend; anything else is a defect and shows its traceback."""
    if isinstance(error, ModuleNotFoundError) and error.name in _TRAIN_EXTRA:
        error.msg = f"{error.name} is not installed; pip install 'rsna-mammography[train]'"
        return True
    return type(error).__module__.startswith("rsna.") or isinstance(error, OSError)
