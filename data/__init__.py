"""What models read: the shard format, the datasets and where they lie, the embedded corpus."""
