"""The README of a new record: numbers, derived, and blanks for what its authors know."""

from ..campaigns.bundle import Bundle
from ..campaigns.evidence import ArmEvidence, Evidence
from ..formats import numbers
from .record import Statement

BLANK = "_(to be written by the authors)_"


def readme_bytes(statement: Statement, evidence: Evidence, bundle: Bundle) -> bytes:
    """A skeleton in Markdown. It is prose: no digest covers it, and no number in it counts."""
    lines = [
        f"# {as_text(statement.title)}",
        "",
        f"By {', '.join(map(as_text, statement.authors))}, {statement.date}, on the track `{statement.track}`.",
        "",
        *numbers_table(evidence),
        "",
        *_sentences(evidence),
        "## What changed",
        "",
        BLANK,
        "",
        "## Why it works",
        "",
        BLANK,
        "",
        "## Source",
        "",
        f"Builds on {', '.join(f'`{parent}`' for parent in statement.parents) or 'no record of this track'}. {BLANK}",
        "",
        "## Check it",
        "",
        "```",
        f"speedrun verify records/{statement.track}/{statement.name}",
        f"speedrun run records/{statement.track}/{statement.name} --track {statement.track} "
        f"--nproc {bundle.plan.world_size} --runs {bundle.plan.runs_per_arm}",
        "```",
    ]
    return ("\n".join(lines) + "\n").encode()


def numbers_table(evidence: Evidence) -> list[str]:
    """Both arms as a Markdown table."""
    arms = [arm for arm in (evidence.candidate, evidence.baseline) if arm is not None]
    rows = [
        "| arm | runs | time, GO to STOP, ± half its 95 % interval | val_loss | sd | p |",
        "|---|---|---|---|---|---|",
    ]
    return rows + [f"| {' | '.join(_cells(arm))} |" for arm in arms]


def as_text(text: str) -> str:
    """Somebody else's words in Markdown: shown as they are, never links, mentions, HTML or headings."""
    return "`" + "".join(c if c.isprintable() and c not in "`|" else " " for c in text).strip() + "`"


def _cells(arm: ArmEvidence) -> list[str]:
    low, high = (None, None) if arm.time_interval_s is None else (arm.time_interval_s.low, arm.time_interval_s.high)
    return [
        arm.arm,
        f"{arm.n}" + (f" (+{arm.failed} failed)" if arm.failed else ""),
        numbers.seconds_within(arm.mean_time_s, low, high),
        numbers.loss(arm.mean_loss, 5),
        numbers.loss(arm.sd_loss, 5),
        numbers.p_value(arm.p_value),
    ]


def _sentences(evidence: Evidence) -> list[str]:
    comparison = evidence.comparison
    return [] if comparison is None else [*comparison.sentences(), ""]
