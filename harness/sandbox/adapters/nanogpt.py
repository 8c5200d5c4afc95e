"""nanoGPT's checkpoint as logits, by its own model.py from the user's checkout."""

import importlib
import io
from collections.abc import Callable
from typing import Any

import torch

EVAL_TOKENS, EVAL_BATCH = 1024, 16  # load() puts the checkpoint's own block size here

Logits = Callable[[torch.Tensor], torch.Tensor]


def load(weights: dict[str, torch.Tensor], device: torch.device) -> Logits:
    """weights: uint8 `checkpoint`, the bytes of ckpt.pt, and `vocab_size`. Nothing in them is executed."""
    global EVAL_TOKENS
    saved: dict[str, Any] = torch.load(
        io.BytesIO(weights["checkpoint"].numpy().tobytes()), map_location="cpu", weights_only=True
    )
    module: Any = importlib.import_module("model")
    model = module.GPT(module.GPTConfig(**saved["model_args"]))
    model.load_state_dict({name.removeprefix("_orig_mod."): tensor for name, tensor in saved["model"].items()})
    model.eval().to(device)
    EVAL_TOKENS = int(model.config.block_size)

    vocab_size = int(weights["vocab_size"].numpy().tobytes())

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(tokens, tokens)[0]  # without targets it answers for the last position only
        return found[..., :vocab_size].float()  # a table may be padded beyond the vocabulary

    return logits
