"""The rules of a submission's source, read off its text and its syntax tree.

Nothing is executed. A static check is advice and a price, never the only defence: who wants to hide something in Python
can. What holds is the sandbox, the data that is not there, and the judge. These rules keep honest sources readable, say
early what a reviewer would ask, and make carrying data expensive. A track says which of them block and which advise.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data.printing import one_line

from ..formats.run import Finding
from ..formats.track import Rules, SourceRule, Track
from . import before_go_rules, literals
from .counter_rules import reaches
from .literals import Place
from .path_rules import outside_paths
from .source_tree import SourceFile, read_source

MAX_SHOWN = 300  # characters of what a finding quotes
MAX_SOURCE_BYTES = 2**22  # of all files together; a track's budget is far below
SHOWN = 3  # places of one finding
RUN_VARIABLES = frozenset(
    {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES",
     "OMP_NUM_THREADS", "HOME", "TMPDIR"}
)  # fmt: skip
CODE_FROM_TEXT = frozenset({"exec", "eval", "compile", "__import__"})
CODE_MODULES = frozenset(
    {"builtins", "cffi", "cloudpickle", "code", "codeop", "ctypes", "dill", "imp", "importlib", "marshal", "pickle",
     "runpy", "shelve", "zipimport"}
)  # fmt: skip
INNER_NAMES = frozenset({"__builtins__", "__globals__", "__subclasses__", "__loader__"})
PACKERS = frozenset(
    {"base64", "binascii", "bz2", "codecs", "gzip", "lzma", "quopri", "tarfile", "uu", "zipfile", "zlib"}
)
READERS = frozenset({"frombuffer", "from_bytes", "fromstring", "unpack", "unpack_from", "iter_unpack", "array"})
SEEDERS = frozenset({"manual_seed", "manual_seed_all", "seed", "default_rng", "RandomState", "seed_all"})
INDUCTOR = re.compile(r"(torch\.)?_inductor(\.\w+)*")  # as text: what getattr and sys.modules take
CLOCKS = ("time.", "torch.cuda.", "torch.nn.functional.", "builtins.")
INVISIBLE = frozenset("\u200b\u200c\u200d\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRuleText:
    """One row of the table."""

    sentence: str  # what a finding says
    expected: str
    number: str | None  # key of track.toml that holds its number
    answers: str  # the ways to cheat or to err that it closes


SOURCE_RULES: dict[SourceRule, SourceRuleText] = {
    "unreadable_file": SourceRuleText(
        sentence="a file cannot be read as source", expected="UTF-8 text, Python that parses", number=None,
        answers="binaries among the source, encodings that hide code"),
    "hidden_text": SourceRuleText(
        sentence="invisible or direction-changing characters", expected="text that reads as it runs", number=None,
        answers="code that a reviewer sees in another order than Python"),
    "compile_flag": SourceRuleText(
        sentence="compiler settings beyond the track's", number="rules.compile_flags",
        expected="torch.compile with dynamic, fullgraph or backend only, no torch._inductor.config",
        answers="half an hour of autotuning before a clock that starts later, results nobody repeats"),
    "dynamic_code": SourceRuleText(
        sentence="code that is not on the page", expected="no exec, eval, ctypes, pickle or the like", number=None,
        answers="code run that is not the code submitted; native code of unknown origin"),
    "decoded_literal": SourceRuleText(
        sentence="data unpacked from the source", expected="no base64, zlib, lzma or bytes read as numbers",
        number=None, answers="weights and tables embedded in the source, wrapped submissions"),
    "blob": SourceRuleText(
        sentence="a literal that is data", expected="strings with words, bytes and integers a person would type",
        number="rules.literal_bytes", answers="weights, tokens or text of the data set in a string"),
    "number_table": SourceRuleText(
        sentence="a table of numbers", expected="tables short enough to be typed", number="rules.table_numbers",
        answers="weights, statistics of the data set or an order of its documents as numbers"),
    "literal_budget": SourceRuleText(
        sentence="much data in all literals and other files together",
        expected="little beside the code, as zlib counts it", number="rules.literals_bytes",
        answers="data spread over many small literals"),
    "source_budget": SourceRuleText(
        sentence="the source is too big", expected="few bytes, as they are and as zlib counts them",
        number="rules.compressed_bytes", answers="data in comments and names; a source nobody can review"),
    "foreign_import": SourceRuleText(
        sentence="imports beyond the track's list", expected="the standard library and what the track allows",
        number="rules.imports", answers="weights or kernels from a package; a file that shadows a library"),
    "long_line": SourceRuleText(
        sentence="lines too long to read", expected="lines a person reads", number="rules.line_length",
        answers="minified sources"),
    "environment_switch": SourceRuleText(
        sentence="switches outside the source", expected="no environment variable but those of a run", number=None,
        answers="a run that does something else than the source says by itself"),
    "own_seed": SourceRuleText(
        sentence="a seed of its own", expected="run.seed, or what is made of it", number=None,
        answers="a seed chosen for its result; repeats that are no repeats"),
    "patched_clock": SourceRuleText(
        sentence="functions of a library replaced", expected="time, torch.cuda and torch.nn.functional as they are",
        number=None, answers="clocks, synchronisation and losses that lie (ours are in another process)"),
    "patched_counter": SourceRuleText(
        sentence="what the referee counts is got at", number="rules.before_go_passes",
        expected="torch.autograd and `run` as they are, and no other frame or module of ours looked into",
        answers="training before GO that is not told"),
    "outside_path": SourceRuleText(
        sentence="paths of the machine", number=None,
        expected="no absolute path in the source but of /proc, /sys, /dev and /tmp: shards come from `run`",
        answers="text, weights or data of the machine that no track allows"),
    "before_go": SourceRuleText(
        sentence="text made, or long training, before go()", number="rules.before_go_passes",
        expected="a warm-up on run.warmup_shards in few passes",
        answers="a model of the data's kind, trained before the clock on text the submission brings or writes"),
}  # fmt: skip


def check(source_root: Path, files: Iterable[str], track: Track) -> tuple[Finding, ...]:
    """What the rules find in a source: one finding for each rule and file, with the first lines it is seen on.

    `files` are names below source_root (Submission.files). Never raises for what is in them; reads 4 MiB at most.
    """
    return findings_of(read_source(source_root, files, MAX_SOURCE_BYTES), track)


def findings_of(sources: list[SourceFile], track: Track) -> tuple[Finding, ...]:
    """The same for files that are already read."""
    seen: dict[tuple[SourceRule, str], list[Place]] = {}
    for rule, name, place in _sightings(sources, track):
        seen.setdefault((rule, name), []).append(place)
    return tuple(_finding(rule, name, places, track.rules) for (rule, name), places in seen.items())


def _finding(rule: SourceRule, name: str, places: list[Place], rules: Rules) -> Finding:
    shown = [f"line {place.line}: {place.what}" if place.line else place.what for place in sorted(places)[:SHOWN]]
    more = f"; and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    return Finding(
        id=rule,
        severity="error" if rule in rules.blocking else "warning",
        sentence=f"{one_line(name, MAX_SHOWN)}: {SOURCE_RULES[rule].sentence}" if name else SOURCE_RULES[rule].sentence,
        expected=SOURCE_RULES[rule].expected,
        found=one_line("; ".join(shown), MAX_SHOWN) + more,
    )


def _sightings(sources: list[SourceFile], track: Track) -> Iterator[tuple[SourceRule, str, Place]]:
    rules = track.rules
    yield from (("source_budget", "", place) for place in _too_big(sources, track))
    carried = literals.information(literals.carried(sources))
    if carried > rules.literals_bytes:
        yield "literal_budget", "", Place(0, f"{carried:,} bytes of at most {rules.literals_bytes:,}")
    for name, place in before_go_rules.sightings(sources, rules.before_go_passes):
        yield "before_go", name, place
    local = {Path(source.name).parts[0].removesuffix(".py") for source in sources}
    for source in sources:
        if source.problem is not None:
            yield "unreadable_file", source.name, Place(0, source.problem)
        for rule, place in _of_file(source, rules, local):
            yield rule, source.name, place


def _of_file(source: SourceFile, rules: Rules, local: set[str]) -> Iterator[tuple[SourceRule, Place]]:
    checks: dict[SourceRule, Iterator[Place]] = {
        "hidden_text": _hidden_text(source),
        "long_line": _long_lines(source, rules.line_length),
        "blob": literals.blobs(source, rules.literal_bytes),
        "number_table": literals.number_tables(source, rules.table_numbers),
        "compile_flag": _compile_flags(source, frozenset(rules.compile_flags)),
        "dynamic_code": _dynamic_code(source),
        "decoded_literal": _decoded_literals(source),
        "foreign_import": _foreign_imports(source, frozenset(rules.imports), local),
        "environment_switch": _environment_switches(source),
        "own_seed": _own_seeds(source),
        "patched_clock": _patches(source),
        "patched_counter": reaches(source),
        "outside_path": outside_paths(source),
    }
    for rule, places in checks.items():
        yield from ((rule, place) for place in places)


# ------------------------------------------------------------------------------------------------------------ text


def _too_big(sources: list[SourceFile], track: Track) -> Iterator[Place]:
    size = sum(len(source.content) for source in sources)
    packed = literals.information(source.content for source in sources)
    if size > track.budget.source_bytes:
        yield Place(0, f"{size:,} bytes of at most {track.budget.source_bytes:,}")
    if packed > track.rules.compressed_bytes:
        yield Place(0, f"{packed:,} bytes compressed of at most {track.rules.compressed_bytes:,}")


def _hidden_text(source: SourceFile) -> Iterator[Place]:
    for number, line in enumerate(source.text.split("\n"), start=1):
        found = INVISIBLE.intersection(line)
        if found:
            yield Place(number, " ".join(f"U+{ord(c):04X}" for c in sorted(found)))


def _long_lines(source: SourceFile, most: int) -> Iterator[Place]:
    for number, line in enumerate(source.text.split("\n"), start=1):
        if len(line) > most and source.is_code:
            yield Place(number, f"{len(line):,} characters of at most {most}")


# ------------------------------------------------------------------------------------------------------------ tree


def _compile_flags(source: SourceFile, allowed: frozenset[str]) -> Iterator[Place]:
    """Settings of the compiler: on torch._inductor.config, through torch.compile, through the environment."""
    config = "torch._inductor.config"
    for node in source.nodes:
        if isinstance(node, ast.Attribute):
            path = source.dotted(node)
            if path.startswith(config + ".") and path.removeprefix(config + ".") not in allowed:
                yield Place(node.lineno, path)
        elif isinstance(node, ast.Call):
            yield from _call_flags(source, node, config, allowed)
        elif isinstance(node, ast.ImportFrom) and node.module == config:
            yield Place(node.lineno, f"from {config} import")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            flag = node.value.removeprefix("TORCHINDUCTOR_")
            is_variable = flag != node.value and flag.lower() not in allowed | {"cache_dir"}
            if is_variable or INDUCTOR.fullmatch(node.value):
                yield Place(node.lineno, repr(node.value[:80]))


def _call_flags(source: SourceFile, node: ast.Call, config: str, allowed: frozenset[str]) -> Iterator[Place]:
    paths = [source.dotted(argument) for argument in node.args]
    if config in paths:  # setattr(config, ...), vars(config), anything that hands it on
        flag = source.constant(node.args[1]) if source.dotted(node.func) == "setattr" and len(node.args) > 1 else None
        if flag not in allowed:
            yield Place(node.lineno, f"{config} handed to {source.dotted(node.func) or 'a function'}")
    called = [source.dotted(node.func), *paths[:1]]
    is_compile = "torch.compile" in called or (isinstance(node.func, ast.Attribute) and node.func.attr == "compile")
    for keyword in node.keywords if is_compile else ():
        plain = isinstance(keyword.value, ast.Constant) and keyword.value.value in (None, "default")
        if keyword.arg in ("mode", "options") and not plain:
            yield Place(node.lineno, f"torch.compile({keyword.arg}=...)")
        elif keyword.arg is None and "torch.compile" in called:
            yield Place(node.lineno, "torch.compile(**...)")


def _imported(source: SourceFile) -> Iterator[tuple[str, int]]:
    """First names of imported modules, with their lines; relative imports are the submission's own."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0], node.lineno


