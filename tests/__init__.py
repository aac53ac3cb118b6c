"""Tests of layerbounds."""
