"""Measurements of the harness: whole commands against the real alternative, side by side, as ratios."""
