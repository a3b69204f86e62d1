"""Follows the changes of a gateway."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ._http import Transport, wait_of
from .errors import GaffError

# The gateway writes at least every 15 seconds; after three times that, the connection is dead.
SILENCE = 45.0
_MAX_LINE = 32 << 20


@dataclass(frozen=True)
class Change:
    """A change: the resource as it is now.

    The kind is event, job, media, run, or reset: then changes in between are unknown, and all must be loaded again. The id
    is the position to resume after.
    """

    kind: str
    id: str
    data: dict[str, Any]


class Stream:
    """An iterator over changes. It reconnects after an interruption and continues after the last change."""

    def __init__(self, transport: Transport, query: dict[str, Any], on_open: Callable[[], None] | None = None) -> None:
        self._transport, self._query, self._on_open = transport, query, on_open
        self._closed = threading.Event()
        self._response: http.client.HTTPResponse | None = None
        self._changes = self._follow()

    def __iter__(self) -> Iterator[Change]:
        return self._changes

    def __next__(self) -> Change:
        return next(self._changes)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the stream, also from another thread."""
        self._closed.set()
        if (response := self._response) is not None:
            try:
                # close alone would wait for a thread that reads.
                response.fp.raw._sock.shutdown(2)  # type: ignore[attr-defined]
            except (OSError, AttributeError):
                pass

    def _follow(self) -> Iterator[Change]:
        failures = 0
        while not self._closed.is_set():
            try:
                self._response = self._transport.open(
                    "stream-changes", query=self._query, repeatable=False, accept="text/event-stream", timeout=SILENCE
                )
                failures = 0
                with self._response as response:
                    if self._on_open:
                        self._on_open()
                    for change in _messages(response):
                        self._query["lastEventId"] = change.id
                        yield change
                        if self._closed.is_set():
                            return
            except GaffError as error:
                if error.status < 500 and error.status not in (408, 429):
                    raise
            except (OSError, http.client.HTTPException, ValueError):
                pass  # the connection broke: it is made again
            finally:
                self._response = None
            if self._closed.wait(wait_of(None, failures)):
                return
            failures += 1


def _messages(response: http.client.HTTPResponse) -> Iterator[Change]:
    """Reads server-sent events. A message that the end of the stream cuts off is dropped."""
    position = kind = data = ""
    while raw := response.readline(_MAX_LINE + 1):
        if len(raw) > _MAX_LINE:
            raise ValueError("a line of the stream is too long")
        line = raw.decode("utf-8").rstrip("\r\n")
        if not line:
            if kind and data:
                yield Change(kind, position, json.loads(data))
            position = kind = data = ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            position = value
        elif name == "event":
            kind = value
        elif name == "data":
            data += ("\n" if data else "") + value
