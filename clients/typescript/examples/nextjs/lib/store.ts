// Stands for the application's database.
import type { Media } from "gaff-receiver";

const seen = new Set<string>();
export const saved: { projectId: string | null; media: Media[] }[] = [];

/** Whether a delivery was processed before. */
export async function seenBefore(deliveryId: string): Promise<boolean> {
  return seen.has(deliveryId);
}

/**
 * Marks a delivery as processed: after the work, never before it. In a real database do both in one transaction, with the
 * delivery's id as primary key, so that two attempts at the same moment do the work once.
 */
export async function markSeen(deliveryId: string): Promise<void> {
  seen.add(deliveryId);
}

export async function saveMedia(projectId: string | null, media: Media[]): Promise<void> {
  saved.push({ projectId, media });
}
