"""The rules of the source: what each sees, what it must leave alone, and that no text brings it down."""

import base64
import random
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.formats import layout
from harness.formats.run import Finding
from harness.formats.submission import read_submission
from harness.formats.track import SourceRule, Track, list_tracks, load_track
from harness.rules.source_rules import SOURCE_RULES, check, findings_of
from harness.rules.source_tree import MAX_PARSED_BYTES, parse

ROOT = Path(__file__).resolve().parents[3]
TINY = load_track(str(ROOT / "tests" / "tracks" / "tiny"))
NOISE = random.Random(0).randbytes(20_000)
Ids = Callable[..., dict[str, Finding]]


def with_rules(**update: object) -> Track:
    return TINY.model_copy(update={"rules": TINY.rules.model_copy(update=update)})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Ids:
    """found(text, ...) -> rule id -> finding, of a source of one file, or of several by name."""
    root = tmp_path_factory.mktemp("source")

    def look(text: str | bytes = "", track: Track = TINY, **files: str | bytes) -> dict[str, Finding]:
        named = {"train_gpt.py": text} | {name.replace("__", "."): content for name, content in files.items()}
        for name, content in named.items():
            (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return {finding.id: finding for finding in check(root, named, track)}

    return look


def text_of(data: bytes) -> str:
    return base64.b85encode(data).decode()


SEEN: dict[SourceRule, list[str | bytes]] = {
    "unreadable_file": [
        "def f(:\n", b"x = '\xff'\n", "x = 1\0", "# coding: rot13\nk = 1\n", "\n# -*- coding: latin-1 -*-\n",
        b"\xfe\xff",
        "[" * 10_000, "-" * 50_000 + "1", "x = " + "9" * 5000, "x = 1\n" * (MAX_PARSED_BYTES // 6 + 1), "f'{" * 300,
    ],
    "hidden_text": ["x = 1  # \u202e harmless", "a\u200b = 1\n", "s = '\ufeff'"],
    "compile_flag": [
        "import torch\ntorch._inductor.config.max_autotune = True",
        "import torch._inductor.config as config\nconfig.coordinate_descent_tuning = True",
        "from torch._inductor import config as c\nsetattr(c, 'max_autotune', True)",
        "from torch._inductor import config as c\nvars(c).update(max_autotune=True)",
        "import torch\nc = torch._inductor.config\nc.epilogue_fusion |= True",
        "import torch\nc = torch._inductor\nd = c.config\nd.x = True",
        "import torch\ntorch._inductor.config.patch({'max_autotune': True})(f)",
        "from torch._inductor.config import patch",
        "import torch\ntorch.compile(f, mode='max-autotune')",
        "import torch\n@torch.compile(options={'triton.cudagraphs': True})\ndef f(x): ...",
        "import torch\nfrom functools import partial\nc = partial(torch.compile, mode='max-autotune')",
        "from torch import compile\ncompile(f, mode=m)",
        "import torch\ngetattr(torch, '_inductor').config.max_autotune = True",
        "import sys\nsys.modules['torch._inductor.config'].max_autotune = True",
        "import torch\ntorch.compile(f, **hidden)",
        "model.compile(mode='reduce-overhead')",
        "import os\nos.environ['TORCHINDUCTOR_MAX_AUTOTUNE'] = '1'",
    ],
    "dynamic_code": [
        "exec('x = 1')", "f = eval", "compile('x', '', 'exec')", "__import__('os')", "import ctypes",
        "import pickle as p",
        "from importlib import import_module", "import builtins as b\nb.exec('')", "__builtins__['ex' + 'ec']",
        "().__class__.__base__.__subclasses__()", "f.__globals__", "getattr(f, '__globals__')",
    ],
    "decoded_literal": [
        "import base64", "from zlib import decompress", "import lzma", "bytes.fromhex('00ff')", "import codecs",
        f"import numpy as np\nnp.frombuffer({b'0123456789' * 7!r}, dtype='u1')",
        f"data = {'a' * 65!r}\nimport struct\nstruct.unpack('<65s', data)",
    ],
    "blob": [
        f"x = {text_of(NOISE[:500])!r}", f"x = {NOISE[:400].hex()!r}", f"x = {NOISE[:100]!r}", f"x = {1 << 300:#x}",
        "x = '''\n" + "\n".join(text_of(NOISE[i : i + 30]) for i in range(0, 9000, 30)) + "\n'''",
        "x = '" + " ".join(str(n) for n in NOISE[:6000]) + "'",
        f'"""{text_of(NOISE[:500])}"""',
    ],
    "number_table": [
        f"x = {list(NOISE[:300])}", f"x = [{list(NOISE[:150])}, {list(NOISE[:150])}]",
        f"x = {dict(enumerate(range(200)))}",
        f"f({', '.join(map(str, NOISE[:300]))})",
        f"import torch\ntorch.tensor({tuple(n / 7 for n in NOISE[:300])})",
    ],
    "literal_budget": [
        "\n".join(f"x{i} = '{text_of(NOISE[i * 50 : i * 50 + 50])}'" for i in range(390))
        + "\n".join(f"\ny{i} = {random.Random(i).random()!r}" for i in range(3000)),
    ],
    "source_budget": ["# no\n" * 30_000],
    "foreign_import": ["import requests", "from transformers import AutoModel", "import a.b.c",
    "def f():\n  import x, os"],
    "long_line": ["x = 1; " * 50],
    "environment_switch": [
        "import os\nos.environ['FAST']", "import os\nos.getenv('FAST', '0')", "import os\nos.environ.get(name)",
        "from os import environ\nenviron['FAST']", "from os import getenv\ngetenv('FAST')",
    ],
    "own_seed": [
        "import torch\ntorch.manual_seed(1337)", "import torch\ntorch.manual_seed(1337 + rank)",
        "import torch\nSEED = 3\ntorch.cuda.manual_seed_all(SEED)",
        "import numpy as np\nrng = np.random.default_rng(seed=7)",
        "import random\nrandom.seed(0)",
    ],
    "patched_clock": [
        "import time\ntime.time = lambda: 0", "import torch\ntorch.cuda.synchronize = f",
        "import torch.nn.functional as F\nF.cross_entropy = f", "import time\nsetattr(time, 'monotonic', f)",
        "from torch import cuda\ncuda.Event.elapsed_time = f",
    ],
    "outside_path": [
        "open('/usr/share/dict/words')", "import os\nos.walk('/opt')", "p = '/op' + 't/x'", "p = f'/home/{name}/x'",
        "p = '/'.join(('', 'usr', 'share'))", "p = ''.join(['/va', 'r/lib'])",
        "from pathlib import Path\nPath('/') / x",
        "import glob\nglob.glob('/*/words')", "open(b'/etc/motd')", "open('/somewhere/of-mine.bin')",
    ],
    "patched_counter": [
        "run._passes.count = 0", "getattr(run, '_passes').count = 0", "import torch\ntorch.autograd.backward = f",
        "from torch import autograd\nautograd.grad = f", "import torch.autograd as a\nsetattr(a, 'backward', f)",
        "import torch\ntorch.autograd.backward.__wrapped__(loss)", "NAME = '__closure__'\ngetattr(f, NAME)",
        "import torch\ntorch.autograd.Variable._execution_engine.run_backward(x)", "import __main__",
        "from torch.autograd.graph import _engine_run_backward as go", "import sys\nsys.modules['__main__'].Passes",
        "import torch\nvars(torch.autograd)['backward'] = f", "import torch\ntorch.autograd.__dict__['grad'] = f",
        "import sys\nsys._getframe(1).f_locals", "run._channel.send({'kind': 'go', 'passes': 0})",
        "import torch\ndel torch.autograd.backward", "import gc\ngc.get_objects()",
    ],
    "before_go": [
        "def train(run):\n    while True:\n        loss.backward()\n    run.go()",
        "N = 1000\ndef train(run):\n    for _ in range(N):\n        step()\n    run.go()\n"
        "def step():\n    f().backward()",
        "import torch\nclass T:\n    def fit(self):\n        for _ in range(0, 99):\n"
        "            torch.autograd.grad(a, b)\n"
        "def train(run):\n    T().fit()\n    shards = run.go()",
        "def make(g):\n    return g.multinomial(9)\ndef train(run):\n    t = Thread(target=make)\n    run.go()",
        "import random\nWORDS = random.choices(NAMES, k=9)",
        "def train(run):\n    tokens = codec.encode_ordinary(tale())\n    run.go()",
        "def train(run):\n    start = run.go\n    shards = start()\n"
        "def load(w, d):\n    return w\nfor _ in range(33):\n    l.backward()",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "text"), [(r, t) for r, ts in SEEN.items() for t in ts], ids=lambda v: repr(v)[:40])
def test_what_a_rule_sees(found: Ids, rule: SourceRule, text: str | bytes) -> None:
    finding = found(text)[rule]
    assert finding.severity == ("error" if rule in TINY.rules.blocking else "warning")
    assert finding.expected == SOURCE_RULES[rule].expected
    assert 0 < len(finding.found) < 400
    assert (finding.found + finding.sentence).isprintable()


HONEST = [
    "def train(run):\n    warm(run.warmup_shards)\n    run.go()\n"
    "    while True:\n        loss.backward()\n        g.multinomial(1)",
    "def warm(batches):\n    for batch in batches:\n        step(batch).backward()\n"
    "def train(run):\n    warm(b)\n    run.go()",
    "def train(run):\n    for _ in range(32):\n        loss.backward()\n"
    "    print('a'.encode(), x.encode('utf-8'))\n    run.go()",
    "def load(weights, device):\n    while True:\n        loss.backward()",
    "import torch\nf = torch.compile(f, dynamic=False, fullgraph=True, mode='default')",
    "import re\nre.compile('a', flags=re.I)\nmodel.eval()",
    "compile = True\nif compile:\n    model = 1",
    "import torch\ng = torch.Generator().manual_seed(run.seed)\ntorch.manual_seed(seed + 1000 * rank)",
    "import torch\nSEED = 7\ntorch.manual_seed(run.seed + SEED)",
    "import os\nrank = int(os.environ['RANK'])\nos.environ['PYTORCH_ALLOC_CONF'] = 'expandable_segments:True'",
    "import numpy as np\nnp.frombuffer(file.read(1024), dtype=np.int32)",
    "import time, torch\nstart = time.perf_counter()\ntorch.backends.cuda.matmul.allow_tf32 = True",
    "coefficients = [(8.156554524902461, -22.48329292557795, 15.878769915207462)] * 5",
    'KERNEL = """\n' + "    for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] += a * x[i];\n" * 60 + '"""',
    "# Größe, naïveté, 学習率\nη = 0.1\nloss = 'Überraschung'",
    "import torch._dynamo as dynamo\ndynamo.config.recompile_limit = 64",
    "from . import kernels\nfrom kernels import f",
]


@pytest.mark.parametrize("text", HONEST, ids=lambda text: text[:30])
def test_what_honest_sources_do_is_left_alone(found: Ids, text: str) -> None:
    assert found(text, kernels__py="def f(): ...\n") == {}


def test_every_rule_is_tried_explained_and_has_a_severity() -> None:
    assert set(SEEN) == set(SOURCE_RULES) == set(get_args(SourceRule))
    assert all(text.sentence and text.expected and text.answers for text in SOURCE_RULES.values())


@pytest.mark.parametrize("track", list_tracks(), ids=lambda track: track.name)
@pytest.mark.parametrize("path", [ROOT / "train_gpt.py", ROOT / "tests" / "submissions" / "bigram.py"], ids=str)
def test_our_own_submissions_break_nothing_on_any_track(path: Path, track: Track) -> None:
    assert check(path.parent, read_submission(path).files, track) == ()


def test_every_record_of_this_checkout_breaks_nothing() -> None:
    folders = [(track, folder) for track in list_tracks() for folder in layout.record_dirs(track.name)]
    assert folders
    for track, folder in folders:
        assert [f for f in check(folder, ["train_gpt.py"], track) if f.severity == "error"] == []


def test_a_track_says_what_blocks_and_what_is_allowed(found: Ids) -> None:
    text = "import torch, tiktoken\ntorch._inductor.config.coordinate_descent_tuning = True\ntorch.manual_seed(1)"
    assert {id: f.severity for id, f in found(text).items()} == {
        "compile_flag": "error", "foreign_import": "error", "own_seed": "warning",
    }  # fmt: skip
    track = with_rules(
        imports=("torch", "tiktoken"), compile_flags=("coordinate_descent_tuning",), blocking=("own_seed",)
    )
    assert {id: f.severity for id, f in found(text, track).items()} == {"own_seed": "error"}
    other = text.replace("coordinate_descent_tuning", "max_autotune")
    assert found(other, track)["compile_flag"].severity == "warning"
    environment = "import os\nos.environ['TORCHINDUCTOR_COORDINATE_DESCENT_TUNING'] = '1'"
    assert found(environment, track) == {}


def test_one_finding_says_where_a_rule_is_broken(found: Ids) -> None:
    finding = found("\n".join(["import os", *["os.getenv('A')"] * 5]))["environment_switch"]
    assert finding.found == "line 2: reads A; line 3: reads A; line 4: reads A; and 2 more"
    assert finding.sentence == "train_gpt.py: switches outside the source"


def test_data_beside_the_code_counts(found: Ids) -> None:
    assert "literal_budget" in found("x = 1", table__txt=text_of(NOISE) + text_of(NOISE[::-1]))
    assert "unreadable_file" in found("x = 1", weights__bin=NOISE)
    assert found("x = 1", README__md="# What it is\n") == {}


def test_comments_count_too(found: Ids) -> None:
    text = "".join(f"# {text_of(NOISE[i : i + 60])}\n" for i in range(0, 20_000, 60))
    assert found(text) == {}
    assert "compressed" in found(text, with_rules(compressed_bytes=15_000))["source_budget"].found


def test_a_file_that_takes_the_name_of_a_library(found: Ids) -> None:
    assert "torch.py" in found("x = 1", torch__py="x = 1")["foreign_import"].sentence


def test_links_missing_files_and_names_that_lead_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x = 1")
    (tmp_path / "train_gpt.py").symlink_to(tmp_path / "secret")
    findings = check(tmp_path, ["train_gpt.py", "gone.py", "a\0b.py"], TINY)
    assert [finding.id for finding in findings] == ["unreadable_file"] * 3
    assert all((finding.found + finding.sentence).isprintable() for finding in findings)


PIECES = st.sampled_from([
    "import torch", "torch._inductor.config", ".", "=", "(", ")", "[", "]", "{", "}", "\n", "    ", "'", '"', "\\",
    "f'{",
    "setattr(", "os.environ", "manual_seed(", "lambda: ", "0x", "9" * 50, ",", "**", "*", "def f(", ":", "#", "\0",
    "\ud800",
    "\u202e", "\f", "\r", "exec", "@", ":=", "await ", "1j", "1e999", "match x:", "b'\\xff'", "import ", "from . ",
    "as x",
])  # fmt: skip


@settings(max_examples=300)
@given(st.binary(max_size=2000) | st.lists(PIECES, max_size=60).map(lambda p: "".join(p).encode("utf-8", "replace")))
@example(b"\xef\xbb\xbfx = 1")
@example(b"x = '\\ud800'")
@example(b"# coding: utf-7\n+AHg-")
@example(b"a" + b".b" * 4000 + b" = 1")
@example(b"x = " + b"(" * 150 + b")" * 150)
@example(b"lambda: " * 3000 + b"1")
@example(b"if 1:\n" + b"".join(b" " * i + b"if 1:\n" for i in range(1, 120)))
@example(b"x = 0x" + b"f" * 200_000)
@example(b"x = " + b"+".join([b"1"] * 50_000))
@example(b"x = " + b"'a' " * 50_000)
@example(b"global x\n" * 1000 + b"\r\r\n\x0c")
def test_no_text_brings_it_down(content: bytes) -> None:
    source = parse("train_gpt.py", content)
    assert source.problem is None or not source.nodes
    for finding in findings_of([source], TINY):
        assert finding.id in SOURCE_RULES
        assert (finding.found + finding.sentence).isprintable()
        assert len(finding.found) < 400
