"""The charts: what is on the front, and what the SVG says."""

from __future__ import annotations

import re

from edgepress.benchmarks._plots import Bar, Point, Span, file_sizes, pareto_front, timeline


def test_the_front_holds_what_nothing_beats_in_both():
    best, fast = Point("a", "x", 2.0, 90.0), Point("b", "x", 1.0, 80.0)
    slower, worse = Point("c", "x", 3.0, 90.0), Point("d", "x", 1.5, 79.0)
    same_speed = Point("e", "x", 1.0, 70.0)
    assert pareto_front([worse, best, same_speed, slower, fast]) == [fast, best]


def test_bars_are_as_long_as_their_values():
    svg = file_sizes([Bar("original", "a.onnx", 4_000_000), Bar("compressed", "b.onnx", 1_000_000)])
    bars = re.findall(
        r'<path d="M ([\d.]+) [\d.]+ \nL ([\d.]+)[^"]*"[^>]*fill: var\(--(original|compressed)\)', svg
    )
    (start, long_end, first), (start_too, short_end, second) = bars
    assert (first, second) == ("original", "compressed")
    assert start == start_too, "both begin at zero"
    long, short = float(long_end) - float(start), float(short_end) - float(start)
    # SVG coordinates are rounded to a millionth of a point.
    assert abs(long / short - 4) < 1e-4


def test_colours_are_left_to_the_page_and_texts_stay_texts():
    svg = timeline([Span("prune_channels", 5.0), Span("distill", 65.0)])
    assert svg.startswith('<svg role="img" aria-label="')
    assert ">prune_channels</text>" in svg
    assert ">1 min 05 s</text>" in svg
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", svg)) <= {"#000000"}
    assert "http" not in svg
