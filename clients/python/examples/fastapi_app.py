"""The receiver in a FastAPI application: uvicorn fastapi_app:app (FastAPI is not a dependency of gaff)."""

import os

from fastapi import FastAPI
from gaff import AsyncGaff, Delivery, Router, WebhookASGI

app = FastAPI()
gaff = AsyncGaff()
events = Router()


@events.on("gaff:job.completed")
async def completed(delivery: Delivery) -> None:
    print(delivery.event["job"]["id"], [media["url"] for media in delivery.event["media"]])


@app.post("/pictures", status_code=202)
async def draw(prompt: str) -> dict[str, str]:
    job = await gaff.jobs.submit(provider="fal", model="fal-ai/flux/dev", input={"prompt": prompt})
    return {"id": job["id"]}


app.mount("/gaff", WebhookASGI(os.environ["GAFF_SECRET"].split(","), events))
