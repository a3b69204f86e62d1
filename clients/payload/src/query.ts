import type { Where } from "payload";

type Value = string | number | boolean | null | Date;

/**
 * Removes levels that change nothing: Payload wraps each query in and, or and the conditions of access, and a gateway accepts
 * eight levels.
 */
export function simplify(where: Where | undefined): Where {
  const conditions: Where[] = [];
  for (const [name, part] of Object.entries(where ?? {})) {
    if (part === undefined || part === null) continue;
    const lower = name.toLowerCase();
    if (lower !== "and" && lower !== "or") {
      conditions.push({ [name]: part } as Where);
      continue;
    }
    const parts = (part as Where[]).map(simplify).filter((one) => Object.keys(one).length > 0);
    if (parts.length === 0) continue;
    if (parts.length === 1) conditions.push(parts[0]!);
    else if (lower === "or") conditions.push({ or: parts });
    else conditions.push(...parts);
  }
  const flat = conditions.flatMap((one) => (Object.keys(one).length === 1 && Array.isArray(one.and) ? one.and : [one]));
  if (flat.length === 0) return {};
  return flat.length === 1 ? flat[0]! : { and: flat };
}

/** The parameters of a condition, such as where[or][0][source][in][1]=fal. */
export function whereParameters(where: Where | undefined): Record<string, string> {
  const parameters: Record<string, string> = {};
  const add = (name: string, value: unknown) => {
    if (Array.isArray(value)) value.forEach((one, i) => add(`${name}[${i}]`, one));
    else if (typeof value === "object" && value !== null && !(value instanceof Date)) {
      for (const [key, part] of Object.entries(value)) if (part !== undefined) add(`${name}[${key}]`, part);
    } else parameters[name] = textOf(value as Value);
  };
  add("where", simplify(where));
  return parameters;
}

function textOf(value: Value): string {
  return value instanceof Date ? value.toISOString() : String(value);
}

/** The id of a condition that asks for one document and nothing else. */
export function onlyId(where: Where | undefined): string | undefined {
  const simple = simplify(where);
  const [name, ...more] = Object.keys(simple);
  const condition = simple.id as { equals?: unknown } | undefined;
  if (name !== "id" || more.length > 0 || !condition || Object.keys(condition).join() !== "equals") return undefined;
  return typeof condition.equals === "string" && condition.equals !== "" ? condition.equals : undefined;
}
