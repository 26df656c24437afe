"""E-mail, through whatever Django's mail settings say."""

from __future__ import annotations

import logging
from functools import partial
from smtplib import SMTPException

from django.core.mail import EmailMessage, get_connection
from django.utils import timezone

from activity.models import NEWS_FOR, Notice
from activity.outgoing import payloads
from activity.outgoing.parcels import Parcel, wait_after

log = logging.getLogger(__name__)


def parcel(notice: Notice) -> Parcel:
    activity = notice.activity
    letter = EmailMessage(
        subject=" ".join(activity.title.split()),
        body=_TEXT.format(
            message=activity.message or activity.title,
            link=payloads.link_of(activity),
            settings=payloads.address_of("notification-settings"),
        ),
        to=[notice.user.email],
        headers={
            "Message-ID": f"<{activity.pk}.{notice.user_id}@trainyard>",  # the same when repeated
            "Auto-Submitted": "auto-generated",
        },
    )
    return Parcel(send=partial(_send, letter), settle=partial(settle, notice))


_TEXT = """\
{message}

{link}

--
You get this because you asked for it: {settings}
"""


def _send(letter: EmailMessage) -> str:
    """What went wrong, or nothing."""
    try:
        letter.connection = get_connection()
        letter.send()
    except (SMTPException, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def settle(notice: Notice, trouble: str) -> None:
    this, now = Notice.objects.filter(pk=notice.pk), timezone.now()
    wait = wait_after(notice.attempts)
    if not trouble:
        this.delete()
    elif wait is None or now + wait > notice.activity.created_at + NEWS_FOR:
        log.warning("given up: e-mail to %s about %s: %s", notice.user, notice.activity, trouble)
        this.delete()
    else:
        log.info("e-mail to %s has to wait: %s", notice.user, trouble)
        this.update(due_at=now + wait)
