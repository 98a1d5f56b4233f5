"""Keys of a verb that others make nothing of are refused."""

import pytest

from rsna.config.board import CompareOptions
from rsna.config.external import ValidateOptions
from rsna.config.settings import ConfigError, from_mapping, parse_assignments
from rsna.config.verbs import BrowseOptions, EnsembleOptions, EvaluateOptions, FoldsMakeOptions, InferOptions


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


@pytest.mark.parametrize(
    ("options", "given", "said"),
    [
        (InferOptions, ["run=r", "input=set", "out=set/test.csv"], "out: set/test.csv is what is read"),
        (InferOptions, ["run=r", "input=.", "out=train.csv"], "out: train.csv is what is read"),
        (InferOptions, ["run=r", "input=link", "out=set/test.csv"], "out: set/test.csv is what is read"),
        (FoldsMakeOptions, ["labels=set/train.csv", "out=./set/train.csv"], "is what is read, and would be lost"),
        (EvaluateOptions, ["predictions=a.csv", "out=a.csv"], "out: a.csv is what is read"),
        (EnsembleOptions, ["run=[a.csv,b.csv]", "oof=b.csv"], "oof: b.csv is what is read"),
        (EnsembleOptions, ["run=[a.csv,b.csv]", "labels=l.csv", "oof=l.csv"], "oof: l.csv is what is read"),
        (EnsembleOptions, ["run=[a.csv,b.csv]", "out=c.csv", "oof=c.csv"], "oof: c.csv is out=, too"),
        (ValidateOptions, ["run=r", "input=[set]", "out=set/train.csv"], "out: set/train.csv is what is read"),
    ],
)
def test_nothing_is_written_over_what_is_read(tmp_path, monkeypatch, options, given, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to("set")
    with pytest.raises(ConfigError, match=said):
        from_mapping(options, parse_assignments(given))


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (InferOptions, ["run=r", "input=set", "out=set/submission.csv"]),
        (InferOptions, ["run=r", "input=set", "out=test.csv"]),
        (EvaluateOptions, ["predictions=a.csv", "out=a.json"]),
        (EnsembleOptions, ["run=[a.csv,b.csv]", "out=c.json", "oof=c.csv"]),
    ],
)
def test_whatever_is_beside_what_is_read_is_written(tmp_path, monkeypatch, options, given):
    monkeypatch.chdir(tmp_path)
    from_mapping(options, parse_assignments(given))
