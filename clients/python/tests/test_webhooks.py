"""Tests of the receiver; without a gateway."""

import asyncio
import io
import json
import time
import unittest

from gaff import Delivery, InvalidWebhook, MemoryStore, Once, Router, WebhookApp, WebhookASGI, sign, verify, verify_webhook

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoaXMgdGVzdCwgbG9uZyBlbm91Z2g="
OTHER = "whsec_" + "YW5vdGhlciBzZWNyZXQgb2YgdGhpcyB0ZXN0LCBsb25n"


def envelope(kind: str = "gaff:job.completed") -> bytes:
    source, _, event_type = kind.partition(":")
    return json.dumps({"id": "evt_1", "source": source, "type": event_type, "data": {}, "job": None, "media": []}).encode()


class Verification(unittest.TestCase):
    # The example of standardwebhooks.com.
    def test_standard_example_verifies(self) -> None:
        body = b'{"test": 2432232314}'
        headers = {
            "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "Webhook-Timestamp": "1614265330",
            "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }
        self.assertEqual(verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", headers, body, now=1614265331), "msg_p5jXN8AQM9LWM0D4loKWxJek")

    def test_rotation_takes_each_secret(self) -> None:
        body = envelope()
        self.assertEqual(verify([OTHER, SECRET], sign(SECRET, "del_1", body), body), "del_1")

    def test_refuses(self) -> None:
        body = envelope()
        headers = sign(SECRET, "del_1", body)
        changes = {
            "no id": {"webhook-id": ""},
            "another id": {"webhook-id": "del_2"},
            "text for time": {"webhook-timestamp": "now"},
            "signs in the time": {"webhook-timestamp": "+" + headers["webhook-timestamp"]},
            "digits of another script": {"webhook-timestamp": "١٢٣"},
            "no signature": {"webhook-signature": ""},
            "not ASCII": {"webhook-signature": "v1,é"},
        }
        for name, change in changes.items():
            with self.subTest(name), self.assertRaises(InvalidWebhook):
                verify(SECRET, {**headers, **change}, body)
        with self.assertRaises(InvalidWebhook):
            verify(SECRET, headers, body + b" ")
        with self.assertRaises(InvalidWebhook):
            verify(OTHER, headers, body)
        for age in (301, -301):
            with self.subTest(age), self.assertRaises(InvalidWebhook):
                verify(SECRET, sign(SECRET, "del_1", body, int(time.time()) - age), body)

    def test_a_short_secret_is_the_programs_mistake(self) -> None:
        with self.assertRaises(ValueError):
            verify("whsec_YQ==", sign(SECRET, "del_1", b"{}"), b"{}")
        with self.assertRaises(ValueError):
            verify([], sign(SECRET, "del_1", b"{}"), b"{}")

    def test_a_body_that_is_no_envelope_is_400(self) -> None:
        for body in (b"", b"[]", b"null", b'{"source":"a"}', b"[" * 100_000):
            with self.subTest(body[:9]), self.assertRaises(InvalidWebhook) as raised:
                verify_webhook(SECRET, sign(SECRET, "del_1", body), body)
            self.assertEqual(raised.exception.status, 400)


def delivery(kind: str = "gaff:job.completed", delivery_id: str = "del_1") -> Delivery:
    return Delivery(delivery_id, json.loads(envelope(kind)))


class Routing(unittest.TestCase):
    def test_router_calls_by_kind(self) -> None:
        calls: list[str] = []
        router = Router()
        router.on("gaff:job.completed", "gaff:job.failed")(lambda d: calls.append("settled"))
        router.on("gaff:*")(lambda d: calls.append("gaff"))
        router.on("gaff:job.[c]*")(lambda d: calls.append("a pattern of fnmatch"))
        router(delivery())
        router(delivery("fal:generation.completed"))
        self.assertEqual(calls, ["settled", "gaff"])

    def test_once_forgets_a_delivery_whose_work_failed(self) -> None:
        calls: list[str] = []

        def work(d: Delivery) -> None:
            calls.append(d.id)
            if len(calls) == 1:
                raise OSError("the database is away")

        once = Once(MemoryStore(), work)
        with self.assertRaises(OSError):
            once(delivery())
        once(delivery())
        once(delivery())
        self.assertEqual(calls, ["del_1", "del_1"])

    def test_coroutine_functions_are_awaited(self) -> None:
        calls: list[str] = []
        router = Router()

        @router.on("*")
        async def work(d: Delivery) -> None:
            await asyncio.sleep(0)
            calls.append(d.id)

        Once(MemoryStore(), router)(delivery())
        self.assertEqual(calls, ["del_1"])


class Applications(unittest.TestCase):
    def setUp(self) -> None:
        self.calls: list[str] = []

    def handle(self, d: Delivery) -> None:
        self.calls.append(d.id)
        if d.event["type"] == "wrong":
            raise RuntimeError("no")

    def post(self, body: bytes, headers: dict[str, str]) -> list[int]:
        """The statuses of the WSGI and the ASGI application."""
        environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
        environ |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
        statuses: list[int] = []
        WebhookApp(SECRET, self.handle, 1000)(environ, lambda status, _: statuses.append(int(status[:3])))

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body}

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(int(str(message["status"])))

        scope = {"type": "http", "method": "POST", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
        asyncio.run(WebhookASGI(SECRET, self.handle, 1000)(scope, receive, send))
        return statuses

    def test_answers(self) -> None:
        good, bad = envelope(), envelope("gaff:wrong")
        self.assertEqual(self.post(good, sign(SECRET, "del_1", good)), [204, 204])
        self.assertEqual(self.calls, ["del_1", "del_1"])
        self.assertEqual(self.post(good, sign(OTHER, "del_1", good)), [401, 401])
        self.assertEqual(self.post(b"{}", sign(SECRET, "del_1", b"{}")), [400, 400])
        self.assertEqual(self.post(bad, sign(SECRET, "del_1", bad)), [500, 500])
        self.assertEqual(self.post(b" " * 1001, {}), [413, 413])


if __name__ == "__main__":
    unittest.main()
