"""The charts: what is on the front, and what the SVG says."""

from __future__ import annotations

import re

from edgepress.benchmarks._plots import (
    Bar,
    Point,
    Samples,
    Span,
    accuracy_against_latency,
    file_sizes,
    latency_distributions,
    pareto_front,
    timeline,
)


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


def marks(svg: str) -> list[float]:
    """Where the marks of the points lie from left to right; the one in the legend has a shape of its own."""
    found = re.findall(r'<use href="#([^"]+)" x="([\d.]+)"[^>]*fill: var\(--original\)', svg)
    shapes = [shape for shape, _ in found]
    return [float(x) for shape, x in found if shapes.count(shape) > 1]


def test_latencies_far_apart_are_drawn_by_their_ratios_and_the_axis_says_so():
    far = accuracy_against_latency(
        [Point("original", "x", 10.0**power, 90.0) for power in (-1, 0, 1)], "top-1"
    )
    near = accuracy_against_latency(
        [Point("original", "x", float(value), 90.0) for value in (1, 2, 3)], "top-1"
    )
    assert "median latency, ms (logarithmic)" in far
    assert "logarithmic" not in near
    for svg in (far, near):
        left, middle, right = marks(svg)
        # SVG coordinates are rounded to a millionth of a point.
        assert abs((middle - left) - (right - middle)) < 1e-4


def test_distributions_far_apart_are_logarithmic_too():
    slow, fast = (
        Samples("original", name, (scale, 1.1 * scale, 1.2 * scale))
        for name, scale in (("a", 20.0), ("b", 0.1))
    )
    assert "latency, ms (logarithmic)" in latency_distributions([slow, fast])
    assert "logarithmic" not in latency_distributions([slow])


def test_colours_are_left_to_the_page_and_texts_stay_texts():
    svg = timeline([Span("prune_channels", 5.0), Span("distill", 65.0)])
    assert svg.startswith('<svg role="img" aria-label="')
    assert ">prune_channels</text>" in svg
    assert ">1 min 05 s</text>" in svg
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", svg)) <= {"#000000"}
    assert "http" not in svg
