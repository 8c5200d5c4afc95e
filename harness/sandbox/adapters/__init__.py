"""Adapters: somebody else's checkpoint becomes logits, inside the sandboxed evaluator."""
