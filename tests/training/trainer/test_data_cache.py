"""Tokenized rows are kept and shared, found again when they are the same, and never too many."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.training.trainer import runs, tiny
from training.trainer.data import load
from training.trainer.data.cache import Kept, Tally, TokenCache
from training.trainer.data.examples import Examples
from training.trainer.data.files import RowFiles
from training.trainer.data.rows import Flat, Rows
from training.trainer.data.tokens import Row
from training.trainer.failures import BadData
from training.trainer.result import Result
from training.trainer.spec import RunSpec

ROW_COUNT = 3000


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of different lengths, one of them without anything to learn, one too long."""
    rows = [{"prompt": f"{i} plus {i} is", "completion": " x" * (i % 30 + 1)} for i in range(2998)]
    rows[1500:1500] = [
        {"prompt": "x" * 300, "completion": "y"},
        {"prompt": "x", "completion": "y" * 300},
    ]
    return tiny.write_rows(tmp_path_factory.mktemp("rows") / "train.jsonl", rows)


@pytest.fixture
def spec(tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch) -> RunSpec:
    monkeypatch.setattr(load, "KEEP_FROM_BYTES", 0)
    return RunSpec.from_dict(
        {
            "run_id": "r",
            "name": "r",
            "method": "full",
            "base_model": {"path": str(base_model)},
            "dataset": {"train": ["train.jsonl"]},
            "export_dir": "/nowhere",
            "train": {"max_length": 100},
            "cache_dir": str(tmp_path / "tokens"),
        }
    )


def set_train(spec: RunSpec, **train: Any) -> RunSpec:
    return dataclasses.replace(spec, train=dataclasses.replace(spec.train, **train))


def rows_in(file: Path, tokenizer: Any, spec: RunSpec) -> Examples[Row]:
    return load.load_rows(RowFiles((str(file),)), tokenizer, spec)


def kept(spec: RunSpec) -> set[str]:
    folder = Path(spec.cache_dir)
    return {path.name for path in folder.iterdir()} - {"locks"} if folder.exists() else set()


def assert_same(one: Examples[Row], other: Examples[Row]) -> None:
    assert (one.truncated, one.dropped, one.tokens) == (
        other.truncated,
        other.dropped,
        other.tokens,
    )
    assert len(one.rows) == len(other.rows)
    for a, b in zip(one.rows, other.rows, strict=True):
        assert a.ids.tolist() == b.ids.tolist()
        assert a.loss.tolist() == b.loss.tolist()


class Refusing:
    """A tokenizer that must not be asked."""

    chat_template = tiny.CHAT_TEMPLATE

    def __call__(self, *_args: Any, **_settings: Any) -> Any:
        raise AssertionError("the rows are tokenized again")


def test_rows_on_disk_are_those_in_memory(long_file: Path, tokenizer: Any, spec: RunSpec) -> None:
    on_disk = rows_in(long_file, tokenizer, spec)
    in_memory = rows_in(long_file, tokenizer, dataclasses.replace(spec, cache_dir=""))
    assert (on_disk.truncated, on_disk.dropped, len(on_disk.rows)) == (1, 1, 2999)
    assert_same(on_disk, in_memory)
    assert isinstance(on_disk.rows, Rows)
    assert isinstance(in_memory.rows, Rows)
    assert on_disk.rows.highest == in_memory.rows.highest
    assert on_disk.rows.lengths.tolist() == [row.length for row in on_disk.rows]


def test_the_second_time_nothing_is_tokenized(
    long_file: Path, tokenizer: Any, spec: RunSpec
) -> None:
    first = rows_in(long_file, tokenizer, spec)
    assert_same(first, rows_in(long_file, Refusing(), spec))


def test_few_rows_are_not_kept(
    long_file: Path, tokenizer: Any, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "KEEP_FROM_BYTES", long_file.stat().st_size + 1)
    rows_in(long_file, tokenizer, spec)
    assert kept(spec) == set()


def test_rows_are_made_anew_when_anything_they_follow_from_is_another(
    long_file: Path, tokenizer: Any, spec: RunSpec, tmp_path: Path
) -> None:
    def count(file: Path = long_file, tok: Any = tokenizer, of: RunSpec = spec, **columns: str):
        load.load_rows(RowFiles((str(file),), columns), tok, of)
        return len(kept(spec))

    assert count() == 1
    assert count() == 1
    assert count(of=dataclasses.replace(spec, name="another run", run_id="another")) == 1
    assert count(of=set_train(spec, learning_rate=1.0)) == 1
    assert count(of=set_train(spec, max_length=99)) == 2
    assert count(of=set_train(spec, completion_only_loss=False)) == 3
    assert count(prompt="completion", completion="prompt") == 4
    template = tiny.make_tokenizer()
    template.chat_template += " "
    assert count(tok=template) == 5
    changed = tmp_path / "train.jsonl"
    changed.write_bytes(long_file.read_bytes().replace(b"7 plus", b"8 plus", 1))
    os.utime(changed, ns=(long_file.stat().st_mtime_ns,) * 2)
    assert count(changed) == 6
    model = tmp_path / "model"
    model.mkdir()
    for file in Path(spec.base_model.path).iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    moved = dataclasses.replace(
        spec, base_model=dataclasses.replace(spec.base_model, path=str(model))
    )
    assert count(of=moved) == 6  # the same files elsewhere
    (model / "model.safetensors").write_bytes(b"other weights, same tokenizer")
    assert count(of=moved) == 6
    (model / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes() + b"\n")
    assert count(of=moved) == 7


