"""A study file, checked, and the tasks it asks for."""
