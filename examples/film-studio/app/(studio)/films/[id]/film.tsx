"use client";

import { useRun } from "@gaff/client/react";
import { documentAccess } from "@gaff/payload/access";
import { useEffect, useState } from "react";

interface File {
  id: number;
  url: string;
  kind: string;
}

/** The run live from gaff, the files from Payload. */
export function Film({ id, runId }: { id: number; runId: string }) {
  const { run, error, live } = useRun(runId, documentAccess("films", id));
  const [files, setFiles] = useState<File[]>([]);
  const film = files.find((file) => file.kind === "film");

  // gaff has a file before its row is in Payload, so the page asks until the film is there.
  useEffect(() => {
    if (film || run?.status === "failed" || run?.status === "cancelled") return;
    const load = async () => {
      const response = await fetch(`/api/media?where[projectId][equals]=${id}&limit=100&sort=createdAt`);
      if (response.ok) setFiles(((await response.json()) as { docs: File[] }).docs);
    };
    void load();
    const timer = setInterval(() => void load(), 1000);
    return () => clearInterval(timer);
  }, [id, film, run?.status]);

  if (error) return <p role="alert">{error.message}</p>;
  const waits = run?.steps.find((step) => step.name === "review")?.status === "waiting";
  return (
    <>
      <p id="state" data-live={live}>{film ? "The film is ready." : (run?.waiting ?? run?.error ?? run?.status ?? "…")}</p>
      {waits && (
        <form action={`/films/${id}/review`} method="post">
          <button name="approved" value="yes">Approve the pictures</button> <button name="approved" value="no">Reject</button>
        </form>
      )}
      {film && <video id="film" src={film.url} controls />}
      <div className="files">
        {files.filter((file) => file !== film).map((file) => (file.kind === "image" ? <img key={file.id} src={file.url} alt="" /> : <video key={file.id} src={file.url} muted controls />))}
      </div>
    </>
  );
}
