"""Numbers as people read them."""

from __future__ import annotations

import pytest

from edgepress.benchmarks import _numbers as numbers


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.count(2_236_682), "2.24 M"),
        (numbers.count(861_336_000), "861 M"),
        (numbers.count(999), "999"),
        (numbers.count(None), "–"),
        (numbers.size(9_945_811), "9.95 MB"),
        (numbers.size(512), "512 B"),
        (numbers.milliseconds(0.12345), "0.123"),
        (numbers.milliseconds(3.2307), "3.23"),
        (numbers.milliseconds(57.147), "57.1"),
        (numbers.milliseconds(1961.9), "1962"),
        (numbers.percent(88.7), "88.70"),
        (numbers.points(-0.6), "−0.60"),
        (numbers.points(0.6), "+0.60"),
        (numbers.seconds(4.13), "4.1 s"),
        (numbers.seconds(185), "3 min 05 s"),
    ],
)
def test_as_people_read_them(shown, expected):
    assert shown == expected
