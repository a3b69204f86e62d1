import type { ReceivedDelivery, Handler } from "./receive.js";
import type { Envelope } from "./envelope.js";

/** Where the ids of processed deliveries are stored. */
export interface DeliveryStore {
  has(id: string): boolean | Promise<boolean>;
  add(id: string): unknown;
}

/**
 * Makes a handler process each delivery once. The id is stored after the work: if the work fails, gaff delivers the event
 * again and it is processed again. Two attempts at the same time in this process do the work once. If the process stops
 * between the work and the store, the work is repeated; to exclude that too, store the id in the transaction of the work.
 */
export function once(store: DeliveryStore, handler: Handler): (event: Envelope, delivery: ReceivedDelivery) => Promise<void> {
  const running = new Map<string, Promise<void>>();
  return (event, delivery) => {
    const same = running.get(delivery.id);
    if (same) return same;
    const work = (async () => {
      if (await store.has(delivery.id)) return;
      await handler(event, delivery);
      await store.add(delivery.id);
    })().finally(() => running.delete(delivery.id));
    running.set(delivery.id, work);
    return work;
  };
}

/** A store in memory, for tests and for one process: it has the newest ids, and forgets them at a restart. */
export function memoryStore(most = 10_000): DeliveryStore {
  const ids = new Set<string>();
  return {
    has: (id) => ids.has(id),
    add: (id) => {
      ids.add(id);
      if (ids.size > most) ids.delete(ids.values().next().value!);
    },
  };
}
