"""Where the images come from: a folder in the competition's layout, or the embedded sample."""

from rsna.config.data import DataSettings, require_data
from rsna.dataset.table import ImageTable, Split, load_table


def load_data(settings: DataSettings, split: Split = "train") -> ImageTable:
    """Reads the table of a set, writing the embedded sample first where it is asked for.

    Raises:
        ConfigError: Nobody named a set, and there is none where it is looked for.
        TableError: See :func:`rsna.dataset.table.load_table`.
    """
    if settings.demo:
        from rsna.demo import DemoSettings, write_demo

        write_demo(settings.root, DemoSettings())
    require_data(settings.root)
    return load_table(settings.root, split, settings.name, settings.sampling, settings.extra)
