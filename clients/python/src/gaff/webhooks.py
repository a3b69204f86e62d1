"""Receives the events that a gateway forwards: verification, routing, WSGI and ASGI applications."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import inspect
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .api import Envelope
from .errors import InvalidWebhook

# The longest difference between a delivery's timestamp and this machine's clock, in seconds.
TOLERANCE = 300
# The size of the largest body that the applications read, in bytes.
MAX_BODY_BYTES = 8 << 20


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if len(key) < 16:
        raise ValueError('the secret is invalid: write "whsec_" and at least 16 bytes in base64')
    return key


def _signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    mac = hmac.new(_key(secret), f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def sign(secret: str, webhook_id: str, body: bytes, timestamp: int | None = None) -> dict[str, str]:
    """Returns the headers that gaff would send, to test a receiver."""
    at = int(time.time()) if timestamp is None else timestamp
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at),
        "webhook-signature": _signature(secret, webhook_id, at, body),
    }


def _secrets(secrets: str | Iterable[str]) -> list[str]:
    found = [secrets] if isinstance(secrets, str) else list(secrets)
    if not found:
        raise ValueError("no secret is given")
    return found


def verify(secrets: str | Iterable[str], headers: Mapping[str, str], body: bytes, now: float | None = None) -> str:
    """Checks that one of the secrets (whsec_…) signed a body, and returns the delivery's id.

    During a rotation pass several secrets. Raises InvalidWebhook.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    webhook_id, at = lower.get("webhook-id", ""), lower.get("webhook-timestamp", "")
    signatures = lower.get("webhook-signature", "")
    if not webhook_id or not at or not signatures:
        raise InvalidWebhook("webhook-id, webhook-timestamp or webhook-signature is missing")
    if not (at.isascii() and at.isdigit() and len(at) < 16):
        raise InvalidWebhook(f"webhook-timestamp {at[:40]!r} is not a Unix time in seconds")
    age = (time.time() if now is None else now) - int(at)
    if abs(age) > TOLERANCE:
        raise InvalidWebhook(f"signed {age:.0f} s ago; at most {TOLERANCE} s are allowed")
    valid = False
    for secret in _secrets(secrets):
        want = _signature(secret, webhook_id, int(at), body).encode()
        for sent in signatures.split(" "):
            valid = hmac.compare_digest(sent.encode(), want) or valid
    if not valid:
        raise InvalidWebhook("no signature matches: the secret differs, or the body was changed")
    return webhook_id


@dataclass(frozen=True)
class Delivery:
    """A verified event. Its id is the same each time gaff sends it."""

    id: str
    event: Envelope

    @property
    def kind(self) -> str:
        """Source and type, such as "gaff:job.completed"."""
        return f"{self.event['source']}:{self.event['type']}"