def test_blocks_of_text_are_kept_apart_from_rows(
    tmp_path: Path, tokenizer: Any, spec: RunSpec
) -> None:
    texts = [{"text": "one plus two is " * (i % 5)} for i in range(2500)]
    files = RowFiles((str(tiny.write_rows(tmp_path / "t.jsonl", texts)),))
    spec = dataclasses.replace(spec, method="pretrain")
    blocks = load.load_blocks(files, tokenizer, spec)
    assert {row.length for row in blocks.rows[:-1]} == {100}
    whole = np.concatenate([row.ids for row in blocks.rows])
    expected = [t for text in texts for t in [*tokenizer(text["text"])["input_ids"], 1]]
    assert whole.tolist() == expected
    assert all(row.loss.all() for row in blocks.rows)
    assert_same(blocks, load.load_blocks(files, Refusing(), spec))
    assert len(load.load_rows(files, tokenizer, spec).rows) == 2000  # the others are empty


def test_several_processes_make_the_same_rows_in_the_same_order(
    long_file: Path, tokenizer: Any, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = rows_in(long_file, tokenizer, dataclasses.replace(spec, cache_dir=""))
    monkeypatch.setattr(load, "SHARE_FROM_BYTES", 0)
    monkeypatch.setattr(load, "ROWS_AT_ONCE", 100)
    shared = rows_in(long_file, tokenizer, set_train(spec, dataset_num_proc=3))
    assert_same(alone, shared)


def test_what_another_process_says_of_a_row_is_heard(
    tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "SHARE_FROM_BYTES", 0)
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no, thank you') }}"
    rows = [{"messages": [{"role": "assistant", "content": "x"}]}] * 10
    with pytest.raises(BadData, match=r"r\.jsonl, line 1: .*no, thank you") as caught:
        rows_in(tiny.write_rows(tmp_path / "r.jsonl", rows), tokenizer,
                set_train(spec, dataset_num_proc=2))  # fmt: skip
    assert caught.value.advice
    assert kept(spec) == set()


def test_a_bad_row_leaves_nothing_behind(tmp_path: Path, tokenizer: Any, spec: RunSpec) -> None:
    file = tiny.write_rows(tmp_path / "r.jsonl", [{"text": "x"}] * 3000)
    with open(file, "a", encoding="utf-8") as end:
        end.write("{not json")
    with pytest.raises(BadData, match="line 3001"):
        rows_in(file, tokenizer, spec)
    assert kept(spec) == set()


def test_rows_that_cannot_be_read_any_more_are_made_again(
    long_file: Path, tokenizer: Any, spec: RunSpec
) -> None:
    first = rows_in(long_file, tokenizer, spec)
    (name,) = kept(spec)
    for file, content in (("rows.arrow", b"damaged"), ("facts.json", b"{")):
        damaged = Path(spec.cache_dir) / name / file
        damaged.unlink()  # to write into a file that is mapped would be another damage
        damaged.write_bytes(content)
        assert_same(first, rows_in(long_file, tokenizer, spec))


def flat(tokens: int) -> Flat:
    return Flat.of([Row(np.zeros(tokens, np.int32), np.ones(tokens, np.bool_))])


def put(cache: TokenCache, key: str, tokens: int = 20_000) -> Kept:
    return cache.get(key, lambda _: iter([flat(tokens)]), needs_bytes=0)


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path, limit_bytes=250_000)  # two of 100 kB each
    made: list[str] = []

    def use(key: str) -> None:
        def make(_: Tally) -> Iterator[Flat]:
            made.append(key)
            yield flat(20_000)

        cache.get(key, make, needs_bytes=0)
        time.sleep(0.02)  # so that the times differ

    for key in ("a", "b", "a", "c", "a", "b"):
        use(key)
    assert made == ["a", "b", "c", "b"]
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "locks"}


def test_a_run_keeps_the_rows_it_looks_at_when_they_are_removed(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path, limit_bytes=0)
    mine = put(cache, "mine")
    put(cache, "other")
    assert not (tmp_path / "mine").exists()
    assert mine.rows[0].length == 20_000
    assert mine.rows[0].weight == 19_999


def test_the_rows_of_this_run_may_be_larger_than_all_that_may_be_kept(tmp_path: Path) -> None:
    assert len(put(TokenCache(tmp_path, limit_bytes=0), "large").rows) == 1
    assert (tmp_path / "large").is_dir()


