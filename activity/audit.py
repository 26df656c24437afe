"""Who changed what, from where. django-auditlog writes an entry for each change of a row that is
watched (`watch`); from here it learns who made it, and from where.

Its own middleware is not used: it asks for the user before REST framework has read a token, takes
an X-Forwarded-For from anybody, and connects a signal receiver for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any

from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.db.models import Model
from django.http import HttpRequest, HttpResponse

_answered: ContextVar[HttpRequest | None] = ContextVar("audited_request", default=None)


def watch(
    model: type[Model],
    *,
    only: Collection[str] = (),
    but: Collection[str] = (),
    secret: Collection[str] = (),
) -> None:
    """Write down each creation, change and deletion of these rows, field by field.

    All fields, or ``only`` these; ``but`` are left out; of ``secret`` ones it is only said that
    they changed.
    """
    # Without a list auditlog also takes the relations that point here.
    fields = only or {field.name for field in model._meta.concrete_fields}
    auditlog.register(
        model,
        include_fields=sorted({*fields} - {"id", "created_at", "updated_at", *but}),
        m2m_fields={field.name for field in model._meta.many_to_many},
        mask_fields=list(secret),
        mask_callable="activity.audit.hidden",
    )


class AuditMiddleware:
    """What is written while a request is answered, its user has written."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        _answered.set(request)
        try:
            return self.get_response(request)
        finally:
            _answered.set(None)


def name_the_actor(instance: LogEntry, **kwargs: Any) -> None:
    """Receiver of `pre_save`. Copies the actor's name, so that the entry outlives the person."""
    request = _answered.get()
    user = instance.actor
    if request is not None:
        instance.remote_addr = address_of(request)
        user = user or getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        instance.actor_id = user.pk
        instance.actor_email = user.email
        instance.additional_data = {**(instance.additional_data or {}), "actor": user.username}


def address_of(request: HttpRequest) -> str | None:
    """Where a request came from. Behind a proxy the web server has put its word for it there,
    if it trusts the proxy. None for a Unix socket."""
    address = request.META.get("REMOTE_ADDR", "").split("%")[0]
    try:
        return str(ip_address(address))
    except ValueError:
        return None


def note(instance: Model, verb: str, *, actor: Any, changes: dict[str, list[Any]]) -> None:
    """Write down what a person did where no signal tells of it: rows changed by UPDATE.

    ``changes`` has the old and the new value of each field. Belongs into the transaction of the
    change.
    """
    LogEntry.objects.log_create(
        instance,
        action=LogEntry.Action.UPDATE,
        changes=changes,
        actor=actor if getattr(actor, "is_authenticated", False) else None,
        additional_data={"verb": verb},
    )


def verb_of(entry: LogEntry) -> str:
    """``create``, ``update``, ``delete``, or the verb of a `note`: ``cancel``, ..."""
    return str((entry.additional_data or {}).get("verb") or entry.get_action_display())


def actor_of(entry: LogEntry) -> str | None:
    """The name that the actor had then; None where the platform itself was at work."""
    name: str | None = (entry.additional_data or {}).get("actor")
    return name


def changes_of(entry: LogEntry) -> dict[str, list[Any]]:
    """The old and the new value of each field; of a list of others, who left and who came."""
    pairs: dict[str, list[Any]] = {}
    for field, change in (entry.changes or {}).items():
        if isinstance(change, dict):
            others = change["objects"]
            pairs[field] = [[], others] if change["operation"] == "add" else [others, []]
        else:
            pairs[field] = list(change)
    return pairs


def kinds() -> dict[str, type[Model]]:
    """What entries are about, by the word that the API uses: ``base_model``, ``job``, ..."""
    return {word_for(model): model for model in auditlog.get_models()}


def word_for(model: type[Model]) -> str:
    return str(model._meta.verbose_name).replace(" ", "_")


def hidden(value: str) -> str:
    """What an entry shows of a secret that has changed."""
    return "•••"
