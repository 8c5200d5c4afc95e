"""What the tests of the flagship submission share: the module itself, small presets, models, tokens, a run."""

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

FILE = Path(__file__).resolve().parent.parent.parent / "train_gpt.py"
VOCAB, DOCUMENT = 61, 0


def import_submission() -> ModuleType:
    name = "flagship_under_test"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FILE)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


gpt: Any = import_submission()


def tiny(**changes: Any) -> Any:
    """The nano preset cut down to a second's work, in fp32."""
    layers = (
        gpt.LayerSpec(value_embed=0),
        gpt.LayerSpec(attention=False),
        gpt.LayerSpec(window="long", value_embed=0, skip_from=0),
    )
    param_groups = (
        gpt.ParamGroup(names=("attention", "mlp"), kind="muon", lr=0.03, weight_decay=0.02),
        gpt.ParamGroup(names=("embed", "value_embeds", "ngram2", "head", "lambdas"), kind="adam", lr=0.02),
    )
    stages = (
        gpt.Stage(until=0.5, rows=4, short=8, long=16, lr=1.0),
        gpt.Stage(until=1.0, rows=8, short=16, long=32, lr=1.5),
    )
    settings: dict[str, Any] = {
        "width": 32,
        "heads": 2,
        "layers": layers,
        "num_value_embeds": 1,
        "ngram_vocab_sizes": (101,),
        "dtype": torch.float32,
        "length": 32,
        "steps": 20,
        "lr_cooldown": 0.6,
        "momentum": (0.85, 0.95),
        "stages": stages,
        "param_groups": param_groups,
        "eval_windows": (16, 32),
    }
    return dataclasses.replace(gpt.NANO, **(settings | changes))


def small(**changes: Any) -> Any:
    """The GPT-2 preset with every mechanism it has, in sizes for a CPU and in fp32."""
    stages = tuple(
        dataclasses.replace(
            stage, until=i / 4, short=stage.short // 32, long=stage.long // 32, max_doc_len=stage.max_doc_len // 64
        )
        for i, stage in enumerate(gpt.GPT2_SMALL.stages, start=1)
    )
    settings: dict[str, Any] = {
        "width": 48,
        "heads": 3,
        "ngram_vocab_sizes": (101,),
        "vocab_multiple": 1,
        "dtype": torch.float32,
        "length": 64,
        "max_docs": 16,
        "steps": 16,
        "tied_until": 0.5,
        "stages": stages,
        "momentum_warmup": 4,
        "momentum_cooldown": 2,
        "eval_windows": (24, 80),
    }
    return dataclasses.replace(gpt.GPT2_SMALL, **(settings | changes))


def fake_run(rank: int = 0, world: int = 1, seed: int = 5) -> Any:
    return SimpleNamespace(
        seed=seed,
        rank=rank,
        world_size=world,
        device=torch.device("cpu"),
        vocab_size=VOCAB,
        document_token=DOCUMENT,
        practice=False,
    )


def one_rank() -> Any:
    return gpt.Ranks(rank=0, world_size=1)


def write_tokens(path: Path, count: int, vocab: int = VOCAB) -> str:
    """A shard of documents of about ten tokens in which every token leans on the one before."""
    generator = np.random.default_rng(3)
    tokens = np.cumsum(generator.integers(1, 4, size=count)) % (vocab - 1) + 1
    tokens[generator.random(count) < 0.1] = DOCUMENT
    header = np.zeros(256, dtype="<i4")
    header[:3] = 20240520, 1, count
    path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())
    return str(path)


def random_model(hp: Any, seed: int = 0, vocab: int = VOCAB) -> Any:
    """A model none of whose tensors is zero."""
    model = gpt.GPT(hp, vocab, DOCUMENT)
    gpt.initialize(model, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype), alpha=0.05)
    return model


def random_tokens(rows: int, length: int, seed: int = 0, vocab: int = VOCAB) -> torch.Tensor:
    return torch.randint(vocab, (rows, length), generator=torch.Generator().manual_seed(seed))


def planned_rows(hp: Any, shard: str, step: int) -> torch.Tensor:
    """int32 [rows, length + 1]: what the loader gives one rank alone for a step."""
    stream = gpt.Stream([shard], hp.length, DOCUMENT)
    return torch.cat(next(gpt.batches(stream, [step], hp, one_rank())))
