"""A small budget of the fuzz; `python -m tests.fuzz minutes=20` spends more."""

import pytest

from tests.fuzz import corpus, fuzz, mutate


def test_mutated_files_end_in_pixels_or_in_a_documented_error():
    outcome = fuzz(seconds=12.0)
    assert not outcome.failures
    assert outcome.tries > 500
    assert outcome.pixels > 100
    assert len(outcome.errors) >= 7
    assert outcome.peak_bytes < 128 << 20


def test_a_try_is_a_function_of_its_number():
    files = corpus()
    assert [mutate(files, number) for number in range(50)] == [mutate(files, number) for number in range(50)]


@pytest.mark.slow
def test_mutated_files_for_longer():
    assert not fuzz(seconds=120.0, first=1_000_000).failures
