"""Signatures with real keys: who, of what, and nothing that is taken on trust."""

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.formats import layout
from harness.records.signing import check_signature, fingerprint_of_key, fingerprint_of_signature, sign


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / layout.MANIFEST_FILE).write_text('{"files": {}}\n')
    return tmp_path / "folder"


def signers(folder: Path, **keys: Path) -> Path:
    path = folder.parent / layout.SIGNERS_FILE
    path.write_text("".join(f"{name} {key.with_suffix('.pub').read_text()}" for name, key in keys.items()))
    return path


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_an_allowed_signer_is_known_by_name_and_key(folder: Path, make_key: Callable[..., Path], kind: str) -> None:
    key = make_key("ada", kind)
    sign(folder / layout.MANIFEST_FILE, key)
    found = check_signature(folder, signers(folder, bob=make_key("bob"), ada=key))
    assert (found.status, found.principal, found.key) == ("good", "ada", fingerprint_of_key(key))
    assert str(found) == "signed by ada"
    armour = (folder / layout.SIGNATURE_FILE).read_bytes()
    assert fingerprint_of_signature(armour) == fingerprint_of_key(key.with_suffix(".pub"))


def test_no_signature_an_unknown_key_and_no_file_of_signers(folder: Path, make_key: Callable[..., Path]) -> None:
    assert check_signature(folder, folder / "none").status == "unsigned"
    sign(folder / layout.MANIFEST_FILE, make_key("ada"))
    assert check_signature(folder, folder / "none").status == "unknown_key"
    assert check_signature(folder, signers(folder, bob=make_key("bob"))).status == "unknown_key"


def test_another_manifest_is_not_what_was_signed(folder: Path, make_key: Callable[..., Path]) -> None:
    sign(folder / layout.MANIFEST_FILE, make_key("ada"))
    (folder / layout.MANIFEST_FILE).write_text('{"files":  {}}\n')
    assert check_signature(folder, signers(folder, ada=make_key("ada"))).status == "bad"
    assert check_signature(folder, folder / "none").status == "bad"


def test_a_signature_for_another_purpose_does_not_count(folder: Path, make_key: Callable[..., Path]) -> None:
    path, key = folder / layout.MANIFEST_FILE, make_key("ada")
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(key), str(path)], check=True)
    assert check_signature(folder, signers(folder, ada=key)).status == "bad"


def test_a_key_that_has_run_out_does_not_count(folder: Path, make_key: Callable[..., Path]) -> None:
    key = make_key("ada")
    sign(folder / layout.MANIFEST_FILE, key)
    public = key.with_suffix(".pub").read_text()
    (folder.parent / layout.SIGNERS_FILE).write_text(f'ada valid-before="20200101" {public}')
    assert check_signature(folder, folder.parent / layout.SIGNERS_FILE).status != "good"


def test_no_byte_of_a_signature_is_without_meaning(folder: Path, make_key: Callable[..., Path]) -> None:
    sign(folder / layout.MANIFEST_FILE, make_key("ada"))
    path, allowed = folder / layout.SIGNATURE_FILE, signers(folder, ada=make_key("ada"))
    kept, rng = path.read_bytes(), random.Random(0)
    for _ in range(60):
        at = rng.randrange(len(kept))
        changed = [kept[:at] + kept[at + 1 :], kept[:at] + bytes([kept[at] ^ 1 << rng.randrange(8)]) + kept[at + 1 :]]
        path.write_bytes(rng.choice([*changed, kept[:at] + b"\n" + kept[at:], kept[:at]]))
        assert check_signature(folder, allowed).status != "good", path.read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 10, b"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n"]
)
def test_what_is_no_signature_is_a_bad_one(folder: Path, content: bytes) -> None:
    (folder / layout.SIGNATURE_FILE).write_bytes(content)
    assert check_signature(folder, folder / "none").status == "bad"


def test_a_link_is_no_signature(folder: Path) -> None:
    (folder / layout.SIGNATURE_FILE).symlink_to("/etc/hostname")
    assert check_signature(folder, folder / "none").status == "bad"
    (folder / layout.SIGNATURE_FILE).unlink()
    (folder / layout.SIGNATURE_FILE).symlink_to("/nowhere")
    assert check_signature(folder, folder / "none").status == "bad"


def test_mistakes_are_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, make_key: Callable[..., Path]
) -> None:
    (folder / "text").write_text("no key")
    for call in (fingerprint_of_key, lambda key: sign(folder / layout.MANIFEST_FILE, key)):
        with pytest.raises(UserError, match="expected an SSH key") as raised:
            call(folder / "text")
        assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="make one with"):
        fingerprint_of_key(folder / "nothing")
    key = make_key("ada")
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(UserError, match="install openssh-client"):
        sign(folder / layout.MANIFEST_FILE, key)
