"""The embedded sample: simulated screening mammograms, written as real DICOM in the competition's layout.

It lets every verb run without a download. Breasts are drawn from random fields, not learnt from anyone's images::

    plan      who is there, with which labels and findings
    anatomy   outline and normal tissue of one image        texture   the random fields that tissue is made of
    lesions   masses, calcifications and what resembles them
    scene     one image as its machine took it              machines  how each machine stores pixels
    films     the same as a digitised film
    writer    all of them as DICOM files, with their tables
    sample    the folder that they lie in, written where it is not there yet

Each name is imported when it is first used: whoever has the sample draws nothing.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from rsna.lazy import lazy_names as _lazy_names

if _TYPE_CHECKING:
    from rsna.demo.plan import DemoSettings as DemoSettings
    from rsna.demo.sample import demo_digest as demo_digest
    from rsna.demo.sample import write_demo as write_demo
    from rsna.demo.writer import is_simulated as is_simulated

__all__ = ["DemoSettings", "demo_digest", "is_simulated", "write_demo"]

__getattr__, __dir__ = _lazy_names(
    globals(),
    {
        "DemoSettings": "rsna.demo.plan",
        "demo_digest": "rsna.demo.sample",
        "is_simulated": "rsna.demo.writer",
        "write_demo": "rsna.demo.sample",
    },
)
