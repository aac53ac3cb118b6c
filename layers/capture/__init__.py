"""Inputs of layers, gathered while a network runs."""
