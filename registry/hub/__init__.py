"""Transfers: datasets and models come in from the Hugging Face hub, results go out to it.

The database is the truth, as for jobs: `lifecycle` moves a transfer, `dispatch` says whose turn it
is, a worker `run`s it, and what is lost is found by `dispatch.reconcile`. `sources` know where the
bytes come from, `fetch` brings them and checks each file against its hash, `registration` makes
the registry's entry of them.
"""
