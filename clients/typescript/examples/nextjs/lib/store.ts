// In place of the application's database.
import type { DeliveryStore, EnvelopeMedia } from "@gaff/client";

const processed = new Set<string>();
export const saved: { projectId: string | null; media: EnvelopeMedia[] }[] = [];

/**
 * The ids of processed deliveries. In a real database store them in the transaction of the work, with the id as primary key,
 * so that two attempts at the same moment on two servers do the work once.
 */
export const deliveries: DeliveryStore = {
  has: async (id) => processed.has(id),
  add: async (id) => processed.add(id),
};

export async function saveMedia(projectId: string | null, media: EnvelopeMedia[]): Promise<void> {
  saved.push({ projectId, media });
}
