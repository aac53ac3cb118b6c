"""Calibration images and what networks want of them."""