def _dynamic_code(source: SourceFile) -> Iterator[Place]:
    """Code made from text, and modules that bring it in. A `compile` the file assigns itself is a setting."""
    yield from (Place(line, f"import {name}") for name, line in _imported(source) if name in CODE_MODULES)
    names = [node for node in source.nodes if isinstance(node, ast.Name)]
    suspects = CODE_FROM_TEXT | INNER_NAMES
    if any(node.id == "compile" and isinstance(node.ctx, ast.Store) for node in names):
        suspects -= {"compile"}
    for node in source.nodes:
        if isinstance(node, ast.Name) and source.aliases.get(node.id, node.id) in suspects:
            yield Place(node.lineno, node.id)
        elif isinstance(node, ast.Attribute) and node.attr in INNER_NAMES:
            yield Place(node.lineno, node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in INNER_NAMES:
            yield Place(node.lineno, repr(node.value))


def _decoded_literals(source: SourceFile) -> Iterator[Place]:
    yield from (Place(line, f"import {name}") for name, line in _imported(source) if name in PACKERS)
    for node in source.nodes:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        values = [source.constant(argument) for argument in (*node.args, *(k.value for k in node.keywords))]
        long = any(isinstance(value, str | bytes) and len(value) > 64 for value in values)
        if name == "fromhex" or (name in READERS and long):
            yield Place(node.lineno, f"{name}(...)")


def _foreign_imports(source: SourceFile, allowed: frozenset[str], local: set[str]) -> Iterator[Place]:
    known = allowed | sys.stdlib_module_names
    own = Path(source.name).parts[0].removesuffix(".py")
    if source.name.endswith(".py") and own in known:
        yield Place(0, f"{source.name} goes by the name of a library")
    for name, line in _imported(source):
        if name not in known and name not in local:
            yield Place(line, f"import {name}")


def _environment_switches(source: SourceFile) -> Iterator[Place]:
    for node in source.nodes:
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            key = node.slice if source.dotted(node.value) == "os.environ" else None
        elif isinstance(node, ast.Call) and node.args:
            reads = source.dotted(node.func) in ("os.getenv", "os.environ.get", "os.environ.pop", "os.environb.get")
            key = node.args[0] if reads else None
        if key is not None and source.constant(key) not in RUN_VARIABLES:
            yield Place(key.lineno, f"reads {source.constant(key) or 'a variable not named here'}")


def _own_seeds(source: SourceFile) -> Iterator[Place]:
    """Generators seeded with nothing but numbers of the source."""
    for node in source.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SEEDERS:
            given = [inner for argument in (*node.args, *node.keywords) for inner in ast.walk(argument)]
            numbers = [inner for inner in given if type(source.constant(inner)) is int]
            if numbers and not any("seed" in _name(inner).lower() for inner in given if inner not in numbers):
                yield Place(node.lineno, f"{node.func.attr}({source.constant(numbers[0])})")


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _patches(source: SourceFile) -> Iterator[Place]:
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if source.dotted(node).startswith(CLOCKS):
                yield Place(node.lineno, f"{source.dotted(node)} = ...")
        elif isinstance(node, ast.Call) and source.dotted(node.func) == "setattr" and node.args:
            owner = source.dotted(node.args[0])
            if f"{owner}.".startswith(CLOCKS):
                yield Place(node.lineno, f"setattr({owner}, ...)")
