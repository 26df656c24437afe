"""Which files hold rows, and in which way: their names say it."""

from __future__ import annotations

from pathlib import Path

# By the end of the name. The trainer reads the same ones (`training.trainer.data.files`).
FORMATS = {
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".json": "json",
    ".csv": "table",
    ".tsv": "table",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".txt": "text",
}
# Behind the end of a text file: "train.jsonl.gz".
PACKINGS = (".gz", ".bz2", ".xz", ".zst")
BINARY = frozenset({"parquet", "arrow"})
ROW_FILES = tuple(FORMATS)
# What others write beside the rows.
SIDECARS = frozenset(
    {
        *("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"),
        *("config.json", "package.json", "tokenizer.json", "tokenizer_config.json"),
        *("readme.txt", "license.txt", "licence.txt", "notice.txt", "requirements.txt"),
    }
)


def packing_of(name: str) -> str:
    """The end that says how the file is compressed, "" where it is not."""
    end = Path(name).suffix.lower()
    return end if end in PACKINGS else ""


def suffix_of(name: str) -> str:
    """The end that says what stands in it, without its packing; "" where it is no file of rows."""
    packing = packing_of(name)
    end = Path(name[: -len(packing)] if packing else name).suffix.lower()
    kind = FORMATS.get(end, "")
    return "" if not kind or (packing and kind in BINARY) else end


def format_of(name: str) -> str:
    """One of the values of FORMATS, "" where it is no file of rows."""
    return FORMATS.get(suffix_of(name), "")


def holds_rows(name: str) -> bool:
    return bool(format_of(name)) and Path(name).name.lower() not in SIDECARS
