import pytest

from rsna.evaluation.checks import PredictionError, as_labels, as_weights, offenders


def test_offenders_are_counted_and_the_first_three_named():
    assert offenders(["a", "b"]) == "2 (a, b)"
    assert offenders(range(1200), 5000) == "1,200 of 5,000 (0, 1, 2, …)"


def test_prediction_errors_are_value_errors():
    assert issubclass(PredictionError, ValueError)


@pytest.mark.parametrize("labels", [[0, 1, 1], [False, True, True], [0.0, 1.0, 1.0]])
def test_labels_are_read_whatever_their_type(labels):
    assert as_labels(labels).tolist() == [False, True, True]


def test_weights_are_ones_unless_given():
    assert as_weights(None, 2).tolist() == [1, 1]
    assert as_weights([0, 2.5], 2).tolist() == [0, 2.5]
