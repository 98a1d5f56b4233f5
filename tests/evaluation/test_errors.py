from rsna.evaluation.errors import PredictionError, offenders


def test_offenders_are_counted_and_the_first_three_named():
    assert offenders(["a", "b"]) == "2 (a, b)"
    assert offenders(range(1200), 5000) == "1,200 of 5,000 (0, 1, 2, …)"


def test_prediction_errors_are_value_errors():
    assert issubclass(PredictionError, ValueError)
