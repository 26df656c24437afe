"""Why there is no such export. The run goes on without it."""


class ExportFailed(Exception):
    """The sentence says the kind and the reason."""
