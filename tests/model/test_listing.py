"""What `rsna models` prints."""

import json

import pytest

from rsna.cli import main


def test_json_has_every_variant_with_its_figures(capsys):
    assert main(["models", "format=json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(listed["tf_efficientnet_b3"]) == {"name", "params", "macs", "input_size"}
    assert listed["tf_efficientnet_b3"]["params"] == 12_233_232
    assert listed["tf_efficientnet_b3"]["input_size"] == [300, 300]
    assert len(listed) >= 14


@pytest.mark.slow
def test_the_table_names_the_counter_and_the_weights(capsys):
    assert main(["models", "size=[64,32]"]) == 0
    printed = capsys.readouterr().out
    assert "FlopCounterMode" in printed
    assert "G at 64×32" in printed
    assert "ns_jft_in1k" in next(line for line in printed.splitlines() if line.startswith("tf_efficientnet_b3 "))
