import json

import numpy as np
import pytest
from scipy.stats import studentized_range
from scipy.stats import t as student

from rsna.evaluation.bootstrap import Resamples, difference, resample
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.compare import against_leader, compare, seed_noise
from rsna.evaluation.counts import OperatingPoints
from rsna.evaluation.evaluate import evaluate, sorted_breasts
from rsna.evaluation.metrics import METRICS
from tests.evaluation.simulate import simulate_images


@pytest.fixture(scope="module")
def images():
    return simulate_images(patients=200)


def noisier(images, amount=2.0):
    z = np.log(images["probability"] / (1 - images["probability"]))
    noise = np.random.default_rng(9).normal(0, amount, len(images))
    return images.assign(probability=1 / (1 + np.exp(-z - noise)))


def test_the_difference_is_that_of_the_metrics_and_its_interval_is_paired(images):
    good, bad = evaluate(images, resamples=0), evaluate(noisier(images), resamples=0)
    found = compare(good, bad, resamples=300)
    assert set(found.differences) == set(METRICS)
    for name, gap in found.differences.items():
        assert gap.value == pytest.approx(getattr(good.pooled, name) - getattr(bad.pooled, name)), name
    auroc = found.differences["auroc"]
    assert 0 < auroc.interval.low < auroc.value < auroc.interval.high
    assert auroc.p < 0.05


def test_the_order_of_rows_does_not_matter(images):
    shuffled = images.sample(frac=1, random_state=0)
    found = compare(evaluate(images, resamples=0), evaluate(shuffled, resamples=0), resamples=20)
    assert all(gap.value == 0 and gap.p == 1 for gap in found.differences.values())


def test_runs_over_other_breasts_labels_or_patients_are_refused(images):
    whole = evaluate(images, resamples=0)
    with pytest.raises(PredictionError, match=r"1 \(10000_R\) breasts are in one run only"):
        compare(whole, evaluate(images[images["prediction_id"] != "10000_R"], resamples=0))
    flipped = images.assign(cancer=images["cancer"].where(images["prediction_id"] != "10000_L", 0))
    with pytest.raises(PredictionError, match=r"1 of 400 \(10000_L\) breasts differ in cancer"):
        compare(whole, evaluate(flipped, resamples=0))


def test_runs_evaluated_differently_are_refused(images):
    other = evaluate(images, points=OperatingPoints(beta=2), resamples=0)
    with pytest.raises(ValueError, match="evaluated differently"):
        compare(evaluate(images, resamples=0), other)


def test_the_comparison_is_json_and_text(images):
    found = compare(evaluate(images, resamples=0), evaluate(noisier(images), resamples=0), resamples=50)
    back = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert back["differences"]["pf1_nested"].keys() == {"value", "interval", "p"}

    line = next(line for line in found.table().splitlines() if line.startswith("AUROC"))
    assert f"{found.differences['auroc'].value:+.4f}" in line
    assert f"<td>{found.differences['auroc'].value:+.4f}</td>" in found._repr_html_()


def drawn(value, noise):
    """Resamples of a run: its value, and what each resample adds to it."""
    return Resamples({"auroc": value + noise}, {"auroc": value}, 0)


def independent(values, sd=0.02, resamples=4000, seed=0):
    rng = np.random.default_rng(seed)
    return [[drawn(value, rng.normal(0, sd, resamples))] for value in values]


def test_two_runs_of_one_seed_are_compared_as_by_the_paired_test(images):
    runs = [evaluate(frame, resamples=0) for frame in (images, noisier(images))]
    one, other = resample([sorted_breasts(r.breasts, r.points, None, r.splits) for r in runs], 200, 0, ["auroc"])
    found = against_leader([[one], [other]], "auroc")
    assert found.rows[1].difference == difference("auroc", one, other)
    assert found.noise.degrees == 0
    assert found.rows[0].p == 1
    assert found.rows[0].difference.value == 0


def test_p_against_the_best_of_many_is_that_of_the_studentised_range():
    # Independent runs of one standard error: the lead of the best is a range, whose distribution SciPy knows.
    for k in (3, 10):
        values = 0.8 - np.linspace(0, 0.08, k)
        found = against_leader(independent(values), "auroc")
        exact = studentized_range.sf((values[0] - values[-1]) / 0.02, k, np.inf)
        assert found.rows[-1].p == pytest.approx(exact, abs=0.25 * exact + 0.004)
        assert found.detectable == pytest.approx(studentized_range.ppf(0.95, k, np.inf) * 0.02, rel=0.05)


def test_what_is_told_from_the_leader_no_longer_counts_against_the_rest():
    near = [0.9, 0.83]
    alone = against_leader(independent(near), "auroc").rows[1].p
    among = against_leader(independent([*near, *[0.3] * 20]), "auroc").rows[1].p
    assert among == pytest.approx(alone, abs=0.01)
    equals = against_leader(independent([0.9, *[0.89] * 20, 0.83]), "auroc").rows[-1].p
    assert equals > 3 * alone


def test_no_number_of_runs_hides_a_run_that_is_far_worse():
    found = against_leader(independent([0.889, *[0.88] * 98, 0.5], resamples=2000), "auroc")
    assert found.rows[-1].p <= 0.001
    assert all(row.p > 0.05 for row in found.rows[:-1])


