"""FastAPI: POST /pictures submits a job, POST /gaff receives its end. Install fastapi, uvicorn and gaff-client."""

import json
import os
import socket

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from gaff import Delivery, MemoryStore, Once, Router, WebhookASGI
from gaff.aio import AsyncGaff

gaff = AsyncGaff()  # GAFF_URL, GAFF_TOKEN
app = FastAPI()
events = Router()


@events.on("gaff:job.*")
async def ended(delivery: Delivery) -> None:
    job, files = delivery.event["job"], delivery.event["media"]
    print(json.dumps({"job": job["id"], "status": job["status"], "files": len(files)}), flush=True)


# In place of MemoryStore use a table of your database. The route gets the body's bytes, which are verified.
app.add_route("/gaff", WebhookASGI(os.environ["GAFF_SECRET"].split(","), Once(MemoryStore(), events)), methods=["POST"])


class Picture(BaseModel):
    prompt: str


@app.post("/pictures", status_code=202)
async def draw(picture: Picture) -> dict[str, str]:
    job = await gaff.jobs.submit(provider="fal", model="fal-ai/flux/dev", input={"prompt": picture.prompt}, projectId="pictures")
    return {"id": job["id"], "status": job["status"]}


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "3001"))))
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listener])
