"""Token shards made here: from text, and from token files of others."""
