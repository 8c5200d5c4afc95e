"""Checkouts: a work tree, a bare repository and a folder give the same files; nothing of theirs is executed."""

import os
import subprocess
from pathlib import Path

import pytest

from harness.errors import UserError
from leaderboard.upstream.checkout import Checkout

FILES = {"README.md": b"hello\n", "records/a b/one.txt": b"1\n" * 9, "records/c.txt": b"", "train_gpt.py": b"pass\n"}


def git(root: Path, *argv: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    environment |= {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
    done = subprocess.run(["git", *identity, "-C", str(root), *argv], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode().strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "records" / "link.txt").symlink_to("/etc/passwd")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    (root / "train_gpt.py").write_bytes(b"print(2)\n")
    git(root, "commit", "-qam", "second")
    return root


def content(checkout: Checkout, under: str = "records") -> dict[str, bytes]:
    return {file.path: b"".join(chunks) for file, chunks in checkout.read(checkout.files(under))}


def test_a_tree_a_bare_clone_and_a_folder_give_the_same_files(tree: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(tree), "bare")
    git(tmp_path, "clone", "-q", str(tree), "folder")
    subprocess.run(["rm", "-rf", str(tmp_path / "folder" / ".git")], check=True)
    expected = {name: text for name, text in FILES.items() if name.startswith("records/")}
    found = [Checkout(root) for root in (tree, tmp_path / "bare", tmp_path / "folder")]
    assert [content(checkout) for checkout in found] == [expected] * 3
    assert found[0].commit == found[1].commit == git(tree, "rev-parse", "HEAD")
    assert found[2].commit == ""
    assert [checkout.text("README.md") for checkout in found] == ["hello\n"] * 3


def test_the_commit_counts_not_the_work_tree(tree: Path) -> None:
    (tree / "records" / "c.txt").write_text("changed, not committed")
    (tree / "records" / "new.txt").write_text("new")
    assert content(Checkout(tree))["records/c.txt"] == b""
    assert "records/new.txt" not in content(Checkout(tree))
    assert content(Checkout(tree, "HEAD~1"), "train_gpt.py") == {"train_gpt.py": b"pass\n"}


def test_another_repository_of_the_environment_is_not_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a hook of git sets it for its children."""
    expected = content(Checkout(tree))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert content(Checkout(tree)) == expected


def test_every_version_of_a_file_is_found(tree: Path) -> None:
    blobs = Checkout(tree).past_blobs(("train_gpt.py", "never.py"))
    assert blobs == {git(tree, "rev-parse", "HEAD:train_gpt.py"), git(tree, "rev-parse", "HEAD~1:train_gpt.py")}


def test_chunks_that_nobody_takes_do_not_shift_the_next_file(tree: Path) -> None:
    found = {}
    for file, chunks in Checkout(tree).read(Checkout(tree).files("records")):
        if not file.path.endswith("one.txt"):
            found[file.path] = b"".join(chunks)
    assert found == {"records/c.txt": b""}


def test_an_object_that_was_lost_has_no_bytes(tree: Path) -> None:
    blob = git(tree, "rev-parse", "HEAD:records/a b/one.txt")
    (tree / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert content(Checkout(tree)) == {"records/a b/one.txt": b"", "records/c.txt": b""}


def test_the_repository_cannot_make_git_run_its_programs(tree: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "gpg.program", "core.pager", "diff.external", "core.sshCommand", "diff.x.textconv"):
        git(tree, "config", key, str(trap))
    git(tree, "config", "log.showSignature", "true")
    (tree / ".git" / "info" / "attributes").write_text("* diff=x filter=x\n")
    git(tree, "config", "filter.x.smudge", str(trap))
    (tmp_path / "sprung").unlink(missing_ok=True)  # git itself, above, may have
    checkout = Checkout(tree)
    assert content(checkout)
    assert checkout.past_blobs(("train_gpt.py",))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("revision", ["no-such-branch", "--help", "HEAD; touch x"])
def test_a_revision_that_is_none_is_one_sentence(tree: Path, revision: str) -> None:
    with pytest.raises(UserError, match="expected a readable git repository"):
        Checkout(tree, revision)


def test_no_checkout_and_no_file_are_one_sentence(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found none at"):
        Checkout(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"expected nothing\.md"):
        Checkout(tree).text("nothing.md")
