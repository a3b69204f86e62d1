// Stands for the application's database.
import type { Media } from "gaff-receiver";

const seen = new Set<string>();
export const saved: { projectId: string | null; media: Media[] }[] = [];

export async function seenBefore(deliveryId: string): Promise<boolean> {
  if (seen.has(deliveryId)) return true;
  seen.add(deliveryId);
  return false;
}

export async function saveMedia(projectId: string | null, media: Media[]): Promise<void> {
  saved.push({ projectId, media });
}