def test_a_run_beside_its_own_copy_is_not_told_from_it():
    (first,) = independent([0.8])
    found = against_leader([first, first, first], "auroc")
    assert [row.p for row in found.rows] == [1, 1, 1]
    assert np.isnan(found.detectable)
    (_, worse) = independent([0.8, 0.79])
    beside = against_leader([first, first, first, worse], "auroc")
    assert beside.detectable == pytest.approx(against_leader([first, worse], "auroc").detectable, rel=0.1)


def test_draws_that_leave_the_metric_undefined_make_no_difference_smaller_than_it_is():
    whole = independent([0.8, 0.76, 0.72])
    half = independent([0.8, 0.76, 0.72])
    for (run,) in half:
        run.values["auroc"][::2] = np.nan  # few positives: the same draws leave every run without a threshold
    found = against_leader(half, "auroc")
    for row, expected in zip(found.rows, against_leader(whole, "auroc").rows, strict=True):
        assert row.p == pytest.approx(expected.p, abs=0.03)
    assert found.detectable > 0


@pytest.mark.filterwarnings("ignore:Degrees of freedom", "ignore:Mean of empty slice")
def test_what_no_draw_defines_is_not_told_from_the_leader():
    never = [[drawn(value, np.full(100, np.nan))] for value in (0.8, 0.7)]
    found = against_leader(never, "auroc")
    assert np.isnan(found.rows[1].p)
    assert np.isnan(found.detectable)


def test_noise_of_seeds_is_what_their_spread_has_beyond_that_of_patients():
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 0.05, 4000)  # what patients do to all models alike
    own = [rng.normal(0, 0.01, 4000) for _ in range(4)]
    means = [0.80, 0.84, 0.70, 0.74]
    runs = [drawn(mean, shared + one) for mean, one in zip(means, own, strict=True)]
    found = seed_noise([runs[:2], runs[2:], [drawn(0.5, shared)]], "auroc")
    assert found.degrees == 2
    assert found.within == pytest.approx(0.01**2, rel=0.05)
    assert found.sd == pytest.approx(np.sqrt(0.0008 - 0.01**2), rel=0.02)
    assert seed_noise([runs[:1], runs[2:3]], "auroc").degrees == 0


def test_seeds_that_differ_make_a_difference_of_patients_alone_uncertain():
    rng = np.random.default_rng(2)
    patients = [rng.normal(0, 0.002, 4000) for _ in range(4)]
    values = (0.80, 0.70), (0.74, 0.64)  # seeds of one configuration are further apart than configurations
    by_seed = [
        [drawn(value, noise) for value, noise in zip(pair, patients[2 * i : 2 * i + 2], strict=True)]
        for i, pair in enumerate(values)
    ]
    both = against_leader(by_seed, "auroc").rows[1]
    single = against_leader([by_seed[0][:1], by_seed[1][:1]], "auroc").rows[1]
    assert single.p < 0.01 < 0.05 < both.p
    # Student's t of two degrees, by hand: each configuration's variance is 0.005.
    t = 0.06 / np.sqrt(0.005 * (1 / 2 + 1 / 2))
    assert both.difference.p == pytest.approx(2 * student.sf(t, 2), abs=0.03)
    assert both.difference.interval.low < 0 < both.difference.interval.high
    assert both.interval.low < 0.69 < both.interval.high


def test_of_ranks_only_the_metrics_of_an_order_are_compared(images):
    given, ranks = evaluate(images, resamples=0), evaluate(noisier(images), probabilities=False, resamples=0)
    found = compare(given, ranks, resamples=20)
    assert set(METRICS) - set(found.differences) == {"pf1_raw", "brier", "calibration_error"}


def test_other_folds_are_refused_with_both():
    images = simulate_images(patients=40)
    one, other, none = (
        evaluate(frame, resamples=0)
        for frame in (
            images,
            images.assign(fold=images["fold"].mask(images["patient_id"] == "10003", 0)),
            images.drop(columns="fold"),
        )
    )
    with pytest.raises(PredictionError, match="10003 is in fold 3 of the first run, in fold 0 of the second run"):
        compare(one, other, resamples=10)
    with pytest.raises(PredictionError, match="one of the two brings folds, the other none"):
        compare(one, none, resamples=10)


def test_what_is_compared_is_said():
    images = simulate_images(patients=40)
    runs = []
    for name in ("a.csv", "b.csv"):
        images.attrs["scored"] = f"column p of {name}"
        runs.append(evaluate(images, resamples=0))
    assert "scored: column p of a.csv; less column p of b.csv" in compare(*runs, resamples=10).table()


def test_no_interval_leaves_the_range_of_its_metric():
    noise = 0.01 * np.random.default_rng(1).normal(size=(4, 500))
    noisy = [[drawn(0.95, noise[0]), drawn(0.95, noise[1])], [drawn(0.1, noise[2]), drawn(0.9, noise[3])]]
    for row in against_leader(noisy, "auroc").rows:
        assert row.interval.low >= 0
        assert row.interval.high <= 1
        assert -1 <= row.difference.interval.low <= row.difference.interval.high <= 1
