"""minGPT's checkpoint as logits, by its own package from the user's checkout."""

import importlib
import io
import json
from collections.abc import Callable
from typing import Any

import torch

EVAL_TOKENS, EVAL_BATCH = 1024, 16  # load() puts the checkpoint's own block size here

Logits = Callable[[torch.Tensor], torch.Tensor]


def load(weights: dict[str, torch.Tensor], device: torch.device) -> Logits:
    """weights, uint8: `checkpoint`, the bytes of model.pt, `config.json`, `vocab_size`. Nothing in them is executed."""
    global EVAL_TOKENS
    state: dict[str, torch.Tensor] = torch.load(
        io.BytesIO(weights["checkpoint"].numpy().tobytes()), map_location="cpu", weights_only=True
    )
    said = json.loads(weights["config.json"].numpy().tobytes())["model"]
    module: Any = importlib.import_module("mingpt.model")
    config = module.GPT.get_default_config()
    for name in ("model_type", "n_layer", "n_head", "n_embd"):
        setattr(config, name, said[name])
    if config.n_layer is not None:  # it takes the name of a size or the sizes, and fills in the other
        config.model_type = None
    config.vocab_size, config.block_size = len(state["transformer.wte.weight"]), len(state["transformer.wpe.weight"])
    model = module.GPT(config)
    model.load_state_dict(state)
    model.eval().to(device)
    EVAL_TOKENS = int(config.block_size)

    vocab_size = int(weights["vocab_size"].numpy().tobytes())

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(tokens)[0]
        return found[..., :vocab_size].float()  # a table may be padded beyond the vocabulary

    return logits
