"""Sends requests to a gateway."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from .api import OPERATIONS
from .errors import GaffError

_LATER = (429, 502, 503, 504)
_REPEATABLE = ("GET", "PUT", "DELETE")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token along."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Transport:
    """Calls the operations of a gateway. It may be used by several threads."""

    def __init__(self, url: str | None, token: str | None, timeout: float, retries: int) -> None:
        base = url or os.environ.get("GAFF_URL")
        if not base:
            raise ValueError("the gateway's URL is missing: give url, or set GAFF_URL")
        if not base.startswith(("http://", "https://")):
            raise ValueError(f"the gateway's URL is {base!r}: it must begin with http:// or https://")
        self._base, self._timeout, self._retries = base.rstrip("/"), timeout, retries
        secret = token or os.environ.get("GAFF_TOKEN")
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._opener = urllib.request.build_opener(_NoRedirects)

    def call(
        self,
        operation: str,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        repeatable: bool | None = None,
    ) -> Any:
        """Calls an operation by its operationId, and returns the document of the answer."""
        with self.open(operation, path, query, body, repeatable) as response:
            text = response.read()
            if "json" not in response.headers.get("Content-Type", ""):
                return None
            return json.loads(text) if text else None

    def open(
        self,
        operation: str,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        repeatable: bool | None = None,
        accept: str = "application/json",
        timeout: float | None = None,
    ) -> http.client.HTTPResponse:
        """Calls an operation and returns the response, if it is 2xx. The caller closes it."""
        method, pattern = OPERATIONS[operation]
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Accept": accept, **({"Content-Type": "application/json"} if data is not None else {})}
        request = urllib.request.Request(
            self._base + _fill(operation, pattern, path or {}) + _query(query or {}), data=data, headers=headers, method=method
        )
        again = method in _REPEATABLE if repeatable is None else repeatable
        for attempt in range(1 + (self._retries if again else 0)):
            last = attempt == (self._retries if again else 0)
            after: str | None = None
            try:
                return self._opener.open(request, timeout=timeout or self._timeout)  # type: ignore[no-any-return]
            except urllib.error.HTTPError as error:
                with error:
                    if last or error.code not in _LATER:
                        raise error_of(error) from None
                    after = error.headers.get("Retry-After")
            except (urllib.error.URLError, http.client.HTTPException, OSError):
                if last:
                    raise
            time.sleep(wait_of(after, attempt))
        raise AssertionError("the last attempt returns or raises")


def _fill(operation: str, pattern: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        text = values.get(match[1])
        if not text:
            raise ValueError(f"{operation}: {match[1]} is empty")
        return urllib.parse.quote(text, safe="")

    return re.sub(r"\{(\w+)\}", value, pattern)


def _query(values: Mapping[str, Any]) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        # The API rejects a filter without a value; saying it here names the caller's line.
        if value is None or value == "":
            raise ValueError(f"the parameter {name} is empty: give it a value, or leave it out")
        pairs.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
    return "?" + urllib.parse.urlencode(pairs) if pairs else ""


def error_of(response: urllib.error.HTTPError) -> GaffError:
    """Reads the problem document of a response."""
    text = response.read(1 << 20).decode("utf-8", "replace")
    problem: Any = text
    detail = text[:500]
    try:
        problem = json.loads(text)
        parts = [problem.get("title") or problem.get("error"), problem.get("detail") or problem.get("reason")]
        detail = ": ".join(str(part) for part in parts if part)
    except (ValueError, AttributeError):
        pass  # the text itself is the detail
    return GaffError(response.code, f"the gateway answered {response.code}" + (f": {detail}" if detail else ""), problem)


def wait_of(after: str | None, attempt: int) -> float:
    """The time until the next attempt, in seconds: Retry-After, or from half a second on doubling, with jitter."""
    if after and after.isascii() and after.isdigit() and int(after) > 0:
        return float(min(int(after), 60))
    return float(min(0.5 * 2**attempt, 30.0) * (0.75 + random.random() / 2))
