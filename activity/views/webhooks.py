"""``/settings/webhooks``: what owners tell other programs, and what became of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.db.models import OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import secrets
from accounts.models import Project
from accounts.scoping import is_owner, owned_by
from activity import webhooks
from activity.context import CountOf
from activity.models import DEFAULTS, EVENT_WORDS, Channel, Webhook, WebhookDelivery
from activity.outgoing import http
from api.pages import render_page

DELIVERIES_A_PAGE = 25
_SECRET = "new_webhook_secret"
# A delivery that is tried within this time is waited for; for others nobody watches the page.
_SOON = timedelta(seconds=15)


class WebhookForm(forms.ModelForm):  # type: ignore[type-arg]
    event_types = forms.MultipleChoiceField(
        label="Events", choices=EVENT_WORDS, widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = Webhook
        fields = ["project", "name", "kind", "url", "event_types", "enabled"]
        labels = {"url": "Address", "kind": "What is there", "enabled": "Turned on"}
        widgets = {"url": forms.TextInput({"inputmode": "url", "autocomplete": "off"})}
        help_texts = {
            "url": "https:// or http://. Slack and Discord give you one for “incoming webhooks”.",
            "kind": "Slack and Discord get messages in their own shape; anything else gets JSON.",
        }

    def __init__(self, *args: Any, asker: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["kind"].choices = [  # type: ignore[attr-defined]
            ("generic", "A program of ours"), ("slack", "Slack"), ("discord", "Discord"),
        ]  # fmt: skip
        if self.instance._state.adding:
            projects: Any = self.fields["project"]
            projects.queryset, projects.empty_label = owned_by(asker), None
            self.initial.setdefault("event_types", sorted(DEFAULTS[Channel.PUSH]))
        else:
            del self.fields["project"]

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        try:
            http.check_url(url)
        except http.NotAllowed as error:
            raise forms.ValidationError(str(error)) from error
        return url


@login_required
@require_safe
def webhook_list(request: HttpRequest) -> HttpResponse:
    failed = WebhookDelivery.objects.filter(
        webhook=OuterRef("pk"), state=WebhookDelivery.State.FAILED
    )
    visible = Webhook.objects.visible_to(request.user).select_related("project")
    context = {
        "webhooks": visible.annotate(failed=CountOf(failed.order_by().values("pk"))),
        "owns_any": owned_by(request.user).exists(),
    }
    return render(request, "settings/webhook_list.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def webhook_new(request: HttpRequest) -> HttpResponse:
    if not owned_by(request.user).exists():
        raise PermissionDenied("Only owners of a project make webhooks.")
    form = WebhookForm(
        request.POST or None, asker=request.user, initial={"project": _default_of(request.user)}
    )
    if request.method == "POST" and form.is_valid():
        try:
            webhook = webhooks.create(user=request.user, **form.cleaned_data)
        except IntegrityError:
            form.add_error("name", "The project has a webhook of this name already.")
        else:
            _show_once(request, webhook)
            return redirect("settings-webhook", webhook.pk)
    return render(request, "settings/webhook_new.html", {"form": form}, status=_status(form))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def webhook_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    webhook = get_object_or_404(Webhook.objects.visible_to(request.user), pk=pk)
    owns = is_owner(request.user, webhook.project_id)
    form = WebhookForm(request.POST or None, instance=webhook, asker=request.user) if owns else None
    if request.method == "POST":
        if form is None:
            raise PermissionDenied
        if form.is_valid():
            try:
                with transaction.atomic():
                    form.save()
            except IntegrityError:
                form.add_error("name", "The project has a webhook of this name already.")
            else:
                messages.success(request, "Saved.")
                return redirect("settings-webhook", webhook.pk)
    page = Paginator(webhook.deliveries.all(), DELIVERIES_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "webhook": webhook,
        "form": form,
        "page": page,
        "watched": any(_is_under_way(delivery) for delivery in page),
        "secret": _shown_once(request, webhook),
    }
    return render_page(
        request, "settings/webhook_detail.html", context, part="log", status=_status(form)
    )


def _is_under_way(delivery: WebhookDelivery) -> bool:
    pending = delivery.state == WebhookDelivery.State.PENDING
    return pending and delivery.due_at < timezone.now() + _SOON


@login_required
@require_POST
def act(request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
    """Test, rotate the secret, redeliver one delivery, delete."""
    webhook = get_object_or_404(Webhook.objects.visible_to(request.user), pk=pk)
    if not is_owner(request.user, webhook.project_id):
        raise PermissionDenied
    if verb == "delete":
        webhook.delete()
        messages.success(request, f"{webhook} is deleted.")
        return redirect("settings-webhooks")
    try:
        if verb == "test":
            webhooks.test(webhook)
        elif verb == "redeliver":
            webhooks.redeliver(_delivery(request, webhook))
        else:
            _show_once(request, webhooks.rotate_secret(webhook, user=request.user))
    except webhooks.TurnedOff as error:
        messages.error(request, str(error))
    return redirect("settings-webhook", webhook.pk)


VERBS = ("test", "rotate", "redeliver", "delete")


def _delivery(request: HttpRequest, webhook: Webhook) -> WebhookDelivery:
    try:
        wanted = UUID(request.POST.get("delivery", ""))
    except ValueError as error:
        raise BadRequest("delivery: this is no id") from error
    return get_object_or_404(webhook.deliveries.select_related("webhook"), pk=wanted)


def _default_of(user: Any) -> Project | None:
    return owned_by(user).order_by("-is_default", "name").first()


def _status(form: Any) -> int:
    return 422 if form is not None and form.errors else 200


def _show_once(request: HttpRequest, webhook: Webhook) -> None:
    """For the next page, which the redirect leads to. Sessions are rows of the database too."""
    request.session[_SECRET] = [str(webhook.pk), secrets.encrypt(webhook.secret)]


def _shown_once(request: HttpRequest, webhook: Webhook) -> str:
    if request.session.get(_SECRET, [""])[0] != str(webhook.pk):
        return ""
    return secrets.decrypt(request.session.pop(_SECRET)[1])
