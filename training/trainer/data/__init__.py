"""From files of rows to the batches of every step."""
