"""Receives the events that a gaff gateway forwards, and calls its API.

It needs the standard library only. The documents of the API are typed dictionaries of the module gaff.api.
"""

from .aio import AsyncGaff
from .client import Gaff
from .errors import GaffError, InvalidWebhook
from .stream import Change
from .webhooks import Delivery, MemoryStore, Once, Router, WebhookApp, WebhookASGI, sign, verify, verify_webhook

__all__ = [
    "AsyncGaff",
    "Change",
    "Delivery",
    "Gaff",
    "GaffError",
    "InvalidWebhook",
    "MemoryStore",
    "Once",
    "Router",
    "WebhookASGI",
    "WebhookApp",
    "sign",
    "verify",
    "verify_webhook",
]
