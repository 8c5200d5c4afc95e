"""Parts of the benchmark on GPUs."""