def _hold(folder: Path, key: str, inside: Any, go_on: Any) -> None:
    def slowly(_: Tally) -> Iterator[Flat]:
        inside.set()
        assert go_on.wait(20)
        yield flat(7)

    TokenCache(folder, 0).get(key, slowly, needs_bytes=0)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Another process is just making the rows ``shared``; it goes on when it is told."""
    context = multiprocessing.get_context("spawn")
    inside, go_on = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, "shared", inside, go_on))
    process.start()
    assert inside.wait(30)
    yield process, go_on
    process.kill()
    process.join()


def test_who_comes_second_waits_and_reads(tmp_path: Path, holder: tuple[Any, Any]) -> None:
    process, go_on = holder
    put(TokenCache(tmp_path, 0), "another")  # does not wait, and removes nothing half made
    assert (tmp_path / "shared.tmp").is_dir()
    go_on.set()
    refuse: Callable[[Tally], Iterator[Flat]] = lambda _: pytest.fail("made twice")  # noqa: E731
    found = TokenCache(tmp_path, 0).get("shared", refuse, needs_bytes=0)
    assert found.rows[0].length == 7
    process.join(20)
    assert process.exitcode == 0


def test_when_the_first_is_killed_the_second_makes_them(
    tmp_path: Path, holder: tuple[Any, Any]
) -> None:
    process, _ = holder
    process.kill()
    assert put(TokenCache(tmp_path, 0), "shared", tokens=9).rows[0].length == 9
    assert not (tmp_path / "shared.tmp").exists()


def test_rows_on_disk_are_not_in_memory(tmp_path: Path) -> None:
    """200 MB of tokens are looked at row by row; what the process holds of its own stays small."""
    cache = TokenCache(tmp_path, limit_bytes=1e12)
    put(cache, "small")
    many = 40_000
    part = Flat(
        np.arange(1000 * 1000, dtype=np.int32),
        np.ones(1000 * 1000, np.bool_),
        np.arange(1001) * 1000,
        np.zeros(1000, np.int32),
    )
    cache.get("large", lambda _: (part for _ in range(many // 1000)), needs_bytes=0)
    script = (
        "import sys, pathlib\n"
        "from training.trainer.data.cache import TokenCache\n"
        "def own_kb():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return int(next(l for l in lines if l.startswith('RssAnon')).split()[1])\n"
        "cache = TokenCache(pathlib.Path(sys.argv[1]), 1e12)\n"
        "cache.get('small', None, needs_bytes=0)\n"
        "before = own_kb()\n"
        "rows = cache.get('large', None, needs_bytes=0).rows\n"
        "tokens = sum(int(row.weight) + int(row.ids[-1] >= 0) for row in rows)\n"
        "print(len(rows), tokens, own_kb() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    count, tokens, grown_kb = map(int, done.stdout.split())
    assert (count, tokens) == (many, many * 1000)
    assert grown_kb < 10_000


# --- The real process ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough to be kept."""
    rows = [{"prompt": f"{i} plus", "completion": f" {i} is " * 8} for i in range(2000)]
    return tiny.write_rows(tmp_path_factory.mktemp("wide") / "train.jsonl", rows)


def make_wide(make_run: Callable[..., Path], name: str, file: Path, cache: Path, **train: Any):
    return make_run(
        name,
        dataset={"train": [str(file)], "validation": []},
        train={"max_steps": 3, "max_length": 64, **train},
        cache_dir=str(cache),
    )


def test_a_second_run_on_the_same_data_is_the_same_run(
    make_run: Callable[..., Path], wide_file: Path, tmp_path: Path
) -> None:
    one, two = (make_wide(make_run, name, wide_file, tmp_path / "tokens") for name in ("1", "2"))
    for run_dir in (one, two):
        assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    assert "tokenized before" not in (one / "log.txt").read_text()
    assert "tokenized before" in (two / "log.txt").read_text()
    assert runs.weights_hash(one) == runs.weights_hash(two)
    assert [{**line, "time": 0} for line in runs.said(one, "data")] == [
        {**line, "time": 0} for line in runs.said(two, "data")
    ]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_while_it_tokenizes_it_leaves_no_process(
    make_run: Callable[..., Path], tmp_path: Path, sign: signal.Signals
) -> None:
    """Several processes at work on 20 MB; told how far they are, and gone with who began them."""
    file = tmp_path / "train.jsonl"
    row = json.dumps({"text": "one plus two is three " * 40}) + "\n"
    file.write_text(row * 22_000, encoding="utf-8")
    run_dir = make_wide(make_run, "big", file, tmp_path / "tokens", dataset_num_proc=2)
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: bool(runs.said(run_dir, "data_progress")), process)
        children = psutil.Process(process.pid).children(recursive=True)
        asked = time.monotonic()
        process.send_signal(sign)
        process.wait(runs.PATIENCE_S)
        assert time.monotonic() - asked < 3
        _, alive = psutil.wait_procs(children, timeout=5)
    assert len(children) >= 2
    assert alive == []
    told = runs.said(run_dir, "data_progress")[0]
    assert told["rows"] > 0
    assert 0 <= told["percent"] < 100
    if sign == signal.SIGTERM:
        result = Result.read(run_dir)
        assert result is not None
        assert result.outcome == "stopped"
