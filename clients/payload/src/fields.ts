import type { CollectionConfig, Config, Field } from "payload";
import type { Context } from "./options.js";

/** The names of the fields of a collection, also of those that only rows, collapsibles and tabs group. */
export function fieldNames(fields: Field[]): Set<string> {
  const names = new Set<string>();
  for (const field of fields) {
    if ("name" in field && field.name) names.add(field.name);
    else if ("fields" in field) for (const name of fieldNames(field.fields)) names.add(name);
    else if (field.type === "tabs") {
      for (const tab of field.tabs) {
        if ("name" in tab && tab.name) names.add(tab.name);
        else for (const name of fieldNames(tab.fields)) names.add(name);
      }
    }
  }
  return names;
}

const readOnly = { readOnly: true };

export const statuses = ["queued", "processing", "approval", "completed", "failed", "cancelled"] as const;

/** The group of fields with the state of a document's job or run. */
export function statusFields(name: string): Field {
  return {
    name,
    type: "group",
    admin: { position: "sidebar", description: "The job or run at the gateway" },
    fields: [
      { name: "status", type: "select", options: statuses.map((value) => ({ value, label: value[0]!.toUpperCase() + value.slice(1) })), admin: readOnly },
      { name: "jobId", type: "text", index: true, admin: readOnly },
      { name: "runId", type: "text", index: true, admin: readOnly },
      { name: "message", type: "text", admin: readOnly },
      { name: "settledAt", type: "date", admin: readOnly },
      { name: "result", type: "json", admin: readOnly },
    ],
  };
}

/** The fields of the row of a file, besides those of the application. */
function mediaFields(upload: boolean): Field[] {
  const fields: Field[] = [
    { name: "gaffId", type: "text", unique: true, index: true, admin: readOnly },
    { name: "jobId", type: "text", index: true, admin: readOnly },
    { name: "mediaType", type: "text" },
    { name: "projectId", type: "text", index: true },
    { name: "metadata", type: "json" },
  ];
  if (upload) return fields; // Payload has the others itself
  return [{ name: "url", type: "text" }, ...fields, { name: "contentType", type: "text" }, { name: "size", type: "number" }];
}

/** The configuration's collections with the fields of files and of jobs. */
export function extendCollections(context: Context, collections: CollectionConfig[]): CollectionConfig[] {
  const extended = collections.map((collection) => {
    const fields = [...collection.fields];
    const names = fieldNames(fields);
    if (collection.slug === context.media) fields.push(...mediaFields(Boolean(collection.upload)).filter((field) => "name" in field && !names.has(field.name)));
    const group = context.tracked.get(collection.slug);
    if (group !== undefined) {
      if (names.has(group)) throw new Error(`@gaff/payload: the collection ${collection.slug} has a field ${group}: name another one, jobs: {"${collection.slug}": {field: "…"}}`);
      fields.push(statusFields(group));
    }
    return { ...collection, fields };
  });
  for (const slug of context.tracked.keys()) {
    if (!collections.some((collection) => collection.slug === slug)) throw new Error(`@gaff/payload: jobs names the collection ${slug}, which the configuration does not have`);
  }
  if (context.media !== null && !collections.some((collection) => collection.slug === context.media)) {
    extended.push({ slug: context.media, admin: { useAsTitle: "url", defaultColumns: ["url", "mediaType", "projectId", "updatedAt"] }, fields: mediaFields(false) });
  }
  return extended;
}

export const deliveriesSlug = "gaff-deliveries";

/** The ids of processed deliveries. Only the plugin writes and reads them. */
export function deliveriesCollection(): CollectionConfig {
  const nobody = () => false;
  return {
    slug: deliveriesSlug,
    admin: { hidden: true },
    access: { read: nobody, create: nobody, update: nobody, delete: nobody },
    lockDocuments: false,
    fields: [{ name: "deliveryId", type: "text", required: true, unique: true, index: true }],
  };
}

/** Fails early if two parts of the configuration have one name. */
export function checkSlugs(config: Config, slugs: (string | null)[]): void {
  for (const slug of slugs) {
    if (slug !== null && config.collections?.some((collection) => collection.slug === slug)) {
      throw new Error(`@gaff/payload: the configuration has a collection ${slug} of its own: remove it, or name another one for the plugin`);
    }
  }
}
