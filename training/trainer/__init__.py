"""The process that trains: ``python -m training.trainer RUN_DIR``.

It knows torch and Transformers, and nothing of Trainyard, the platform: no Django, no database,
no network. What to do it reads from ``RUN_DIR/run.json`` (`spec`), what happened it appends to
``RUN_DIR/events.jsonl`` (`events`), and how it ended it writes to ``RUN_DIR/result.json``
(`result`). Any run can be repeated by hand with that one command.

``spec``, ``events``, ``result`` and ``harness`` are the only modules the rest of the platform may
import: they need nothing but the standard library, the last one YAML too.
"""
