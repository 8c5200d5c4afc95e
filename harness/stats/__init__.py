"""Significance, power and paired comparison: arithmetic on losses and times, nothing of runs."""
