"""``/settings/notifications``: which events a person wants to hear of, and where."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from activity.models import EVENT_WORDS, Channel, Choice, EventType, PushSubscription
from activity.outgoing import http, vapid
from api.pages import wants_part

MOST_BROWSERS = 20  # of one person; the oldest goes when another one comes


class ChoicesForm(forms.Form):
    """A box for each event and channel, and where e-mail goes."""

    email = forms.EmailField(label="E-mail address", required=False)

    def __init__(self, data: Any, *, user: User) -> None:
        super().__init__(data, initial={"email": user.email})
        self.user = user
        wanted = Choice.objects.wanted(user)
        for event in EventType.values:
            for channel in Channel.values:
                self.fields[f"{event}.{channel}"] = forms.BooleanField(
                    required=False, initial=event in wanted[channel]
                )

    def rows(self) -> list[dict[str, Any]]:
        """For the table: an event, and its boxes."""
        return [
            {"label": label, "cells": [(c, self[f"{event}.{c.value}"]) for c in Channel]}
            for event, label in EVENT_WORDS
        ]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        by_mail = any(cleaned.get(f"{event}.{Channel.EMAIL}") for event in EventType.values)
        if by_mail and not cleaned.get("email") and "email" not in self.errors:
            self.add_error("email", "Where to? Some events are to go by e-mail.")
        return cleaned

    @transaction.atomic
    def save(self) -> None:
        if self.cleaned_data["email"] != self.user.email:
            self.user.email = self.cleaned_data["email"]
            self.user.save(update_fields=["email"])
        Choice.objects.bulk_create(
            [
                Choice(
                    user=self.user,
                    event_type=event,
                    channel=channel,
                    wanted=self.cleaned_data[f"{event}.{channel}"],
                )
                for event in EventType.values
                for channel in Channel.values
            ],
            update_conflicts=True,
            unique_fields=["user", "event_type", "channel"],
            update_fields=["wanted"],
        )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def notifications(request: HttpRequest) -> HttpResponse:
    person = User.objects.get(pk=reader(request))
    form = ChoicesForm(request.POST or None, user=person)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("notification-settings")
    context = {
        "form": form,
        "channels": Channel,
        "subscriptions": person.push_subscriptions.all(),
        "sends_email": settings.TRAINYARD_SENDS_EMAIL,
    }
    status = 422 if form.errors else 200
    return render(request, "settings/notifications.html", context, status=status)


def reader(request: HttpRequest) -> UUID:
    """Who is asking: somebody, `login_required` has seen to that."""
    assert request.user.pk is not None
    return request.user.pk


class SubscriptionForm(forms.Form):
    """What a browser says when it has subscribed."""

    endpoint = forms.CharField(max_length=1000)
    p256dh = forms.CharField(max_length=200)
    auth = forms.CharField(max_length=100)
    browser = forms.CharField(max_length=100, required=False)

    def clean_endpoint(self) -> str:
        endpoint: str = self.cleaned_data["endpoint"]
        try:
            http.check_url(endpoint)
        except http.NotAllowed as error:
            raise forms.ValidationError(str(error)) from error
        return endpoint

    def clean_p256dh(self) -> str:
        key: str = self.cleaned_data["p256dh"]
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _decoded(key))
        except ValueError as error:
            raise forms.ValidationError("This is no public key of P-256.") from error
        return key

    def clean_auth(self) -> str:
        auth: str = self.cleaned_data["auth"]
        try:
            length = len(_decoded(auth))
        except ValueError:
            length = 0
        if length != 16:
            raise forms.ValidationError("These are not 16 bytes in base64url.")
        return auth


def _decoded(text: str) -> bytes:
    """Raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


@never_cache
@login_required
@require_safe
def push_key(request: HttpRequest) -> HttpResponse:
    """The public key that a browser subscribes with."""
    return JsonResponse({"key": vapid.public_key()})


@login_required
@require_POST
def subscribe(request: HttpRequest) -> HttpResponse:
    """This browser takes push messages for whoever is signed in."""
    form = SubscriptionForm(request.POST)
    if not form.is_valid():
        details = {field: " ".join(map(str, errors)) for field, errors in form.errors.items()}
        sentence = " ".join(f"{field}: {text}" for field, text in details.items())
        return JsonResponse({"error": sentence, "details": details}, status=400)
    fields = dict(form.cleaned_data)
    with transaction.atomic():
        PushSubscription.objects.update_or_create(
            endpoint=fields.pop("endpoint"), defaults={**fields, "user_id": reader(request)}
        )
        mine = PushSubscription.objects.filter(user=reader(request)).order_by("-created_at")
        kept = list(mine.values_list("pk", flat=True)[:MOST_BROWSERS])
        mine.exclude(pk__in=kept).delete()
    return HttpResponse(status=204)


@login_required
@require_POST
def unsubscribe(request: HttpRequest, pk: int) -> HttpResponse:
    mine = PushSubscription.objects.filter(user=reader(request))
    get_object_or_404(mine, pk=pk).delete()
    if wants_part(request):
        return HttpResponse(status=204)
    messages.success(request, "This browser gets no more messages.")
    return redirect("notification-settings")
