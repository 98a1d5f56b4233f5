import numpy as np
import pytest

from rsna.evaluation.checks import PredictionError, as_labels, as_weights, doubts_of_decisions, offenders, shown


def test_offenders_are_counted_and_the_first_three_named():
    assert offenders(["a", "b"]) == "2 (a, b)"
    assert offenders(range(1200), 5000) == "1,200 of 5,000 (0, 1, 2, …)"


def test_prediction_errors_are_value_errors():
    assert issubclass(PredictionError, ValueError)


@pytest.mark.parametrize(("cell", "text"), [(3.0, "3"), (0.5, "0.5"), (2, "2"), ("fold3", "fold3")])
def test_cells_are_shown_as_they_stand_in_the_file(cell, text):
    assert shown(cell) == text


TRUTH = np.repeat([1, 0], [24, 216])


def flipped(*rows):
    changed = TRUTH.copy()
    changed[list(rows)] = 1 - changed[list(rows)]
    return changed


@pytest.mark.parametrize("copy", [flipped(0), flipped(100), flipped(0, 100), flipped()])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.01, 0.99), (0.9, 0.2)])
def test_nearly_the_labels_look_like_labels(copy, low, high):
    said = doubts_of_decisions(TRUTH, np.where(copy == 1, high, low))
    assert len(said) == 2
    assert said[1].startswith(f"looks like labels: {high:g} stands in {(copy[:24] == 1).sum()} of 24 rows with cancer")


@pytest.mark.parametrize("scores", [flipped(0, 1), flipped(100, 101), flipped(*range(0, 240, 3))])
def test_other_decisions_are_decisions_alone(scores):
    (line,) = doubts_of_decisions(TRUTH, scores)
    assert line == (
        "two values alone, 0 and 1: AUROC, AUPRC and calibration are those of decisions, not of probabilities"
    )


def test_few_rows_that_agree_and_probabilities_are_not_doubted():
    assert len(doubts_of_decisions([1, 1, 0, 0, 0], [1, 1, 0, 0, 1])) == 1
    assert doubts_of_decisions(TRUTH, np.full(240, 0.3)) == []
    assert doubts_of_decisions(TRUTH, np.linspace(1, 0, 240)) == []


@pytest.mark.parametrize("labels", [[0, 1, 1], [False, True, True], [0.0, 1.0, 1.0]])
def test_labels_are_read_whatever_their_type(labels):
    assert as_labels(labels).tolist() == [False, True, True]


def test_weights_are_ones_unless_given():
    assert as_weights(None, 2).tolist() == [1, 1]
    assert as_weights([0, 2.5], 2).tolist() == [0, 2.5]
