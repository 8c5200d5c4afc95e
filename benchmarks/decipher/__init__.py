"""The strongest known attack on languages: train before GO on a mixture of them, decipher the run's own after it."""
