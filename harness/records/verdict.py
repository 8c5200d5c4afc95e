"""A verdict: the findings and the evidence under which a record was accepted.

`verdict.json` is derived from the campaign, the source and the track, and can be derived again at any time. It keeps
the version of the rules it was given under: later rules do not change it.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, TypeAdapter, ValidationError

from ..campaigns.bundle import Bundle
from ..campaigns.evidence import Evidence
from ..campaigns.track_match import contest_findings
from ..errors import RecordError, first_problem
from ..formats import layout
from ..formats.run import Finding, Section, errors_of
from ..formats.track import Track
from ..rules import source_rules
from ..rules.registry import check_rules, waive
from ..system.plainfile import read_plain
from .record import Record, Statement

DIGITS = 10  # significant ones, of a derived number on disk
_EVIDENCE = TypeAdapter(Evidence)
TOLERANCE = 1e-6  # relative: another scipy may round the last digits differently


class WaivedFinding(Section):
    finding: Finding
    reason: str


class Verdict(Section):
    """verdict.json"""

    schema_version: Literal[1] = 1
    rules_version: str
    findings: tuple[Finding, ...]  # those that stand; a record has no error among them
    waived: tuple[WaivedFinding, ...] = ()
    evidence: Evidence  # of both arms, and their comparison; numbers to ten digits

    @property
    def errors(self) -> tuple[Finding, ...]:
        return errors_of(self.findings)


def derive_verdict(
    bundle: Bundle,
    evidence: Evidence,
    track: Track,
    statement: Statement,
    source_root: Path,
    *,
    predecessor: Record | None,
    record_bytes: int | None = None,
) -> Verdict:
    """Judge a campaign that wants to be a record, after `predecessor` (None: the first under its major rules)."""
    findings = check_rules(
        bundle,
        evidence,
        track,
        statement,
        source_rules.check(source_root, bundle.plan.arms[0].submission.files, track),
        reigning=predecessor.name if predecessor else None,
        history=predecessor.runs if predecessor else (),
        record_bytes=record_bytes,
    )
    findings = (*findings, *contest_findings(bundle, track))
    standing, waived = waive(findings, statement.waivers, track)
    return Verdict(
        rules_version=track.rules_version,
        findings=standing,
        waived=tuple(WaivedFinding(finding=w.finding, reason=w.reason) for w in waived),
        evidence=_EVIDENCE.validate_json(json.dumps(evidence_json(evidence))),
    )


def evidence_json(evidence: Evidence) -> dict[str, Any]:
    """Evidence as JSON, floats to ten significant digits."""
    value = _rounded(_EVIDENCE.dump_python(evidence, mode="json"))
    assert isinstance(value, dict)
    return value


RoundedEvidence = Annotated[Evidence, PlainSerializer(evidence_json)]


def verdict_bytes(verdict: Verdict) -> bytes:
    return (json.dumps(verdict.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def read_verdict(folder: Path) -> Verdict:
    """Raises RecordError, also for a file that does not say it as `verdict_bytes` does."""
    path = folder / layout.VERDICT_FILE
    content = read_plain(path, layout.MAX_RECORD_BYTES, RecordError)
    try:
        verdict = Verdict.model_validate_json(content)
    except ValidationError as error:
        raise RecordError(f"{path}: {first_problem(error)}") from error
    if verdict_bytes(verdict) != content:
        raise RecordError(f"{path}: expected the verdict in its canonical form, found other bytes")
    return verdict


def difference(kept: Verdict, derived: Verdict, rules_hold: bool) -> tuple[str, str] | None:
    """The first place where two verdicts differ by more than rounding, what is kept there and what was derived.

    Findings and waivers are compared while the rules of the kept one still hold; evidence always.
    """
    exclude = set() if rules_hold else {"findings", "waived"}
    a, b = (verdict.model_dump(mode="json", exclude=exclude) for verdict in (kept, derived))
    return _first_difference(a, b, "verdict")


def _first_difference(a: Any, b: Any, where: str) -> tuple[str, str] | None:
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        pairs = [(a[key], b[key], f"{where}.{key}") for key in a]
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = [(x, y, f"{where}.{i}") for i, (x, y) in enumerate(zip(a, b, strict=True))]
    elif isinstance(a, float) and isinstance(b, float | int) and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12):
        return None
    else:
        return None if a == b and type(a) is type(b) else (f"{where} {_short(a)}", f"{where} {_short(b)}")
    return next((found for pair in pairs if (found := _first_difference(*pair)) is not None), None)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
