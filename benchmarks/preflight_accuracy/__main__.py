"""How true the preflight is: its estimates against runs that others have measured.

``python -m benchmarks.preflight_accuracy`` prints the tables, ``--write`` puts them into
docs/preflight.md. Other rows of the same form: ``--memory FILE --speed FILE``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.preflight_accuracy import tables
from benchmarks.preflight_accuracy.blind import GROUPS
from benchmarks.preflight_accuracy.fit import left_out
from benchmarks.preflight_accuracy.measure import runs_of
from benchmarks.preflight_accuracy.rows import DATA, completed, read

PAGE = Path(__file__).parents[2] / "docs" / "preflight.md"
BEGIN, END = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--memory", type=Path, default=DATA / "memory.json")
    parser.add_argument("--speed", type=Path, default=DATA / "throughput.json")
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    asked = parser.parse_args()

    report = report_of(asked.memory, asked.speed)
    print(report)
    if asked.write:
        page = PAGE.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        after = rest.split(END)[1]
        text = f"{before}{BEGIN}\n\n{report}\n\n{END}{after}"
        PAGE.write_text(text, encoding="utf-8")


def report_of(memory_file: Path, speed_file: Path) -> str:
    """All tables."""
    memory_rows = read(memory_file)
    memory, unknown = runs_of(memory_rows)
    speed, unknown_speed = runs_of(completed(read(speed_file), memory_rows))
    speed = [run for run in speed if run.row.get("tokens_per_s_per_gpu")]
    without = {kind: left_out(speed, group) for kind, group in GROUPS.items()}
    parts = {
        "Aims": tables.bars(memory, speed),
        "Memory": tables.memory_table(memory),
        "Memory beside the rules of others, same rows": tables.rivals_table(memory),
        "Fits or not": tables.fit_table([*memory, *tables.fit_labels(speed)]),
        "Tokens per second": tables.speed_table(speed),
        "A source that nothing was read off": tables.blind_table(
            memory, without["source"], "source"
        ),
        "A model that nothing was read off": tables.blind_table(memory, without["model"], "model"),
        "The fitted numbers": tables.constants_table(speed, without["source"]),
    }
    report = "\n\n".join(f"### {title}\n\n{table}" for title, table in parts.items())
    if unknown or unknown_speed:
        report += (
            "\n\nNot judged, as model, batch or length is not known, or as they are cut up across "
            f"tensors or in a pipeline: {', '.join([*unknown, *unknown_speed])}."
        )
    return report


if __name__ == "__main__":
    main()
