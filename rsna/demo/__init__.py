"""The embedded sample: simulated screening mammograms, written as real DICOM in the competition's layout.

It lets every verb run without a download. Breasts are drawn from random fields, not learnt from anyone's images::

    plan      who is there, with which labels and findings
    anatomy   outline and normal tissue of one image        texture   the random fields that tissue is made of
    lesions   masses, calcifications and what resembles them
    scene     one image as its machine took it              machines  how each machine stores pixels
    writer    all of them as DICOM files, with their tables
"""

from rsna.demo.plan import DemoSettings
from rsna.demo.writer import demo_digest, write_demo

__all__ = ["DemoSettings", "demo_digest", "write_demo"]
