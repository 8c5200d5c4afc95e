"""Weights become a loss: the judge, what it asks, and what the answers give away."""
