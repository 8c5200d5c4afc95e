"""Checkpoints in campaigns of self-timed scripts: judged run by run, tested by the track's rule, and read again."""

import json
from pathlib import Path

import pytest
import torch

from data import datasets
from harness.__main__ import main
from harness.campaigns.bundle import Bundle, read_bundle
from harness.campaigns.scripts import ArmScript, JudgedCheckpoint, judged_checkpoint
from harness.campaigns.summary import summarise
from harness.errors import UserError
from harness.formats.track import load_track
from harness.selftimed.record import SelfTimedRecord

TRACK = Path(__file__).resolve().parents[2] / "tracks" / "tiny" / "track.toml"
SCRIPT = """
import os, shutil, sys
seed = int(os.environ["SEED"])
ours = sorted(name for name in os.listdir(".") if name.endswith(".weights"))
os.mkdir("out")
if "--nothing" not in sys.argv:
    shutil.copyfile(ours[seed % len(ours)], "out/ckpt.pt")
print("step:0/6 val_loss:7.0 train_time:0ms step_avg:nanms", flush=True)
print(f"step:6/6 val_loss:2.0{seed % 99991:05d} train_time:40ms step_avg:1.00ms", flush=True)
"""
MODEL = """
import torch
class GPTConfig:
    def __init__(self, vocab_size, block_size): self.vocab_size, self.block_size = vocab_size, block_size
class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.bias = config, torch.nn.Parameter(torch.zeros(config.vocab_size))
    def forward(self, tokens, targets=None):
        return self.bias.expand(*tokens.shape, -1), None
"""


def a_checkout(folder: Path, kinds: int = 5) -> Path:
    """A nanoGPT as small as can be, whose training is to pick one of the weights that lie there. Returns its script."""
    vocab_size = datasets.load_dataset("embedded-tiny").vocab_size
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    (folder / "model.py").write_text(MODEL)
    (folder / "configurator.py").write_text("")
    for kind in range(kinds):
        bias = torch.linspace(0, 4 + 0.1 * kind, vocab_size)
        arguments = {"vocab_size": vocab_size, "block_size": 64}
        torch.save({"model_args": arguments, "model": {"bias": bias}}, folder / f"{kind}.weights")
    return folder / "train.py"


