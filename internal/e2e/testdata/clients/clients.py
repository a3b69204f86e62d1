"""Runs the operations of the Python client against a gateway, and prints one JSON line for each."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any

from gaff import AsyncGaff, Gaff, InvalidWebhook, sign, verify_webhook

gaff = Gaff()
job = {"provider": "fal", "model": "fal-ai/flux/dev", "input": {"prompt": "a dog", "standin": {"seconds": 0.2}}}


def measure(operation: str, run: Callable[[], Any]) -> None:
    error = None
    try:
        if not run():
            error = "no result"
    except Exception as e:
        error = f"{type(e).__name__}: {e}"[:300]
    print(json.dumps({"client": "gaff-client (Python)", "operation": operation, "error": error}), flush=True)


def stream() -> bool:
    submitted: list[str] = []
    for change in gaff.stream(kinds="job", on_open=lambda: submitted.append(gaff.jobs.submit(**job)["id"])):
        if change.data["id"] in submitted and change.data["status"] == "completed":
            return True
    return False


def rejects() -> bool:
    secret = os.environ["GAFF_SECRET"]
    headers = sign(secret, "dlv_1", b"{}", int(time.time()))
    try:
        verify_webhook(secret, headers, b"{} ")
    except InvalidWebhook:
        return True
    return False


measure("jobs.submit, wait", lambda: gaff.jobs.wait(gaff.jobs.submit(**job)["id"])["status"] == "completed")
measure("jobs.cancel", lambda: gaff.jobs.cancel(gaff.jobs.submit(**{**job, "input": {"prompt": "a", "standin": {"seconds": 60}}})["id"]))
measure("media.list", lambda: gaff.media.list()["docs"])
measure("events.list", lambda: gaff.events.list()["docs"])
measure("stream", stream)
measure("asyncio", lambda: asyncio.run(AsyncGaff().jobs.list())["docs"])
measure("reject a changed body", rejects)
