"""The Pareto front against its definition, point by point."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scsc_lab.analysis import fronts

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@given(points, st.booleans(), st.booleans())
def test_front_is_what_no_other_point_beats(pairs, higher_x, higher_y):
    xs, ys = zip(*pairs, strict=True)
    words = ["higher" if higher else "lower" for higher in (higher_x, higher_y)]
    found = fronts.front(xs, ys, *words)

    def at_least_as_good(a, b, higher):
        return a >= b if higher else a <= b

    for index in range(len(pairs)):
        beaten = any(
            at_least_as_good(x, xs[index], higher_x)
            and at_least_as_good(y, ys[index], higher_y)
            and (x, y) != pairs[index]
            for x, y in pairs
        )
        assert (index in found) == (not beaten)
    assert [xs[index] for index in found] == sorted(xs[index] for index in found)


def test_by_hand():
    assert fronts.front([1, 2, 3], [3, 1, 2]) == [0, 1]
    assert fronts.front([1, 2, 3], [3, 1, 2], better_y="higher") == [0]
    assert fronts.front([1, 2, 3], [3, 1, 2], better_y="") == []
    assert fronts.front([1, 1], [2, 2]) == [0, 1]
