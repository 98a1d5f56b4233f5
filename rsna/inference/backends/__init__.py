"""Runtimes other than torch for the CPU, let through only where they predict what torch predicts."""

import sys

# OpenVINO reports each import of itself to an analytics service by this package where it is there, and keeps an id in
# the home folder; without it, it goes on with a stub of its own. Machines with patients' images are no place for that.
if "openvino" not in sys.modules:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
