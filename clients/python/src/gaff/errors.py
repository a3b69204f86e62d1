"""The errors of this package."""

from __future__ import annotations

from typing import Any


class GaffError(Exception):
    """A response of the gateway other than 2xx."""

    def __init__(self, status: int, message: str, problem: Any = None) -> None:
        super().__init__(message)
        self.status = status
        # The problem document of the response, or its text.
        self.problem = problem


class InvalidWebhook(Exception):
    """A delivery that is not authentic, or that cannot be read; status is the answer to it."""

    def __init__(self, message: str, status: int = 401) -> None:
        super().__init__(message)
        self.status = status
