"""Measurements: programs that start what they measure, say what they found, and assert nothing."""
