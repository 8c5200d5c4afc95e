"""Real logs of others: golden numbers, held against snapshots where a machine has them.

LOG_CORPORA names a folder that holds, as work trees or git directories, what GOLDEN names; only numbers stand here.
"""

import os
from pathlib import Path

import pytest

from benchmarks.log_corpora import files, is_log, outcome, search
from harness.selftimed.logs import read_log

GOLDEN = {  # by source: file -> grammar, last step, its val_loss or bits per byte
    "openai+parameter-golf": {
        "records/track_10min_16mb/2026-03-17_LoRA_TTT/train_v0.txt": ("parameter-golf", 13764, 1.2199),
        "records/track_10min_16mb/2026-03-21_11L_XSA4_EMA_PartialRoPE_LateQAT_1.1248/train_seed2025.log": (
            "parameter-golf", 7051, 1.1418,
        ),
        "records/track_10min_16mb/2026-04-06_SP8192_QK5_LegalTTT_1.0828/train_seed1234.log": (
            "parameter-golf-minutes", 5083, 1.0904,
        ),
        "records/track_non_record_16mb/2026-04-30_Random_Linear_Adapter/train_seed_42.txt": (
            "parameter-golf", 7701, 1.2147,
        ),
    },
    "bentherien+muloco-slowrun-analysis": {
        "analysis/logs/fir_logs/muloco_olr0.5_omom0.5_H10_24682687.out": ("slowrun", 2288, 3.40611),
        "analysis/logs/fir_logs/p6_e13_olr0.5_H5_lrm0.25_wd1.6_do0.1_24725437.out": ("slowrun", 2479, 3.403518),
        "analysis/logs/tamia_logs/p2h_e20_olr0.7_omom0.6_H20_lrm0.25_wd1.6_165943.out": ("slowrun", 2860, 3.890412),
    },
    "Seqaeon+nanochat": {
        "best_config.log": ("nanochat", 462, 1.232303),
        "p08_mst_sweep_monarch.log": ("nanochat", 1071, 3.387351),
        "sweep_p29_d8.log": ("nanochat", 7699, 0.902843),
    },
    "jorahn+llm.c": {
        "log_gpt3_125M_edu_hermes_v5/old.log": ("llmc-log", 19622, 2.866),
        "log_gpt3_125M_edu_v5/main.log": ("llmc-log", 18794, 3.0366),
    },
}  # fmt: skip
OF_ALL_COMMITS = {  # of forks too, by their pull requests: the newest commit holds none
    "karpathy+nanoGPT": {
        "finetune_cosine_5e-5.log": ("step-lines", 1000, 1.4651),
        "pretrain_ls_0.02.txt": ("nanogpt", 10000, 3.6059),
        "training.log": ("nanogpt", 6000, 3.2693),
        "wandb/run-20250322_100741-223js5q8/files/output.log": ("nanogpt", 750, 0.6227),
        "wandb/run-20260329_183841-key5hol9/files/output.log": ("nanogpt", 2600, 230.6713),
        "wandb/run-20260331_025218-w5kft6ul/files/output.log": ("nanogpt", 10000, 3.1067),
    },
}  # fmt: skip


def test_the_search_that_knows_no_grammar_finds_a_step_and_its_value() -> None:
    assert search("step:5/9 val_loss:3.2 x\n6/9 val_loss: 3.1 val_bpb: 1.2\nval_loss:{loss}") == (6, 3.1)
    assert search("Step 00010 | Val BPB: 1.25 | Val Loss: 4.1\ns:20 tel:3.5\n") == (20, 3.5)
    assert search("step 5: train loss 1.0, val loss nan") is not None
    assert search("nothing of the kind") is None
    assert is_log("a.log", b"val_loss:3.0\nval_loss:2.0\n")
    assert not is_log("a.txt", b"Kapitel 1 and tel 0501 and tel 4\n")
    assert not is_log("a.md", b"val_loss:3.0\nval_loss:2.0\n")


@pytest.mark.parametrize("source", [*GOLDEN, *OF_ALL_COMMITS])
def test_real_logs_have_their_golden_numbers(source: str) -> None:
    place = Path(os.environ.get("LOG_CORPORA", "/nonexistent")) / source
    place = place / "repo" if (place / "repo").is_dir() else place
    if not place.is_dir():
        pytest.skip(f"needs a checkout: LOG_CORPORA with {source}")
    golden = {**GOLDEN, **OF_ALL_COMMITS}[source]
    found_files = files(place, history=source in OF_ALL_COMMITS, only=golden.keys())
    logs = {name: content for name, content in found_files if name in golden}
    assert logs.keys() == golden.keys()
    for name, (grammar, step, value) in golden.items():
        log = read_log([logs[name]])
        found = outcome(log)
        assert log.grammar is not None
        assert found is not None
        assert (log.grammar.name, log.is_certain, found[0]) == (grammar, grammar != "step-lines", step)
        assert value in found[1]
