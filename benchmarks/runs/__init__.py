"""What several benchmarks time: a refereed run, the same run bare, and turns between them."""
