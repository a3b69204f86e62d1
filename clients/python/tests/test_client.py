"""Tests of the client against a small server that plays a gateway."""

import json
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gaff import Gaff, GaffError


class Played(ThreadingHTTPServer):
    """Answers with what a test put into it, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.requests.append((self.command, self.path, dict(self.headers), body))
        status, headers, text = server.answers.pop(0)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_: Any) -> None:
        pass


def doc(**members: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(members).encode()


class Client(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Played()
        self.gaff = Gaff(self.server.url + "/", "secret", timeout=5)

    def tearDown(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def test_submit_is_repeated_with_the_same_key(self) -> None:
        self.server.answers = [(503, {}, b"{}"), doc(id="job_1", status="queued")]
        job = self.gaff.jobs.submit(provider="fal", model="fal-ai/flux/dev", input={"prompt": "a dog"}, projectId="p")
        self.assertEqual(job["id"], "job_1")
        first, second = self.server.requests
        self.assertEqual(first[3], second[3])
        self.assertTrue(json.loads(first[3])["idempotencyKey"])
        self.assertEqual(first[2]["Authorization"], "Bearer secret")

    def test_cancel_is_not_repeated(self) -> None:
        self.server.answers = [(503, {}, b'{"title":"Service Unavailable","detail":"the disk is full"}')]
        with self.assertRaisesRegex(GaffError, "503: Service Unavailable: the disk is full") as raised:
            self.gaff.jobs.cancel("job_1")
        self.assertEqual(raised.exception.status, 503)

    def test_an_empty_parameter_is_an_error(self) -> None:
        with self.assertRaisesRegex(ValueError, "projectId is empty"):
            self.gaff.media.list(projectId="")
        with self.assertRaisesRegex(ValueError, "id is empty"):
            self.gaff.jobs.get("")
        self.assertEqual(self.server.requests, [])

    def test_ids_cannot_leave_their_path(self) -> None:
        self.server.answers = [doc(id="x")]
        self.gaff.jobs.get("../keys?x=1#y")
        self.assertEqual(self.server.requests[0][1], "/api/v1/jobs/..%2Fkeys%3Fx%3D1%23y")

    def test_a_redirect_does_not_get_the_token(self) -> None:
        self.server.answers = [(302, {"Location": self.server.url + "/other"}, b"")]
        with self.assertRaises(GaffError):
            self.gaff.jobs.get("job_1")
        self.assertEqual(len(self.server.requests), 1)

    def test_all_follows_the_cursor_of_an_empty_page(self) -> None:
        self.server.answers = [doc(docs=[{"id": "1"}], nextCursor="a"), doc(docs=[], nextCursor="b"), doc(docs=[{"id": "2"}], nextCursor=None)]
        self.assertEqual([m["id"] for m in self.gaff.media.all(projectId="p")], ["1", "2"])
        queries = [parse_qs(urlsplit(path).query) for _, path, _, _ in self.server.requests]
        self.assertEqual([q.get("cursor") for q in queries], [None, ["a"], ["b"]])

    def test_wait_ends_with_the_job(self) -> None:
        self.server.answers = [doc(id="j", status="processing"), doc(id="j", status="failed")]
        self.assertEqual(self.gaff.jobs.wait("j", timeout=30)["status"], "failed")

    def test_wait_ends_with_its_timeout(self) -> None:
        self.server.answers = [doc(id="j", status="processing")]
        with self.assertRaises(TimeoutError):
            self.gaff.jobs.wait("j", timeout=0.1)

    def test_stream_resumes_after_the_last_change(self) -> None:
        events = {"Content-Type": "text/event-stream"}
        self.server.answers = [
            (200, events, b': hello\n\nid: 1\nevent: job\ndata: {"id":"a"}\n\nid: 2\nevent: job\ndata: {"id":"cut'),
            (200, events, b'id: 2\r\nevent: job\r\ndata: {"id":\r\ndata: "b"}\r\n\r\n'),
        ]
        with self.gaff.stream(kinds="job") as stream:
            self.assertEqual([next(stream).data["id"], next(stream).data["id"]], ["a", "b"])
        self.assertEqual(parse_qs(urlsplit(self.server.requests[1][1]).query)["lastEventId"], ["1"])

    def test_stream_gives_up_if_it_is_not_allowed(self) -> None:
        self.server.answers = [(401, {}, b"{}")]
        with self.assertRaises(GaffError):
            next(self.gaff.stream())

    def test_a_url_without_scheme_is_an_error(self) -> None:
        with self.assertRaisesRegex(ValueError, "must begin with http"):
            Gaff("localhost:3000")


if __name__ == "__main__":
    unittest.main()
