"""How far a job is, in words; the numbers are worked by hand."""

from __future__ import annotations

import pytest

from ldm_core.jobs.pace import Pace, Standing, clock, told


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0:00:00"), (59.6, "0:01:00"), (3_661, "1:01:01"), (90_061, "1 d 1:01:01")],
)
def test_a_time_is_shown_as_on_a_clock(seconds: float, words: str) -> None:
    assert clock(seconds) == words


@pytest.mark.parametrize(
    ("standing", "rate", "words"),
    [
        (Standing(10, 0), None, "0 of 10 done, 10 left"),
        (Standing(100, 40, 2), 2.0, "40 of 100 done, 2 failed, 58 left, 2.0 it/s, 0:00:29 left"),
        (Standing(100, 40), 0.25, "40 of 100 done, 60 left, 4.0 s/it, 0:04:00 left"),
        (Standing(100, 98, 2), 5.0, "98 of 100 done, 2 failed, 0 left, 5.0 it/s"),
    ],
)
def test_a_line_says_all_of_it(standing: Standing, rate: float | None, words: str) -> None:
    assert told(standing, rate) == words


def test_what_was_there_before_is_no_speed() -> None:
    pace = Pace(Standing(1000, 500))
    assert pace.rate(102.0, Standing(1000, 500)) is None
    assert pace.rate(104.0, Standing(1000, 506, 2)) is None
    assert pace.rate(105.0, Standing(1000, 506, 2)) is None
    assert pace.rate(108.0, Standing(1000, 512, 4)) == pytest.approx(8 / 4)


def test_the_start_is_no_part_of_the_speed() -> None:
    """A minute and a half of loading, then a picture a second."""
    pace = Pace(Standing(10, 0))
    for second in range(90):
        assert pace.rate(float(second), Standing(10, 0)) is None
    assert pace.rate(90.0, Standing(10, 1)) is None
    assert pace.rate(91.0, Standing(10, 2)) == pytest.approx(1)
    assert pace.rate(92.0, Standing(10, 3)) == pytest.approx(1)


def test_two_that_are_seen_a_moment_apart_say_no_speed() -> None:
    pace = Pace(Standing(3, 0))
    assert pace.rate(10.00, Standing(3, 1)) is None
    assert pace.rate(10.02, Standing(3, 2)) is None
    assert pace.rate(12.00, Standing(3, 3)) == pytest.approx(2 / 2)


def test_batches_that_take_longer_than_a_minute_have_their_own_speed() -> None:
    pace = Pace(Standing(100, 0))
    for second in range(501):
        rate = pace.rate(float(second), Standing(100, 8 * (second // 100)))
    assert rate == pytest.approx(8 / 100)


def test_speed_is_that_of_the_last_minute() -> None:
    """Ten a second for a minute and a half, then one a second: a minute later nothing is seen of
    the former."""
    pace = Pace(Standing(10_000, 0))
    for second in range(1, 91):
        rate = pace.rate(float(second), Standing(10_000, 10 * second))
    assert rate == pytest.approx(10)
    for second in range(91, 152):
        rate = pace.rate(float(second), Standing(10_000, 900 + second - 90))
    assert rate == pytest.approx(1)
