"""The embedded corpus: English by a grammar, always available and new for every pair of runs."""
