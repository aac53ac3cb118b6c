"""Tests of the pruning relaxations."""
