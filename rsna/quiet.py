"""What libraries say that nobody can use."""

import logging
import warnings


def quieten_pydicom() -> None:
    """Values that break the rules of their VR: pydicom warns of each of them, with a line of its own source.

    What an image needs is said as a note or an error. For programs of this package alone: whoever imports it keeps
    what pydicom says.
    """
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    logging.getLogger("pydicom").setLevel(logging.ERROR)
