"""Nothing is reported to anybody: what libraries read when they are imported says so."""

import os
import subprocess
import sys

import pytest

from rsna.telemetry import SWITCHES


def run(code, **environment):
    plain = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    return subprocess.run(
        [sys.executable, "-c", code], env=plain | environment, text=True, capture_output=True, check=True
    )


def test_they_are_switched_off_before_any_is_imported():
    said = run(
        "import rsna, os, sys; print([os.environ[name] for name in " + repr(list(SWITCHES)) + "], len(sys.modules))"
    )
    assert str(list(SWITCHES.values())) in said.stdout


def test_what_the_user_set_stands():
    said = run("import rsna, os; print(os.environ['ORT_DISABLE_TELEMETRY'])", ORT_DISABLE_TELEMETRY="0")
    assert said.stdout.strip() == "0"


@pytest.mark.parametrize(
    "module", ["rsna.inference.backends.onnx_networks", "rsna.inference.backends.openvino_networks"]
)
def test_a_runtime_keeps_no_record_of_its_use(tmp_path, module):
    """onnxruntime keeps what it will send, and who sends it, where caches are."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    places = {name: str(tmp_path / name) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    session = "import onnxruntime as o; o.SessionOptions(); o.get_available_providers()"
    run(f"import {module}; {session}", **places)
    assert not [file for file in tmp_path.rglob("*") if "DeveloperTools" in str(file) or "intel" in str(file).lower()]
