"""Keys of a verb that others make nothing of are refused."""

import pytest

from rsna.config.board import CompareOptions
from rsna.config.settings import ConfigError, from_mapping, parse_assignments
from rsna.config.verbs import BrowseOptions, FoldsMakeOptions, InferOptions


@pytest.mark.parametrize(
    ("options", "given", "said"),
    [
        (BrowseOptions, ["batches=2", "n=5"], "n: images are drawn without batches"),
        (FoldsMakeOptions, ["labels=t.csv", "by=site_id", "n_folds=5"], "leave out n_folds and seed"),
        (FoldsMakeOptions, ["labels=t.csv", "by=site_id", "seed=5"], "leave out n_folds and seed"),
        (FoldsMakeOptions, ["labels=t.csv", "smallest=5"], "smallest: it joins small parts of a column"),
        (InferOptions, ["run=r", "input=i", "compile=true", "backend=openvino"], "and backend=openvino"),
        (CompareOptions, ["runs=[a,b]", "out=", "images=2"], "data, images: they are for the page"),
    ],
)
def test_what_has_no_effect_is_refused(options, given, said):
    with pytest.raises(ConfigError, match=said):
        from_mapping(options, parse_assignments(given))


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (BrowseOptions, ["batches=2", "seed=5"]),
        (FoldsMakeOptions, ["labels=t.csv", "by=site_id", "smallest=5"]),
        (FoldsMakeOptions, ["labels=t.csv", "n_folds=5", "seed=5"]),
        (InferOptions, ["run=r", "input=i", "compile=true"]),
        (CompareOptions, ["runs=[a,b]", "out="]),
    ],
)
def test_what_goes_together_is_taken(options, given):
    from_mapping(options, parse_assignments(given))
