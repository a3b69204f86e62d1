import { Gaff, GaffError, type WebhookLog } from "@gaff/client";
import { APIError, type Access, type BaseDatabaseAdapter, type CollectionConfig, type Config, type CountArgs, type FindArgs, type FindOneArgs, type PayloadRequest } from "payload";
import type { Context, WebhookLogOptions } from "./options.js";
import { onlyId, whereParameters } from "./query.js";

const loggedIn: Access = ({ req }) => Boolean(req.user);
const nobody = () => false;

/** The largest page of the gateway. */
const maxPage = 500;

/** The collection of webhook logs. Its documents are the gateway's: see readLogsFromGaff. */
export function webhookLogs(context: Context, slug: string, options: WebhookLogOptions): CollectionConfig {
  const retry = options.retry ?? loggedIn;
  const button = "@gaff/payload/client#RetryButton";
  return {
    slug,
    labels: { singular: "Webhook log", plural: "Webhook logs" },
    admin: {
      useAsTitle: "webhookId",
      defaultColumns: ["webhookId", "source", "type", "status", "processedAt", "retry"],
      disableCopyToLocale: true,
      enableListViewSelectAPI: false,
      hideAPIURL: true,
    },
    access: { read: options.read ?? loggedIn, create: nobody, update: nobody, delete: nobody },
    disableDuplicate: true,
    hooks: {
      beforeOperation: [
        ({ operation }) => {
          if (/^(create|update|delete|restore)/.test(operation)) throw new APIError("Webhook logs are the gateway's: they can be read and retried, not changed.", 405, null, true);
        },
      ],
    },
    lockDocuments: false,
    fields: [
      { name: "id", type: "text", required: true },
      { name: "retry", label: "Retry", type: "ui", admin: { components: { Field: button, Cell: button } } },
      { name: "webhookId", type: "text", required: true },
      { name: "source", type: "text", required: true },
      { name: "type", type: "text", required: true },
      { name: "status", type: "select", required: true, options: ["success", "error", "pending"].map((value) => ({ value, label: value[0]!.toUpperCase() + value.slice(1) })) },
      { name: "error", type: "textarea" },
      { name: "retryCount", type: "number" },
      { name: "unhandled", type: "checkbox" },
      { name: "processedAt", type: "date", admin: { date: { pickerAppearance: "dayAndTime" } } },
      { name: "receivedAt", type: "date", admin: { date: { pickerAppearance: "dayAndTime" } } },
      { name: "data", type: "json" },
    ],
    endpoints: [
      {
        path: "/:id/retry",
        method: "post",
        handler: async (req) => {
          const id = String(req.routeParams?.["id"] ?? "");
          if (!(await allowed(retry, req, id))) return Response.json({ errors: [{ message: "You are not allowed to retry webhooks." }] }, { status: 403 });
          try {
            await context.gaff().call("retry-webhook-log", { body: { webhookLogId: id } });
            return Response.json({ success: true });
          } catch (error) {
            const { status, message } = asAPIError(error);
            return Response.json({ errors: [{ message }] }, { status });
          }
        },
      },
    ],
  };
}

async function allowed(access: Access, req: PayloadRequest, id: string): Promise<boolean> {
  return (await access({ req, id })) === true;
}

/** A failure of the gateway as Payload answers it. */
function asAPIError(error: unknown): APIError {
  if (!(error instanceof GaffError)) return new APIError("The gateway is not reachable.", 502, null, false);
  // 401 and 403 are about the token of this application, not about its user.
  const status = error.status === 401 || error.status === 403 ? 502 : error.status;
  return new APIError(error.message, status, null, status < 500);
}

/**
 * Makes the database adapter read the documents of the collection from the gateway, so that the admin panel, the REST API,
 * GraphQL and the local API show them.
 */
export function readLogsFromGaff(context: Context, slug: string, db: Config["db"]): Config["db"] {
  return {
    ...db,
    init: (args) => {
      const adapter = db.init(args);
      const { find, findOne, count } = adapter as BaseDatabaseAdapter;
      const replace = (parts: Record<string, unknown>) => Object.assign(adapter, parts);
      replace({
        find(this: unknown, query: FindArgs) {
          return query.collection === slug ? findLogs(context.gaff(), query) : find.call(this as BaseDatabaseAdapter, query);
        },
        findOne(this: unknown, query: FindOneArgs) {
          return query.collection === slug ? findLog(context.gaff(), query) : findOne.call(this as BaseDatabaseAdapter, query);
        },
        count(this: unknown, query: CountArgs) {
          return query.collection === slug ? countLogs(context.gaff(), query) : count.call(this as BaseDatabaseAdapter, query);
        },
      });
      return adapter;
    },
  };
}

async function findLogs(gaff: Gaff, { where, sort, limit, page, pagination }: FindArgs) {
  const query: Record<string, string> = whereParameters(where);
  if (sort?.length) query["sort"] = Array.isArray(sort) ? sort.join(",") : sort;
  if (pagination === false && !limit) query["pagination"] = "false";
  else if (limit !== undefined) query["limit"] = String(Math.min(limit, maxPage));
  if (page && page > 1) query["page"] = String(page);
  return ask(() => gaff.call("list-webhook-logs", { query }));
}

async function findLog(gaff: Gaff, { where }: FindOneArgs): Promise<WebhookLog | null> {
  const id = onlyId(where);
  if (id === undefined) {
    const page = await ask(() => gaff.call("list-webhook-logs", { query: { ...whereParameters(where), limit: 1 } }));
    return (page.docs[0] as WebhookLog | undefined) ?? null;
  }
  try {
    return (await gaff.call("get-webhook-log", { path: { id } })) as WebhookLog;
  } catch (error) {
    if (error instanceof GaffError && error.status === 404) return null;
    throw asAPIError(error);
  }
}

async function countLogs(gaff: Gaff, { where }: CountArgs) {
  const { totalDocs } = await ask(() => gaff.call("count-webhook-logs", { query: whereParameters(where) as never }));
  return { totalDocs };
}

async function ask<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw asAPIError(error);
  }
}
