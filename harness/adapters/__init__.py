"""Adapters: how a checkpoint of somebody else's trainer becomes logits, inside the sandboxed evaluator."""
