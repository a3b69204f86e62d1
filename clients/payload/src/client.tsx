"use client";

import { Button, toast, useConfig, useDocumentInfo, useField } from "@payloadcms/ui";
import { useState } from "react";

interface Props {
  /** Set in a row of the list. */
  rowData?: { id?: string; status?: string };
  collectionSlug?: string;
}

/** Retries a failed webhook, in a row of the list and on the page of a log. */
export function RetryButton({ rowData, collectionSlug }: Props) {
  return rowData ? <Retry id={rowData.id} status={rowData.status} slug={collectionSlug} /> : <RetryOfPage />;
}

function RetryOfPage() {
  const { id, collectionSlug } = useDocumentInfo();
  const { value } = useField<string>({ path: "status" });
  return <Retry id={id === undefined ? undefined : String(id)} status={value} slug={collectionSlug} />;
}

function Retry({ id, status, slug }: { id: string | undefined; status: string | undefined; slug: string | undefined }) {
  const { config } = useConfig();
  const [busy, setBusy] = useState(false);
  if (status !== "error" || !id || !slug) return null;
  const retry = async () => {
    setBusy(true);
    try {
      const response = await fetch(`${config.serverURL}${config.routes.api}/${slug}/${encodeURIComponent(id)}/retry`, { method: "POST", credentials: "include" });
      const answer = (await response.json()) as { errors?: { message: string }[] };
      if (!response.ok) throw new Error(answer.errors?.[0]?.message ?? `status ${response.status}`);
      toast.success("The webhook was processed.");
      window.location.reload();
    } catch (error) {
      toast.error(`Retry failed: ${error instanceof Error ? error.message : String(error)}`);
      setBusy(false);
    }
  };
  return (
    <Button buttonStyle="secondary" size="small" margin={false} disabled={busy} onClick={() => void retry()}>
      {busy ? "Retrying…" : "Retry"}
    </Button>
  );
}
