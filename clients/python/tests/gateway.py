"""Tests against a running gateway with fal's stand-in: GAFF_URL, GAFF_TOKEN. gaff's own tests start it."""

import asyncio
import json
import os
import threading
import time
import unittest
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gaff import AsyncGaff, Delivery, Gaff, GaffError, InvalidWebhook, Router, verify_webhook

URL, TOKEN = os.environ["GAFF_URL"], os.environ["GAFF_TOKEN"]
MODEL = "fal-ai/flux/dev"
LIMIT = 120.0


class Api(unittest.TestCase):
    def setUp(self) -> None:
        self.gaff = Gaff()

    def test_job_runs_to_its_files(self) -> None:
        opened, changes = threading.Event(), []
        stream = self.gaff.stream(kinds="job,media", on_open=opened.set)

        def follow() -> None:
            changes.extend(change.kind for change in stream)

        reader = threading.Thread(target=follow)
        reader.start()
        self.assertTrue(opened.wait(LIMIT))
        job = self.gaff.jobs.submit(provider="fal", model=MODEL, input={"prompt": "a dog"}, projectId="python", metadata={"scene": 1})
        job = self.gaff.jobs.wait(job["id"], timeout=LIMIT)
        self.assertEqual((job["status"], job["metadata"]), ("completed", {"scene": 1}))
        end = time.monotonic() + LIMIT
        while not (files := [m for m in self.gaff.media.all(jobId=job["id"]) if m["storage"] == "stored"]) and time.monotonic() < end:
            time.sleep(0.2)
        data = self.gaff.media.download(files[0]["id"])
        self.assertEqual(len(data), files[0]["size"])
        link = self.gaff.media.link(files[0]["id"])
        with urllib.request.urlopen(link) as response:
            self.assertEqual(response.read(), data)
        self.gaff.media.unlink(files[0]["id"])
        with self.assertRaises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(link)
        self.assertEqual(raised.exception.code, 404)
        stored = self.gaff.events.list(source="gaff", type="job.stored")["docs"]
        self.assertIn(job["id"], [event["correlationId"] for event in stored])
        stream.close()
        reader.join(LIMIT)
        self.assertFalse(reader.is_alive())
        self.assertLessEqual({"job", "media"}, set(changes))

    def test_an_idempotency_key_returns_the_first_job(self) -> None:
        key = f"python-{time.time_ns()}"
        first, second = (self.gaff.jobs.submit(provider="fal", model=MODEL, input={"prompt": "a"}, idempotencyKey=key) for _ in range(2))
        self.assertEqual(first["id"], second["id"])

    def test_errors_say_what_is_wrong(self) -> None:
        with self.assertRaisesRegex(GaffError, "provider") as raised:
            self.gaff.jobs.submit(provider="nobody", model=MODEL, input={"prompt": "a dog"})
        self.assertEqual(raised.exception.status, 400)
        with self.assertRaises(GaffError) as raised:
            Gaff(token="wrong").jobs.get("job_1")
        self.assertEqual(raised.exception.status, 401)

    def test_asyncio(self) -> None:
        async def play() -> None:
            gaff = AsyncGaff()
            jobs = await asyncio.gather(*(gaff.jobs.submit(provider="fal", model=MODEL, input={"prompt": f"dog {n}"}) for n in range(3)))
            done = await asyncio.gather(*(gaff.jobs.wait(job["id"], timeout=LIMIT) for job in jobs))
            self.assertEqual([job["status"] for job in done], ["completed"] * 3)
            self.assertGreaterEqual(len([job async for job in gaff.jobs.all()]), 3)
            opened = asyncio.Event()
            loop = asyncio.get_running_loop()
            stream = gaff.stream(kinds="job", on_open=lambda: loop.call_soon_threadsafe(opened.set))
            first = asyncio.ensure_future(anext(stream))
            await asyncio.wait_for(opened.wait(), LIMIT)
            await gaff.jobs.submit(provider="fal", model=MODEL, input={"prompt": "a dog"})
            self.assertEqual((await asyncio.wait_for(first, LIMIT)).kind, "job")
            await stream.aclose()

        asyncio.run(play())


class Receiver(unittest.TestCase):
    def test_events_arrive_and_verify(self) -> None:
        received: list[Delivery] = []
        arrived = threading.Event()
        router = Router()

        @router.on("gaff:job.stored")
        def stored(delivery: Delivery) -> None:
            received.append(delivery)
            arrived.set()

        class Receive(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    router(verify_webhook(secrets, dict(self.headers), body))
                    self.send_response(204)
                except InvalidWebhook as error:
                    self.send_response(error.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gaff = Gaff()
        made = gaff.call("create-destination", body={"name": "python", "url": f"http://127.0.0.1:{server.server_address[1]}/", "events": ["gaff:job.*"]})
        secrets = made["secret"]
        try:
            job = gaff.jobs.submit(provider="fal", model=MODEL, input={"prompt": "a cat"})
            while not received or received[-1].event["job"]["id"] != job["id"]:
                self.assertTrue(arrived.wait(LIMIT))
                arrived.clear()
            event = received[-1].event
            self.assertEqual(event["data"]["stored"], len(event["media"]))
            self.assertTrue(event["media"][0]["storedUrl"])
            self.assertTrue(event["media"][0]["storedUrlExpiresAt"])
        finally:
            gaff.call("delete-destination", path={"name": "python"})
            server.shutdown()
            server.server_close()


class FalClient(unittest.TestCase):
    """The requests that fal's Python client is documented to send, replayed: the package itself was not available."""

    def request(self, method: str, url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode())
        for name, value in {"Authorization": f"Key {TOKEN}", "User-Agent": "fal-client/0.7 (python)", "Content-Type": "application/json", **headers}.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def test_submit_status_result(self) -> None:
        for host in (URL + "/api/fal/queue", URL):
            with self.subTest(host):
                status, handle = self.request(
                    "POST", f"{host}/{MODEL}?fal_webhook=http%3A%2F%2F127.0.0.1%3A1%2Fhook", {"prompt": "a dog"}, X_Fal_Queue_Priority="normal"
                )
                self.assertEqual(status, 200)
                for name in ("response_url", "status_url", "cancel_url"):
                    self.assertTrue(handle[name].startswith(host), handle[name])
                end = time.monotonic() + LIMIT
                while (state := self.request("GET", handle["status_url"] + "?logs=true")[1])["status"] != "COMPLETED":
                    # The client raises KeyError without these.
                    self.assertIn("queue_position" if state["status"] == "IN_QUEUE" else "logs", state)
                    self.assertLess(time.monotonic(), end)
                    time.sleep(0.1)
                self.assertIn("logs", state)
                status, result = self.request("GET", handle["response_url"])
                self.assertEqual(status, 200)
                self.assertTrue(result["images"])
                status, answer = self.request("PUT", handle["cancel_url"])
                self.assertEqual((status, answer["status"]), (400, "ALREADY_COMPLETED"))

    def test_unknown_request_and_token(self) -> None:
        status, _ = self.request("GET", f"{URL}/api/fal/queue/fal-ai/flux/requests/none/status?logs=false")
        self.assertEqual(status, 404)
        status, _ = self.request("POST", f"{URL}/api/fal/queue/{MODEL}", {}, Authorization="Key wrong")
        self.assertEqual(status, 401)


if __name__ == "__main__":
    unittest.main()