def verify_webhook(secrets: str | Iterable[str], headers: Mapping[str, str], body: bytes) -> Delivery:
    """Verifies a request and reads its event. Raises InvalidWebhook."""
    delivery_id = verify(secrets, headers, body)
    try:
        event = json.loads(body)
        _ = event["source"], event["type"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidWebhook(f"the body is not an envelope: {error}", 400) from error
    return Delivery(delivery_id, event)


# A function of a delivery; it may be a coroutine function. If it raises, gaff delivers the event again.
Handler = Callable[[Delivery], Any]


def run(handler: Handler, delivery: Delivery) -> None:
    """Calls a handler outside an event loop."""
    result = handler(delivery)
    if inspect.isawaitable(result):
        asyncio.run(_wait(result))


async def run_async(handler: Handler, delivery: Delivery) -> None:
    """Calls a handler in an event loop; a function that is no coroutine function runs in a thread."""
    if isinstance(handler, (Router, Once)):
        await handler.handle_async(delivery)
    elif inspect.iscoroutinefunction(handler):
        await handler(delivery)
    else:
        result = await asyncio.to_thread(handler, delivery)
        if inspect.isawaitable(result):
            await result


async def _wait(result: Awaitable[Any]) -> None:
    await result


class Router:
    """Calls handlers by the kind of an event, in the order of their registration. It is a handler itself."""

    def __init__(self) -> None:
        self._handlers: list[tuple[re.Pattern[str], Handler]] = []

    def on(self, *kinds: str) -> Callable[[Handler], Handler]:
        """Registers a function for kinds such as "gaff:job.completed"; "*" matches any text."""
        pattern = re.compile("|".join(re.escape(kind).replace(r"\*", ".*") for kind in kinds), re.DOTALL)

        def register(handler: Handler) -> Handler:
            self._handlers.append((pattern, handler))
            return handler

        return register

    def _matching(self, delivery: Delivery) -> list[Handler]:
        return [handler for pattern, handler in self._handlers if pattern.fullmatch(delivery.kind)]

    def __call__(self, delivery: Delivery) -> None:
        for handler in self._matching(delivery):
            run(handler, delivery)

    async def handle_async(self, delivery: Delivery) -> None:
        for handler in self._matching(delivery):
            await run_async(handler, delivery)


class Store(Protocol):
    """Remembers the deliveries that were processed."""

    def has(self, delivery_id: str) -> bool: ...

    def add(self, delivery_id: str) -> None: ...


class MemoryStore:
    """A Store for tests: it forgets all at the end of the process."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def has(self, delivery_id: str) -> bool:
        return delivery_id in self._ids

    def add(self, delivery_id: str) -> None:
        self._ids.add(delivery_id)


class Once:
    """Processes each delivery once: the id is stored after the work.

    If the process ends between the two, the work is repeated; to exclude that too, store the id in the transaction
    of the work.
    """

    def __init__(self, store: Store, handler: Handler) -> None:
        self._store, self._handler = store, handler

    def __call__(self, delivery: Delivery) -> None:
        if not self._store.has(delivery.id):
            run(self._handler, delivery)
            self._store.add(delivery.id)

    async def handle_async(self, delivery: Delivery) -> None:
        if not self._store.has(delivery.id):
            await run_async(self._handler, delivery)
            self._store.add(delivery.id)


class WebhookApp:
    """A WSGI application that verifies deliveries and calls a handler, such as for Flask and Django.

    It answers 401 if a delivery is not authentic, 413 if its body is too large, 204 if the handler returns, and 500 if
    it raises, so that gaff delivers the event again.
    """

    def __init__(self, secrets: str | Iterable[str], handler: Handler, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._secrets, self._handler, self._max = _secrets(secrets), handler, max_body_bytes

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        status, text = self._receive(environ)
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))])
        return [text]

    def _receive(self, environ: dict[str, Any]) -> tuple[str, bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            return "405 Method Not Allowed", b"POST only"
        length = environ.get("CONTENT_LENGTH") or "0"
        if not length.isdigit() or int(length) > self._max:
            return "413 Content Too Large", b"the body is too large"
        headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
        body = environ["wsgi.input"].read(int(length))
        try:
            delivery = verify_webhook(self._secrets, headers, body)
        except InvalidWebhook as error:
            return ("400 Bad Request" if error.status == 400 else "401 Unauthorized"), str(error).encode()
        try:
            run(self._handler, delivery)
        except Exception as error:  # gaff delivers again
            return "500 Internal Server Error", f"{type(error).__name__}: {error}".encode()
        return "204 No Content", b""


class WebhookASGI:
    """The same as WebhookApp for ASGI, such as for FastAPI and Starlette: app.add_route("/gaff", WebhookASGI(…), methods=["POST"])."""

    def __init__(self, secrets: str | Iterable[str], handler: Handler, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._secrets, self._handler, self._max = _secrets(secrets), handler, max_body_bytes

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            return
        status, text = await self._receive(scope, receive)
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    async def _receive(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]]) -> tuple[int, bytes]:
        if scope["method"] != "POST":
            return 405, b"POST only"
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return 400, b"the body broke off"
            body += message.get("body", b"")
            if len(body) > self._max:
                return 413, b"the body is too large"
            if not message.get("more_body"):
                break
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            delivery = verify_webhook(self._secrets, headers, body)
        except InvalidWebhook as error:
            return error.status, str(error).encode()
        try:
            await run_async(self._handler, delivery)
        except Exception as error:  # gaff delivers again
            return 500, f"{type(error).__name__}: {error}".encode()
        return 204, b""
