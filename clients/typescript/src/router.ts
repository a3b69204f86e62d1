import type { Envelope, GaffEvent, GaffEventOf } from "./envelope.js";
import type { ReceivedDelivery, Handler } from "./receive.js";

interface Route {
  pattern: RegExp;
  handler: Handler;
}

/**
 * Calls handlers by the kind of an event, "source:type".
 *
 *     const events = new Router()
 *       .on("fal", "generation.completed", (event) => …)
 *       .on("gaff:job.completed", (event) => …)   // event.job is set
 *       .on("gaff:run.*", (event) => …);          // * is any text
 *     export const POST = receive({ secrets }, events.handle);
 *
 * All handlers that match are called, one after the other, in the order of their registration. Without one, the event is
 * acknowledged.
 */
export class Router {
  readonly #routes: Route[] = [];
  #otherwise: Handler | undefined;

  /** Registers a handler for an internal event of gaff. */
  on<Type extends GaffEvent["type"]>(kind: `gaff:${Type}`, handler: Handler<GaffEventOf<Type>>): this;
  /** Registers a handler for a kind of events, "source:type" with * for any text. */
  on(kind: string, handler: Handler): this;
  /** Registers a handler for a source and a type, with * for any text. */
  on<Source extends string, Type extends string>(source: Source, type: Type, handler: Handler<Envelope<Source, Type>>): this;
  on(kind: string, typeOrHandler: string | Handler<never>, handler?: Handler<never>): this {
    const [name, run] = typeof typeOrHandler === "string" ? [`${kind}:${typeOrHandler}`, handler] : [kind, typeOrHandler];
    if (!name.includes(":")) throw new TypeError(`on("${name}"): write "source:type", such as "fal:generation.completed" or "fal:*"`);
    if (typeof run !== "function") throw new TypeError(`on("${name}"): the handler is missing`);
    const pattern = name.split("*").map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*");
    this.#routes.push({ pattern: new RegExp(`^${pattern}$`, "s"), handler: run as unknown as Handler });
    return this;
  }

  /** Sets the handler for events that no other handler matches. */
  otherwise(handler: Handler): this {
    this.#otherwise = handler;
    return this;
  }

  /** Calls the handlers of an event; pass it to receive or node. */
  readonly handle = async (event: Envelope, delivery: ReceivedDelivery): Promise<void> => {
    const kind = `${event.source}:${event.type}`;
    const matching = this.#routes.filter((route) => route.pattern.test(kind));
    for (const route of matching) await route.handler(event, delivery);
    if (matching.length === 0) await this.#otherwise?.(event, delivery);
  };
}
