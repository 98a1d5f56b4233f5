"""Libraries that report their use to their makers, or ask them for news, and how each is told not to."""

import os

SWITCHES = {
    # From 1.29 on it sends names and hashes of models from Linux, too, and keeps what it could not send under ~/.cache.
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Of openvino-telemetry, MLflow and others that follow consoledonottrack.com.
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Asks a server for its newest version when it is imported; machines without network wait for it.
    "NO_ALBUMENTATIONS_UPDATE": "1",
}
"""Environment variable → what switches it off."""


def switch_off() -> None:
    """Sets what the environment does not say otherwise, for this process and those that it starts.

    Mammograms are looked at where nothing may leave the house. Libraries read these when they are imported.
    """
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