def call(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture
def world(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEEDRUN_LOCKS", str(tmp_path))
    monkeypatch.setenv("SPEEDRUN_DATA", str(data_root))
    monkeypatch.setenv("SPEEDRUN_RUNS", str(tmp_path / "runs"))
    return tmp_path


@pytest.mark.slow
def test_each_checkpoint_is_judged_and_the_rule_is_asked_of_both_losses(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = a_checkout(world / "theirs")
    settings = ("--track", TRACK, "--seed-env", "SEED", "--checkpoint", "out/ckpt.pt", "--require-sandbox", "process")
    code = call("compare", "--legacy", script, *settings, "--runs", "2", "--baseline-env", "X=1", "--json")
    told = json.loads(capsys.readouterr().out)
    folder = Path(told["folder"])
    bundle, track = read_bundle(folder), load_track(str(TRACK))
    assert [f for f in bundle.findings if f.severity == "error"] == []
    scores = [attempt.run.measured.score for attempt in bundle.stated if attempt.run.measured]
    assert (len(scores), {score.count for score in scores}) == (4, {track.data.val_tokens})
    judged = told["judged"]
    by_arm = {a: [r.judged_loss for r in bundle.counted(a)] for a in ("candidate", "baseline")}  # type: ignore[union-attr]
    for arm, losses in by_arm.items():
        assert judged[arm]["losses"] == pytest.approx(losses)
        assert (judged[arm]["n"], judged[arm]["failed"]) == (2, 0)
        assert judged[arm]["above_stated_nats"] > 1  # it states two nats, and knows nothing of the text
    assert told["evidence"]["candidate"]["mean_loss"] < 3 < 6 < judged["candidate"]["mean_loss"]
    assert (told["evidence"]["candidate"]["valid"], judged["candidate"]["valid"], code) == (True, False, 1)
    assert (judged["equal_loss"], judged["loss_difference"]) == (True, None)  # pairs have a seed in common
    assert [line for line in told["sentences"] if line.startswith("Judged, candidate: valid? ")]
    _edits_are_found(folder, bundle)


def _edits_are_found(folder: Path, bundle: Bundle) -> None:
    """Whoever edits a score is found by more than its digest."""
    path = folder / "runs" / bundle.stated[0].run.run_id / "legacy.json"
    before = path.read_bytes()
    record = json.loads(before)

    def found() -> set[str]:
        path.write_text(json.dumps(record))
        return {finding.id for finding in read_bundle(folder).findings} - {"run_digest"}

    usual = {finding.id for finding in bundle.findings}
    record["measured"]["score"]["val_loss"] -= 1
    assert found() - usual == {"run_edited", "sentence_tells_another_loss"}
    record = json.loads(before)
    record["measured"]["score"]["count"] -= 1
    assert "run_edited" in found()
    record = json.loads(before)
    record["measured"]["score"]["probes"]["max_abs_difference"] = 1.0
    assert "untold_finding" in found()
    record = json.loads(before)
    record["measured"]["checkpoint"] = "another"
    assert "run_edited" in found()
    record = json.loads(before)
    record["measured"] = None
    assert "run_edited" in found()
    path.write_bytes(before)


@pytest.mark.slow
def test_a_run_without_its_checkpoint_counts_as_failed_and_one_set_of_weights_is_told(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = a_checkout(world / "theirs", kinds=1)
    settings = ("--track", TRACK, "--seed-env", "SEED", "--checkpoint", "out/ckpt.pt", "--require-sandbox", "process")
    call(
        "compare", "--legacy", script, *settings, "--runs", "2", "--baseline-arg=--nothing", "--keep-weights", "--json"
    )
    told = json.loads(capsys.readouterr().out)
    folder = Path(told["folder"])
    assert {"same_checkpoint", "run_failed"} <= {finding["id"] for finding in told["findings"]}
    assert (told["judged"]["candidate"]["n"], told["judged"]["baseline"]["n"]) == (2, 0)
    assert (told["judged"]["baseline"]["failed"], told["exit_code"]) == (2, 1)
    assert len(list(folder.glob("runs/*/checkpoint*"))) == 2
    for attempt in read_bundle(folder).stated:
        assert isinstance(attempt.run, SelfTimedRecord)
        assert (attempt.run.measured is None) == (attempt.slot.arm == "baseline")
        if attempt.slot.arm == "baseline":
            assert "expected the script to leave a plain file at out/ckpt.pt" in attempt.run.sentence
    assert summarise(read_bundle(folder), load_track(str(TRACK)), None).judged is not None


@pytest.mark.parametrize("path", ["", "/out/x", "../x", "out/../x", "out//x", "out/./x"])
def test_a_checkpoint_lies_inside_the_checkout(path: str) -> None:
    with pytest.raises(UserError, match="inside the checkout"):
        judged_checkpoint(path, "nanogpt", ())


def test_a_checkpoint_that_is_there_before_the_run_is_no_result(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = a_checkout(world / "theirs")
    (script.parent / "out").mkdir()
    (script.parent / "out" / "ckpt.pt").write_bytes(b"from another day")
    wanted = ("--track", TRACK, "--checkpoint", "out/ckpt.pt", "--dry-run")
    assert call("run", "--legacy", script, "--runs", "2", *wanted) == 2
    assert "expected each run to make its checkpoint out/ckpt.pt, found it in the checkout" in capsys.readouterr().err
    (script.parent / "out" / "ckpt.pt").unlink()
    assert call("run", "--legacy", script, "--runs", "2", *wanted, "--json") == 0
    planned = json.loads(capsys.readouterr().out)["arms"]["candidate"]["checkpoint"]
    assert planned == {"path": "out/ckpt.pt", "adapter": "nanogpt"}
    (script.parent / "configurator.py").unlink()
    assert call("run", "--legacy", script, "--runs", "2", *wanted) == 2
    assert "expected an adapter for the checkpoint" in capsys.readouterr().err


def test_scripts_without_a_checkpoint_keep_their_digest() -> None:
    script = ArmScript(checkout="x", checkout_sha256="0" * 64, launcher="python")
    assert "checkpoint" not in script.model_dump_json()
    judged = script.model_copy(update={"checkpoint": JudgedCheckpoint(path="x", adapter="nanogpt")})
    assert ArmScript.model_validate_json(judged.model_dump_json()) == judged
