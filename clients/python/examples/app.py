"""Submits pictures and shows them when gaff has them: http.server and gaff, nothing else.

    GAFF_URL=http://localhost:3000 GAFF_TOKEN=… GAFF_SECRET=whsec_… python3 app.py 8000

gaff destinations add app http://localhost:8000/gaff --events gaff:job.stored prints the secret.
"""

import html
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from gaff import Delivery, Gaff, InvalidWebhook, MemoryStore, Once, Router, verify_webhook

gaff = Gaff()
pictures: list[str] = []
events = Router()


@events.on("gaff:job.stored")
def stored(delivery: Delivery) -> None:
    # A permanent link: pages may show it for years.
    pictures.extend(gaff.media.link(media["id"]) for media in delivery.event["media"])


handle = Once(MemoryStore(), events)  # in earnest a table, in the transaction of the work


class App(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 8 << 20))
        if self.path != "/gaff":
            prompt = parse_qs(body.decode())["prompt"][0]
            gaff.jobs.submit(provider="fal", model="fal-ai/flux/dev", input={"prompt": prompt}, projectId="python-app")
            return self.answer(303, "", {"Location": "/"})
        try:
            handle(verify_webhook(os.environ["GAFF_SECRET"].split(","), dict(self.headers), body))
            self.answer(204, "")
        except InvalidWebhook as error:
            self.answer(error.status, str(error))

    def do_GET(self) -> None:
        images = "".join(f'<img src="{html.escape(url)}">' for url in pictures)
        self.answer(200, f'<form method="post"><input name="prompt"><button>Draw</button></form>{images}')

    def answer(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/html; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
