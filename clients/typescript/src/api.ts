// Generated from internal/api/openapi.yaml by go test ./internal/api -update. Do not edit.

/** The JSON documents of gaff's HTTP API. */

export interface Acknowledgement {
  cursor: string;
}

export interface Alert {
  active: boolean;
  /** What it is about: a destination, a source, an issue, a node. */
  cause: string;
  count: number;
  /** What else is known, as in the event. */
  data: unknown;
  /** Null while it is active. */
  endedAt: string | null;
  /** The type of its event, such as disk.low. */
  kind: string;
  /** When its last event was emitted. */
  notifiedAt: string | null;
  /** When it was last observed. */
  seenAt: string | null;
  since: string | null;
  title: string;
}

export interface AlertChannel {
  /** What it is, without secrets. */
  about: string;
  name: string;
}

export interface AlertChannelList {
  docs: AlertChannel[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface AlertList {
  docs: Alert[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface AlertTest {
  /** Only by this channel; all by default. */
  channel?: string;
}

export interface AlertTested {
  channel: string;
  error: string | null;
  ok: boolean;
}

export interface AlertTests {
  /** All channels took the message. */
  ok: boolean;
  results: AlertTested[];
}

export interface Amount {
  /** A decimal number. */
  amount: string;
  currency: string;
}

export interface Archive {
  /** When the last file was written. */
  at: string | null;
  /** The last event that was archived, or left out because it is not selected. */
  cursor: string | null;
  events: number;
  files: number;
  lastFile: string | null;
}

export interface Attempt {
  /** How it differs from the attempt before, empty if it does not; null for the first one. Times, signatures and other values that always differ are left out. */
  changes: Change[] | null;
  /** More about it, such as the stack of a panic, or the response of a destination. */
  detail: string | null;
  durationMs: number;
  error: string | null;
  /** From 1. */
  number: number;
  outcome: "succeeded" | "failed" | "discarded" | "panicked" | "timed_out" | "snoozed" | "lost" | "superseded";
  startedAt: string | null;
}

export interface AuditEntry {
  /** The operationId in this document; also login and logout. */
  action: string;
  /** The name of the key or of the admin token, or the user at the identity provider. */
  actor: string;
  address: string;
  /** The name that the person typed at the login; it is not verified. */
  as: string | null;
  at: string | null;
  detail: unknown;
  id: string;
  /** The key, also of a session that was opened with it; null for the admin token. */
  keyId: string | null;
  /** None for a user of the identity provider who has no role. */
  role: "none" | "viewer" | "operator" | "admin";
  /** The status of the answer; 2xx if it was done. */
  status: number;
  /** The id or name that it was done to. */
  target: string | null;
  /** How many equal changes the line counts: more than 1 if a credential repeated itself too often to write each. */
  times: number;
  via: "token" | "key" | "session" | "browser token";
  /** The key or session. */
  viaId: string | null;
}

export interface AuditEntryList {
  docs: AuditEntry[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface Backlog {
  dead: number;
  /** Those of them that wait for an earlier one of their key. */
  held: number;
  nextDue: string | null;
  waiting: number;
}

export interface Batch {
  format?: string;
  size: number;
  wait?: string;
}

export interface BrowserToken {
  /** It also ends with the credential that created it. */
  expiresAt: string | null;
  /** Send it as Authorization: Bearer …. It is not stored. */
  token: string;
}

export interface Budget {
  action: "refuse" | "hold";
  caller: string | null;
  createdAt: string | null;
  currency: string;
  /** By how much spent exceeds the limit, because providers charged more than was estimated, or held jobs were approved; null if it does not. */
  excess: string | null;
  limit: string;
  model: string | null;
  name: string;
  period: string;
  projectId: string | null;
  provider: string | null;
  /** When the current period began. */
  since: string | null;
  /** What the period costs so far, with reservations. */
  spent: string;
  updatedAt: string | null;
  userId: string | null;
  warn: string | null;
}

export interface BudgetBody {
  /** For a submit that has no room: refuse it with 402 (if the member is missing), or hold the job until it is approved. */
  action?: "refuse" | "hold";
  /** The key that submits, as caller in costs. */
  caller?: string;
  /** USD if it is missing. */
  currency?: string;
  /** What the period may cost. A submit that would exceed it is answered 402. */
  limit: string;
  model?: string;
  /** In UTC. */
  period: "day" | "month";
  projectId?: string;
  provider?: string;
  userId?: string;
  /** The amount from which gaff:budget.warning is emitted, once a period. */
  warn?: string;
}

export interface Budgets {
  docs: Budget[];
}

export interface Bulk {
  action: string;
  by: string;
  done: number;
  endedAt: string | null;
  failed: number;
  filter: BulkRequest;
  /** Dry runs have no id. */
  id?: string;
  lastError: string | null;
  /** How many events match. */
  matches: number;
  /** More match than one bulk action takes: run it again afterwards. */
  more: boolean;
  /** There was nothing left to do for them. */
  skipped: number;
  startedAt: string | null;
  state: "counted" | "running" | "done" | "stopped";
  /** The same as matches. */
  total: number;
}

export interface BulkRequest {
  /** retry: the failed deliveries of events in error; replay: all handlers again; rescue: the rejected requests of the source that are stored whole. */
  action: "retry" | "replay" | "rescue";
  /** Only count. */
  dryRun?: boolean;
  /** The dead deliveries (retry) or the rejected requests (rescue) of this issue, in place of other filters. */
  issue?: string;
  q?: string;
  /** As of GET /api/v1/events. */
  since?: string;
  source?: string;
  status?: "pending" | "success" | "error";
  type?: string;
  until?: string;
}

export interface CallbackSecrets {
  /** whsec_…; each of them signs (Standard Webhooks). */
  secrets: string[];
}

export interface Candidate {
  /** A CEL expression that builds the model's input from the variable input; without it the model gets the job's input. */
  input?: string;
  model: string;
  provider: string;
  /** A CEL expression that builds the job's result from the variable result. */
  result?: string;
}

export interface Change {
  /** outcome, error, duration (if it doubled or halved), detail, or a member of the detail such as response.status. */
  field: string;
  from: string | null;
  to: string | null;
}

export interface Charge {
  /** A decimal number. */
  amount: string;
  /** An ISO code, or the provider's unit if no price of it is known. */
  currency: string;
  /** reserved: the estimate of a job that has not ended; estimated: from a price table; billed: the provider's own figure, times the price of its unit. */
  state: "reserved" | "estimated" | "billed";
}

export interface CompactInputBody {
  /** Also compact a large database. Webhooks are answered 503 meanwhile, and their senders retry. */
  full?: boolean;
}

export interface Compacted {
  after: number;
  /** The size of the database in bytes, with its write-ahead log. */
  before: number;
  /** For people; null if there is nothing to say. */
  note: string | null;
}

export interface Configuration {
  /** In the members of save-budget, by name. */
  budgets?: Record<string, Record<string, unknown>>;
  /** In the members of create-destination, by name. */
  destinations?: Record<string, Record<string, unknown>>;
  /** In the members of create-source, by name. Left out: not compared. */
  sources?: Record<string, Record<string, unknown>>;
  /** 1. */
  version: number;
  /** In the members of create-workflow, by name. */
  workflows?: Record<string, Record<string, unknown>>;
}

export interface ConfigurationChange {
  action: "create" | "update" | "delete";
  fields?: ConfigurationField[] | null;
  kind: "source" | "destination" | "budget" | "workflow";
  name: string;
}

export interface ConfigurationField {
  from: unknown;
  name: string;
  to: unknown;
}

export interface ConfigurationRequest {
  configuration: Configuration;
  /** Only compare. */
  dryRun?: boolean;
  /** Delete objects that the document does not have, of the kinds that it has. */
  prune?: boolean;
  /** The values of references, by name. A reference without a value keeps the stored secret. */
  secrets?: Record<string, string>;
}

export interface ConfigurationResult {
  /** False for a dry run. */
  applied: boolean;
  changes: ConfigurationChange[];
}

export interface Copy {
  /** Null if the body is not UTF-8; bodyBase64 has it then. */
  body: string | null;
  bodyBase64: string | null;
  headers: Record<string, string[] | null>;
  receivedAt: string | null;
}

export interface CostSum {
  /** For jobs that have ended. */
  charged: string;
  /** Amounts of different currencies are never added. */
  currency: string;
  /** With daily: the day, in UTC. */
  day?: string;
  /** The part of charged that comes from price tables. */
  estimated: string;
  /** Jobs with a charge. */
  jobs: number;
  /** The project, user, model and so on; empty for jobs without one. */
  key: string;
  /** Estimates for jobs that have not ended. */
  reserved: string;
  /** Those jobs. Jobs counts them, too, with a charge of 0. */
  reused: number;
  /** What jobs avoided that have the result of an earlier one. */
  saved: string;
}

export interface Costs {
  /** The largest first, at most 1,000; with daily, these by day. */
  docs: CostSum[];
  /** There are more sums than these, so these do not add up to the whole. GET /api/v1/costs.csv has all; a shorter period has fewer. */
  more: boolean;
}

export interface CreatedKey {
  createdAt: string | null;
  createdBy: string;
  /** The key that created it; null for the admin token. */
  createdById: string | null;
  /** Null for a key that does not expire. */
  expiresAt: string | null;
  /** The last characters of the secret. */
  hint: string;
  id: string;
  /** The secret. It is shown here once and not stored. */
  key: string;
  /** To the minute; null if it was never used. */
  lastUsedAt: string | null;
  lastUsedFrom: string | null;
  name: string;
  /** How many requests a second it may make; 0 for no limit. */
  rate: number;
  revokedAt: string | null;
  role: "viewer" | "operator" | "admin";
  /** What the key is limited to; null for everything that its role allows. */
  scope: Scope | null;
  state: "active" | "expired" | "revoked";
}

export interface Decision {
  approved: boolean;
  comment?: string;
  /** The item of a step with for_each. */
  item?: number;
  /** May be left out if one step waits for a decision. */
  step?: string;
}

export interface Delivery {
  /** How many attempts have ended. */
  attempts: number;
  createdAt: string | null;
  error: string | null;
  eventId: string;
  finishedAt: string | null;
  handler: string;
  /** An earlier delivery of its key is not done. */
  held: boolean;
  id: string;
  /** Deliveries of one key are processed in order. */
  key: string | null;
  maxAttempts: number;
  /** When the next attempt is due; null while it is held. */
  runAt: string | null;
  source: string;
  state: "pending" | "running" | "retrying" | "succeeded" | "dead" | "canceled";
  /** The attempts that have ended; lists leave them out. */
  tries?: Attempt[];
  type: string;
  updatedAt: string | null;
  webhookId: string;
}

export interface DeliveryList {
  docs: Delivery[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface Destination {
  /** How far an archive is; null for other kinds. */
  archive: Archive | null;
  backlog: Backlog;
  /** Events that are sent in one request, or written to one file; null for one event a request. */
  batch: DestinationBatch | null;
  breakAfter: number;
  breakFor: string;
  /** The share of failed attempts that opens the circuit; 0 for none. */
  breakRate: number;
  /** The time of the attempts that count for breakRate. */
  breakWindow: string;
  burst: number;
  concurrency: number;
  /** How long after its receipt an event is sent first. */
  delay: string;
  events: string[];
  filter: string | null;
  /** The response statuses that make a delivery dead at once. */
  final: number[] | null;
  firstWait: string;
  format: "envelope" | "original" | "cloudevents" | "cloudevents-binary" | "spec";
  /** Secrets are masked. */
  headers: Record<string, string>;
  health: DestinationHealth;
  /** The JSON pointer or CEL expression of the key, such as a tenant. */
  key: string | null;
  /** Events of one key that are sent at once; 0 without a key. */
  keyConcurrency: number;
  /** Requests per second of one key; 0 for no limit. */
  keyRate: number;
  kind: "http" | "pull" | "queue" | "archive";
  lease: string;
  longestWait: string;
  maxAttempts: number;
  name: string;
  /** OAuth2 client credentials; null without. */
  oauth: DestinationOAuth | null;
  order: "skip-dead" | "hold-dead" | "latest" | null;
  orderBy: string | null;
  /** A destination of the configuration is changed there. */
  origin: "config" | "api";
  /** Requests per second; 0 for no limit. */
  rate: number;
  /** The last characters of the signing secrets. */
  secrets: string[];
  /** The header with the HMAC-SHA-256 of the body in hex, if there is one. */
  signatureHeader: string | null;
  timeout: string;
  /** The client certificate; null without. */
  tls: DestinationTLS | null;
  topic: string | null;
  /** The CEL expression that makes the body. */
  transform: string | null;
  /** The JavaScript that makes the body; empty without. */
  transformJs: string | null;
  updatedAt: string | null;
  /** A password in it is masked. */
  url: string | null;
}

export interface DestinationBatch {
  format: "array" | "lines";
  /** The most events. */
  size: number;
  /** How long the first one waits for others. */
  wait: string;
}

export interface DestinationHealth {
  /** The circuit breaker of this node. */
  circuit: "closed" | "open" | "half-open";
  /** By this node, since it started. */
  failed: number;
  /** Since the last success. */
  failures: number;
  lastError: string | null;
  lastFailure: string | null;
  lastSuccess: string | null;
  /** Why it is paused or disabled. */
  reason: string | null;
  /** When it is tried again. */
  retryAt: string | null;
  /** By this node, since it started. */
  sent: number;
  state: "active" | "paused" | "disabled";
}

export interface DestinationList {
  docs: Destination[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface DestinationOAuth {
  audience: string | null;
  /** How the client identifies itself. */
  auth: "header" | "body";
  clientId: string | null;
  scopes: string[];
  /** Viewers see its host. */
  tokenUrl: string;
}

export interface DestinationTLS {
  /** Whether the receiver's certificate must be signed by authorities of the destination's own. */
  ca: boolean;
  expiresAt: string | null;
  /** Null without a client certificate, or if its file cannot be read. */
  subject: string | null;
}

export interface Disk {
  freeBytes: number;
  totalBytes: number;
}

export interface EndedLease {
  /** Such as an expired lease: another client may have the delivery. */
  error: string | null;
  lease: string;
  ok: boolean;
}

export interface EndedLeases {
  leases: EndedLease[];
  /** Until when extended leases are held; other answers leave it out. */
  until?: string | null;
}

export interface Envelope {
  /** The sender's body as JSON; for internal events gaff's own document. */
  data: unknown;
  event: EnvelopeEvent;
  /** The event's id, evt_…; the same for every destination. */
  id: string;
  /** The job that the event belongs to, as it is at this attempt. */
  job: EnvelopeJob | null;
  /** The files of the job. */
  media: EnvelopeMedia[];
  /** The sender, such as fal; gaff for internal events. */
  source: string;
  /** When gaff received the event. */
  timestamp: string;
  /** Such as generation.completed, or job.completed for an internal event. */
  type: string;
}

export interface EnvelopeEvent {
  /** The sender's id of the job. */
  correlationId: string | null;
  /** The sender's own time of the event. */
  occurredAt: string | null;
  /** Of internal events: the event that caused it. */
  parentId: string | null;
  /** Of events that were published through gaff: their project. */
  projectId: string | null;
  /** The sender's id of the event. */
  webhookId: string | null;
}

export interface EnvelopeJob {
  createdAt: string | null;
  /** For people. */
  error: string | null;
  /** For programs, such as content_policy_violation. */
  errorType: string | null;
  id: string;
  kind: string | null;
  metadata: unknown;
  model: string | null;
  projectId: string | null;
  provider: string;
  /** The provider's id of the job. */
  requestId: string | null;
  /** As the provider sent it; null until the job is completed. */
  result: unknown;
  settledAt: string | null;
  /** webhook or reconciliation; null until settled. */
  settledBy: string | null;
  status: "queued" | "processing" | "completed" | "failed" | "cancelled";
  submittedAt: string | null;
  userId: string | null;
}

export interface EnvelopeMedia {
  contentType: string | null;
  id: string;
  jobId: string;
  /** The permanent link of the poster, if it has one. */
  linkPosterUrl: string | null;
  /** The permanent link to the small picture of an image. */
  linkThumbnailUrl: string | null;
  /** A permanent link to gaff's copy, until it is revoked; null without one. It needs no token. */
  linkUrl: string | null;
  mediaType: "generated-image" | "generated-video" | "generated-audio" | "generated-model" | "generated-file";
  metadata: unknown;
  /** A signed link to the picture that the provider sent beside the file, such as that of a video. */
  posterUrl: string | null;
  projectId: string | null;
  sha256: string | null;
  /** Bytes. */
  size: number | null;
  /** A signed link to gaff's copy; null until gaff:media.stored. It expires after a day: store the id, and read a fresh link from GET /api/v1/media/{id}, or store linkUrl. */
  storedUrl: string | null;
  /** When storedUrl, thumbnailUrl and posterUrl expire. */
  storedUrlExpiresAt: string | null;
  /** A signed link to a small picture of an image. */
  thumbnailUrl: string | null;
  /** The provider's URL of the file; the provider deletes it some day. */
  url: string;
}

export interface Erasure {
  /** What this means for backups, for people. */
  backups: string | null;
  dryRun: boolean;
  /** Null in a dry run. */
  erasedAt: string | null;
  /** With their deliveries, attempts, bodies and copies. */
  events: number;
  /** Why copies are not deleted from storage yet. gaff repeats it every hour. Null if they are. */
  filesPending: string | null;
  /** With their inputs, results and logs. */
  jobs: number;
  kind: "user" | "project" | "job" | "event" | "media";
  /** Rows of files. A copy in storage is deleted unless a file of another job has the same content. */
  media: number;
  projects: number;
  /** Replaces the id in the audit log and in other rows that stay. It is the same each time. */
  pseudonym: string;
  /** Rows that stay, in which the id is replaced, such as lines of the audit log; and jobs with the result of an erased one, whose id is removed. */
  records: number;
  rejections: number;
  runs: number;
  /** They must be cancelled first. */
  unfinishedJobs: number;
  /** They must be cancelled first. */
  unfinishedRuns: number;
}

export interface ErasureRequest {
  /** First cancel jobs and runs that are not finished, at the provider too. Without it they are a conflict. */
  cancel?: boolean;
  /** Only count. */
  dryRun?: boolean;
  eventId?: string;
  jobId?: string;
  /** A file and its copy; its job stays. */
  mediaId?: string;
  /** Everything of a project, and the project. */
  projectId?: string;
  /** Everything of a user: jobs, runs, files, and the events and rejected requests that name the user. */
  userId?: string;
}

export interface ErrorDetail {
  /** Where the error occurred, e.g. 'body.items[3].tags' or 'path.thing-id' */
  location?: string;
  /** Error message text */
  message?: string;
  /** The value at the given location */
  value?: unknown;
}

export interface ErrorModel {
  /** A human-readable explanation specific to this occurrence of the problem. */
  detail?: string;
  /** Optional list of individual error details */
  errors?: ErrorDetail[] | null;
  /** What to do next. */
  hint?: string;
  /** A URI reference that identifies the specific occurrence of the problem. */
  instance?: string;
  /** HTTP status code */
  status?: number;
  /** A short, human-readable summary of the problem type. This value should not change between occurrences of the error. */
  title?: string;
  /** A URI reference to human-readable documentation for the error. */
  type?: string;
}

export interface ErrorStats {
  /** The text of the latest one. */
  example: string | null;
  jobs: number;
  /** none: failed without a type. The value of errorType of GET /api/v1/jobs. */
  type: string;
}

export interface Event {
  /** The same id was received again with a different body. */
  conflict: boolean;
  correlationId: string | null;
  /** How many more times the same id was received. */
  duplicates: number;
  error: string | null;
  id: string;
  occurredAt: string | null;
  parentId: string | null;
  processedAt: string | null;
  receivedAt: string | null;
  retryCount: number;
  source: string;
  status: "pending" | "success" | "error";
  type: string;
  /** No handler was registered for it. */
  unhandled: boolean;
  updatedAt: string | null;
  /** How many problems the data has by the JSON Schema of its source and type; 0 without a schema. */
  violations: number;
  /** The sender's id of the event; the event's own id if the sender gave none. */
  webhookId: string;
}

export interface EventDetail {
  /** The stored body differs from the received one, and is left out. */
  bodyDamaged: boolean;
  /** Ids of the events that this one's handlers emitted. */
  children: string[];
  /** The same id was received again with a different body. */
  conflict: boolean;
  /** Later requests with the same id and a different body. */
  copies: Copy[];
  correlationId: string | null;
  /** The body as JSON, numbers as sent. */
  data: unknown;
  deliveries: Delivery[];
  /** How many more times the same id was received. */
  duplicates: number;
  error: string | null;
  id: string;
  occurredAt: string | null;
  parentId: string | null;
  processedAt: string | null;
  /** Of events that were published through gaff: their project. */
  projectId: string | null;
  /** How the sender was verified; null for internal events. */
  proof: Verification | null;
  receivedAt: string | null;
  /** Null for internal events. */
  request: Request | null;
  retryCount: number;
  source: string;
  status: "pending" | "success" | "error";
  type: string;
  /** No handler was registered for it. */
  unhandled: boolean;
  updatedAt: string | null;
  /** How the data violates its JSON Schema; null if it does not, and once the body is removed. */
  violation: Violation | null;
  /** How many problems the data has by the JSON Schema of its source and type; 0 without a schema. */
  violations: number;
  /** The sender's id of the event; the event's own id if the sender gave none. */
  webhookId: string;
}

export interface EventList {
  docs: Event[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface Exchange {
  durationMs: number;
  error: string | null;
  ok: boolean;
  request: Sent;
  response: Received | null;
}

export interface Extension {
  /** How much longer, from now, such as 5m. */
  lease: string;
  leases: string[];
}

export interface Failure {
  /** Make no more attempts. */
  dead?: boolean;
  /** When the next attempt is due; empty for the destination's own schedule. */
  delay?: string;
  /** The reason; it is stored with the attempt. */
  error?: string;
  leases: string[];
}

export interface FormerSecret {
  /** Its last characters. */
  hint: string;
  /** Until when it is accepted. */
  until: string | null;
}

export interface Handler {
  name: string;
  source: string;
  type: string;
}

export interface HandlerHealth {
  /** Those whose time has come. */
  due: number;
  /** Attempts in the last hour. */
  failed: number;
  handler: string;
  /** When the first of them became due. */
  oldestDue: string | null;
  /** Deliveries that are not done. Of all handlers together, at most 100,000 are counted. */
  pending: number;
  /** Attempts in the last hour, on all nodes. */
  succeeded: number;
  /** The run time of the attempts that succeeded in the last hour; null without one. */
  took: Percentiles | null;
}

export interface Health {
  /** The commit that the binary was built from; empty if unknown. */
  commit: string;
  /** Events whose stored body was found damaged since the start. */
  damagedBodies: number;
  /** Size of the database, without the write-ahead log; 0 if unknown. */
  databaseBytes: number;
  /** The disk of the data folder; null if unknown. */
  disk: Disk | null;
  go: string;
  goroutines: number;
  /** Handlers and destinations with open deliveries, or with attempts in the last hour; the most due first. Empty if the database did not answer in time. */
  handlers: HandlerHealth[];
  /** The memory that the process has from the operating system. */
  memoryBytes: number;
  /** The sources that reject every request, and why. */
  quietSources: Record<string, string>;
  /** A webhook could be stored now. */
  ready: boolean;
  /** Why not. */
  reason: string | null;
  uptimeSeconds: number;
  version: string;
}

export interface Heard {
  envelope: Envelope | null;
  id: string;
  receivedAt: string | null;
  request: OriginalRequest | null;
  source: string;
  type: string;
  webhookId: string | null;
}

export interface HeardList {
  /** Acknowledge it when these events are processed. */
  cursor: string | null;
  events: Heard[];
  /** Events before these were removed from the log in the meantime. */
  gone: boolean;
}

export interface HoldBody {
  /** For the job's log. */
  comment?: string;
}

export interface Issue {
  /** When its state was last changed; null if it was not. */
  changedAt: string | null;
  /** Who changed it; null if gaff resolved it, as nothing was left to do. */
  changedBy: string | null;
  count: number;
  /** The handler or destination of dead deliveries; empty for rejections. */
  destination: string;
  /** The newest error, without parts that may quote a payload. */
  error: string;
  firstAt: string | null;
  id: string;
  kind: "delivery" | "rejection";
  lastAt: string | null;
  /** The newest delivery or rejection. */
  lastRef: string;
  /** It raises no alert: operational events were not delivered. */
  muted: boolean;
  /** firstAt, or the first failure after it was resolved. */
  openedAt: string | null;
  /** Empty for requests to unknown sources. */
  source: string;
  /** A resolved issue opens again at the next failure. */
  state: "open" | "acknowledged" | "resolved" | "ignored";
  /** The HTTP status that the receiver answered, or that the sender was answered; 0 without one. */
  status: number;
  title: string;
}

export interface IssueList {
  docs: Issue[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface Job {
  /** How often gaff polled the provider. */
  asks: number;
  /** Which of its candidates the job is at, from 1; 0: it has one provider only. */
  attempt: number;
  /** What it costs in money; null if that is not known. */
  charge: Charge | null;
  /** What the provider billed, in its own units; null if it did not say. */
  cost: string | null;
  createdAt: string | null;
  /** For people. */
  error: string | null;
  /** For programs, such as content_policy_violation. */
  errorType: string | null;
  /** When the job should be done by that measure. The job is late if this time has passed. */
  expectedAt: string | null;
  /** How long jobs of this model usually take, from submit to end. Null if that is not known yet, or the job has ended. */
  expectedSeconds: number | null;
  id: string;
  idempotencyKey: string | null;
  kind: string | null;
  metadata: unknown;
  model: string | null;
  /** When gaff polls the provider, unless a webhook arrives first. */
  nextAskAt: string | null;
  /** From -100 to 100. Of a provider's jobs that wait, the highest is submitted first. */
  priority: number;
  projectId: string | null;
  provider: string;
  /** The provider's id of the job. */
  requestId: string | null;
  /** As the provider sent it. Lists and the stream leave out a result of more than 64 KiB. */
  result: unknown;
  /** The length of the result in bytes; 0 if it has none. */
  resultSize: number;
  /** The job whose result this one has, in place of work at the provider. */
  reusedFrom: string | null;
  runId: string | null;
  /** What the job of reusedFrom cost, in the currency of charge; null if that is not known. */
  saved: string | null;
  settledAt: string | null;
  /** webhook, reconciliation, submit (its answer held the result), or reuse (an earlier job had it); null until settled. */
  settledBy: string | null;
  status: "queued" | "processing" | "completed" | "failed" | "cancelled";
  stepId: string | null;
  /** The state of the submit: waiting, sending, accepted, unknown (the answer was lost; it is not repeated), refused or held (a budget has no room, and the job waits for an approval). Null if gaff did not submit the job. */
  submit: string | null;
  submittedAt: string | null;
  updatedAt: string | null;
  userId: string | null;
}

export interface JobAttempt {
  attempt: number;
  charge: Charge | null;
  cost: string | null;
  endedAt: string | null;
  error: string | null;
  errorType: string | null;
  model: string | null;
  provider: string;
  requestId: string | null;
  sentAt: string | null;
}

export interface JobDetail {
  /** The alias that was submitted in place of a provider and model. */
  alias: string | null;
  /** How often gaff polled the provider. */
  asks: number;
  /** Which of its candidates the job is at, from 1; 0: it has one provider only. */
  attempt: number;
  /** The former attempts of a job with a fallback, oldest first. */
  attempts: JobAttempt[];
  /** The URL that the provider's webhook is passed on to. */
  callbackUrl: string | null;
  cancelUrl: string | null;
  /** What it costs in money; null if that is not known. */
  charge: Charge | null;
  /** What the provider billed, in its own units; null if it did not say. */
  cost: string | null;
  createdAt: string | null;
  /** For people. */
  error: string | null;
  /** For programs, such as content_policy_violation. */
  errorType: string | null;
  /** When the job should be done by that measure. The job is late if this time has passed. */
  expectedAt: string | null;
  /** How long jobs of this model usually take, from submit to end. Null if that is not known yet, or the job has ended. */
  expectedSeconds: number | null;
  /** The candidates that are used next, if this one fails. */
  fallback: Candidate[];
  id: string;
  idempotencyKey: string | null;
  /** The input that the job was submitted with; null if it is not stored. */
  input: unknown;
  kind: string | null;
  /** Calls to the provider and its answers, oldest first. */
  log: LogEntry[];
  metadata: unknown;
  model: string | null;
  /** When gaff polls the provider, unless a webhook arrives first. */
  nextAskAt: string | null;
  /** The place, from 1, among the jobs of its provider that wait to be submitted, by priority and turn; 0 if it does not wait. A limit without room lets others go before. */
  position: number;
  /** From -100 to 100. Of a provider's jobs that wait, the highest is submitted first. */
  priority: number;
  projectId: string | null;
  provider: string;
  /** The provider's id of the job. */
  requestId: string | null;
  responseUrl: string | null;
  /** As the provider sent it. Lists and the stream leave out a result of more than 64 KiB. */
  result: unknown;
  /** The length of the result in bytes; 0 if it has none. */
  resultSize: number;
  /** The job whose result this one has, in place of work at the provider. */
  reusedFrom: string | null;
  runId: string | null;
  /** What the job of reusedFrom cost, in the currency of charge; null if that is not known. */
  saved: string | null;
  settledAt: string | null;
  /** webhook, reconciliation, submit (its answer held the result), or reuse (an earlier job had it); null until settled. */
  settledBy: string | null;
  status: "queued" | "processing" | "completed" | "failed" | "cancelled";
  statusUrl: string | null;
  stepId: string | null;
  /** The state of the submit: waiting, sending, accepted, unknown (the answer was lost; it is not repeated), refused or held (a budget has no room, and the job waits for an approval). Null if gaff did not submit the job. */
  submit: string | null;
  submittedAt: string | null;
  /** What the job costs with its former attempts, by currency. */
  total: Amount[];
  updatedAt: string | null;
  userId: string | null;
  /** The URL for the provider's webhook. Null if this gateway has no URL that the provider can reach. */
  webhookUrl: string | null;
}

export interface JobList {
  docs: Job[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface JobRegistration {
  /** Where the provider's webhook is passed on to, as it was received. */
  callbackUrl?: string;
  cancelUrl?: string;
  kind?: string;
  metadata?: Record<string, unknown>;
  model?: string;
  projectId?: string;
  /** Required for a job that is not known yet. */
  provider?: string;
  /** The provider's id of the job; can be set once. */
  requestId?: string;
  responseUrl?: string;
  /** The provider's URL for the job's status; this or the model is needed to poll the job. */
  statusUrl?: string;
  userId?: string;
}

export interface JobStats {
  /** queued, processing, completed, failed, cancelled. */
  byStatus: Record<string, number>;
  /** The most frequent failures first, at most 50. */
  errors: ErrorStats[];
  jobs: number;
  /** Those with the most jobs first, at most 50. */
  models: ModelStats[];
  /** Half of the jobs had their result after this time; null without one. */
  p50Ms: number | null;
  p95Ms: number | null;
  since: string | null;
  /** The part of the finished jobs that completed, from 0 to 1; null if none has finished. */
  success: number | null;
}

export interface JobSubmission {
  /** Where the provider's webhook is passed on to, as it was received. */
  callbackUrl?: string;
  /** Used in their order, each if the former one rejected the job, or failed by the provider's own word; never after a submit whose outcome is unknown. */
  fallback?: Candidate[] | null;
  /** An id of your own for the job; no other job may have it. */
  id?: string;
  /** A second request with the same key and token returns the first job, other members may differ. */
  idempotencyKey?: string;
  /** The input of the model. */
  input?: Record<string, unknown>;
  /** image, video, audio or a name of your own. */
  kind?: string;
  /** Your own; the job has it in every answer. */
  metadata?: Record<string, unknown>;
  /** The provider's name for the work (a model, a service), or an alias. */
  model?: string;
  /** Of the provider's jobs that wait, the highest is submitted first; 0 if it is missing. The role operator may use up to 10. */
  priority?: number;
  projectId?: string;
  /** The name of the provider. Without it, model is an alias of models: in gaff.yaml. */
  provider?: string;
  /** false: the provider does the work even if an earlier job has the result (reuse: in gaff.yaml). */
  reuse?: boolean;
  userId?: string;
}

export interface Key {
  createdAt: string | null;
  createdBy: string;
  /** The key that created it; null for the admin token. */
  createdById: string | null;
  /** Null for a key that does not expire. */
  expiresAt: string | null;
  /** The last characters of the secret. */
  hint: string;
  id: string;
  /** To the minute; null if it was never used. */
  lastUsedAt: string | null;
  lastUsedFrom: string | null;
  name: string;
  /** How many requests a second it may make; 0 for no limit. */
  rate: number;
  revokedAt: string | null;
  role: "viewer" | "operator" | "admin";
  /** What the key is limited to; null for everything that its role allows. */
  scope: Scope | null;
  state: "active" | "expired" | "revoked";
}

export interface KeyList {
  docs: Key[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface KeyRequest {
  /** A time, or a duration from now such as 90d; empty for a key that does not expire. */
  expiresAt?: string;
  /** Who or what uses it. */
  name: string;
  /** How many requests a second it may make on each node, with its sessions and browser tokens; 0 for no limit. More are answered 429 with Retry-After. */
  rate?: number;
  role: "viewer" | "operator" | "admin";
  /** What the key is limited to; empty for everything that its role allows. */
  scope?: KeyScope;
}

export interface KeyRotation {
  /** The keys before the one that signs now are no longer accepted: links and webhook URLs that they signed stop working. */
  drop?: boolean;
}

export interface KeyScope {
  /** Only this destination, and its deliveries by pull. */
  destination?: string;
  /** Only these operations, by operationId. */
  operations?: string[] | null;
  /** Only the jobs, files and runs of this project. */
  projectId?: string;
  /** Only the events, deliveries and rejected requests of this source. */
  source?: string;
}

export interface KeyUse {
  firstUsedAt: string | null;
  /** A fingerprint; never the key. */
  keyId: string;
  /** To the minute. */
  lastUsedAt: string | null;
}

export interface Leases {
  leases: string[];
}

export interface LimitUse {
  /** How many jobs may be under way; 0 for no bound. */
  concurrency: number;
  /** It has no room now. */
  full: boolean;
  name: string;
  /** When the rate allows the next submit; null for now. */
  nextAt: string | null;
  /** How many submits a second; 0 for no bound. */
  rate: number;
  scope: "provider" | "model" | "project" | "user";
  /** Jobs that count for the concurrency; 0 if that has no bound. */
  underWay: number;
  /** Jobs that wait to be submitted, for this or another limit, or for their turn. */
  waiting: number;
}

export interface Limits {
  docs: LimitUse[];
}

export interface LogEntry {
  at: string | null;
  text: string;
  /** submit, webhook, ask, cancel, register, fallback, hold, charge or reuse. */
  what: string;
}

export interface LogFault {
  error: string;
  /** Its place in docs, from 0. */
  index: number;
}

export interface LogImport {
  /** Documents of the collection: webhookId, source, type, status, data, error, retryCount, processedAt, createdAt, and their id. */
  docs: unknown[];
}

export interface LogImported {
  added: number;
  /** How many were imported before. */
  known: number;
  /** Documents that cannot be stored; the others are. */
  rejected: LogFault[];
}

export interface LoginLink {
  expiresAt: string | null;
  /** The path below the gateway's URL that logs a browser in once. */
  path: string;
}

export interface Me {
  /** The name that was typed at the login; it is not verified. */
  as: string | null;
  /** The key or session; null for the admin token. */
  id: string | null;
  /** The key, also of a session or token that was made with it; null for the admin token. */
  keyId: string | null;
  name: string;
  role: "viewer" | "operator" | "admin";
  /** What the caller is limited to; null for everything that its role allows. */
  scope: Scope | null;
  via: "token" | "key" | "session" | "browser token";
}

export interface Media {
  contentType: string | null;
  createdAt: string | null;
  id: string;
  jobId: string;
  /** The permanent link to the small picture of an image. */
  linkThumbnailUrl: string | null;
  /** A permanent link to gaff's copy, which needs no token; null until POST /api/v1/media/{id}/link. It works until it is revoked. */
  linkUrl: string | null;
  mediaType: "generated-image" | "generated-video" | "generated-audio" | "generated-model" | "generated-file";
  /** width, height, duration, generatedAt and what else is known. */
  metadata: unknown;
  /** Where the file is in the job's result. */
  position: string;
  projectId: string | null;
  sha256: string | null;
  /** Bytes. */
  size: number | null;
  /** The state of the copy. gone: the provider no longer has the file. */
  storage: "none" | "pending" | "stored" | "gone" | "failed";
  /** The last failure of the copy. */
  storageError: string | null;
  storedAt: string | null;
  /** A link to gaff's copy; it needs no token and expires after a day (media.link_for). */
  storedUrl: string | null;
  /** When storedUrl and thumbnailUrl expire. */
  storedUrlExpiresAt: string | null;
  /** A link to a small picture of an image; it needs no token and expires after a day. */
  thumbnailUrl: string | null;
  /** The provider's URL of the file. A data: link of more than 4 KiB is written as data:image/png;sha256=…; GET /api/v1/media/{id} has it in full if there is no copy. */
  url: string;
}

export interface MediaList {
  docs: Media[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface ModelStats {
  /** queued, processing, completed, failed, cancelled. */
  byStatus: Record<string, number>;
  jobs: number;
  model: string | null;
  /** Half of the jobs had their result after this time; null without one. */
  p50Ms: number | null;
  p95Ms: number | null;
  provider: string;
  /** The part of the finished jobs that completed, from 0 to 1; null if none has finished. */
  success: number | null;
}

export interface NewSecretDestination {
  /** How far an archive is; null for other kinds. */
  archive: Archive | null;
  backlog: Backlog;
  /** Events that are sent in one request, or written to one file; null for one event a request. */
  batch: DestinationBatch | null;
  breakAfter: number;
  breakFor: string;
  /** The share of failed attempts that opens the circuit; 0 for none. */
  breakRate: number;
  /** The time of the attempts that count for breakRate. */
  breakWindow: string;
  burst: number;
  concurrency: number;
  /** How long after its receipt an event is sent first. */
  delay: string;
  events: string[];
  filter: string | null;
  /** The response statuses that make a delivery dead at once. */
  final: number[] | null;
  firstWait: string;
  format: "envelope" | "original" | "cloudevents" | "cloudevents-binary" | "spec";
  /** Secrets are masked. */
  headers: Record<string, string>;
  health: DestinationHealth;
  /** The JSON pointer or CEL expression of the key, such as a tenant. */
  key: string | null;
  /** Events of one key that are sent at once; 0 without a key. */
  keyConcurrency: number;
  /** Requests per second of one key; 0 for no limit. */
  keyRate: number;
  kind: "http" | "pull" | "queue" | "archive";
  lease: string;
  longestWait: string;
  maxAttempts: number;
  name: string;
  /** OAuth2 client credentials; null without. */
  oauth: DestinationOAuth | null;
  order: "skip-dead" | "hold-dead" | "latest" | null;
  orderBy: string | null;
  /** A destination of the configuration is changed there. */
  origin: "config" | "api";
  /** Requests per second; 0 for no limit. */
  rate: number;
  /** The new signing secret; no other answer has it. Null if the request set secrets, or nothing is signed. */
  secret: string | null;
  /** The last characters of the signing secrets. */
  secrets: string[];
  /** The header with the HMAC-SHA-256 of the body in hex, if there is one. */
  signatureHeader: string | null;
  timeout: string;
  /** The client certificate; null without. */
  tls: DestinationTLS | null;
  topic: string | null;
  /** The CEL expression that makes the body. */
  transform: string | null;
  /** The JavaScript that makes the body; empty without. */
  transformJs: string | null;
  updatedAt: string | null;
  /** A password in it is masked. */
  url: string | null;
}

export interface NewSecretSource {
  about: Record<string, string>;
  /** The URL for the sender. */
  address: string;
  /** Null until the source received a request. */
  counts: SourceStats | null;
  /** Secrets that were replaced, and are still accepted. */
  formerSecrets: FormerSecret[];
  handlers: Handler[];
  /** The keys that verified its requests, the last used first. */
  keys: KeyUse[];
  /** The configuration, or gaff itself, defines it: it is changed there. */
  managed: boolean;
  maxBodyBytes: number;
  name: string;
  path: string;
  /** Why it is paused; null if it is not. Senders are answered 503. */
  paused: string | null;
  /** Why it rejects every request; null if it does not. */
  quiet: string | null;
  /** The new secret, to be entered at the sender; no other answer has it. Null if the request set it, or the sender makes its own. */
  secret: string | null;
  /** The description of a source that was created by the API; of its secrets only the last characters. */
  spec: SourceSpec | null;
  updatedAt: string | null;
}

export interface OAuth {
  audience?: string;
  auth?: string;
  clientId: string;
  clientSecret: string;
  scopes?: string[] | null;
  tokenUrl: string;
}

export interface OriginalRequest {
  bodyBase64: string;
  /** The end-to-end headers, including the signature. */
  headers: Record<string, string[] | null>;
  method: string;
  url: string;
}

export interface Pause {
  reason?: string;
}

export interface PayloadError {
  message: string;
}

export interface Percentiles {
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
}

export interface Point {
  at: string | null;
  /** The latency from an event's receipt to the success of a delivery; of one handler, the run time of its attempts. */
  done: Percentiles | null;
  /** Attempts. */
  failed: number;
  /** Events by source. */
  received: Record<string, number>;
  rejected: number;
  /** The response time of webhooks; null without webhooks. */
  reply: Percentiles | null;
  /** Attempts. */
  succeeded: number;
}

export interface Preview {
  /** The body of the request; null if it has none. */
  after: string | null;
  /** The envelope, as JSON. */
  before: string;
  /** Why the transformation failed; null if it did not. */
  error: string | null;
  /** Why the filter has no value for it; such an event does not pass. */
  filterError: string | null;
  /** Those of the body and of the transformation. Secrets are masked. */
  headers: Record<string, string>;
  id: string;
  /** The lines of console.log. */
  logs: string[];
  /** Whether the events of the destination choose it. */
  matches: boolean;
  /** Whether the filter does. */
  passes: boolean;
  receivedAt: string | null;
  /** Whether it would be sent: it is chosen, and its transformation neither failed nor returned null. */
  sent: boolean;
  source: string;
  /** A body was longer than 64 KiB, and is cut. */
  truncated: boolean;
  type: string;
}

export interface PreviewRequest {
  /** A destination, whose settings the other members replace. */
  destination?: string;
  /** Which events: source:type with *. */
  events?: string[] | null;
  /** A CEL condition; empty for none. */
  filter?: string;
  format?: "envelope" | "original" | "cloudevents" | "cloudevents-binary" | "spec";
  /** Stored events; without, the newest ones that match. */
  ids?: string[] | null;
  /** How many events; 5 by default. */
  limit?: number;
  /** Only events of this source. */
  source?: string;
  /** A CEL expression; empty for none. */
  transform?: string;
  /** JavaScript; empty for none. */
  transformJs?: string;
  /** Only events of this type. */
  type?: string;
}

export interface Previews {
  events: Preview[];
  /** How many of them have an error. */
  failed: number;
}

export interface Problem {
  /** The keyword of the schema. */
  keyword: string | null;
  message: string;
  /** The JSON pointer of the value; empty for the whole data. */
  path: string;
}

export interface Project {
  createdAt: string | null;
  id: string;
  metadata: unknown;
  name: string | null;
  owner: string | null;
  /** Each file of the project gets a permanent link (linkUrl) when its copy is stored. */
  publicMedia: boolean;
  updatedAt: string | null;
}

export interface ProjectList {
  docs: Project[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface ProjectUpdate {
  id: string;
  metadata?: Record<string, unknown>;
  name?: string;
  owner?: string;
  /** Give each file a permanent link, which needs no token, when its copy is stored. Links that files have already stay until they are revoked. */
  publicMedia?: boolean;
}

export interface PublishEvent {
  /** Any JSON, up to 1 MiB. */
  data?: unknown;
  /** How long from now to publish the event, such as 90s, 10m or 7d; in place of runAt. */
  delay?: string;
  /** A second event with the same key and token returns the first one. */
  idempotencyKey?: string;
  /** The project that the event belongs to. */
  projectId?: string;
  /** When to publish the event; a time that has passed is now. */
  runAt?: string;
  /** Up to 200 letters, digits, and . _ / -. */
  type: string;
}

export interface Published {
  /** The idempotencyKey was known, with another type or other data. */
  conflict: boolean;
  /** The idempotencyKey was known: this is the first event with it. */
  duplicate: boolean;
  /** The published event; null until it is published. */
  eventId: string | null;
  /** evt_… of a published event, sch_… of a scheduled one. */
  id: string;
  projectId: string | null;
  runAt: string | null;
  status: "published" | "scheduled" | "canceled";
  type: string;
}

export interface PublishedList {
  events: Published[];
}

export interface Pull {
  /** A destination of kind pull. */
  destination: string;
  /** How long the caller holds them; empty for the destination's own lease. */
  lease?: string;
  max?: number;
  /** How long to wait for the first delivery, up to 60s, such as 20s. */
  wait?: string;
}

export interface Pulled {
  attempt: number;
  /** The same at each attempt; store it to process each delivery once. */
  deliveryId: string;
  /** As posted to http destinations; null if the destination's format is original. */
  envelope: Envelope | null;
  eventId: string;
  /** Deliveries of one key are processed in order. */
  key: string | null;
  /** The token that acknowledges it. */
  lease: string;
  /** As received; null unless the destination's format is original. */
  request: OriginalRequest | null;
  source: string;
  type: string;
  /** When another client gets it, unless it is acknowledged before. */
  until: string | null;
}

export interface PulledList {
  deliveries: Pulled[];
}

export interface Queue {
  dead: number;
  due: number;
  oldestDue: string | null;
  waiting: number;
}

export interface Received {
  body?: string;
  headers: Record<string, string>;
  status: number;
  truncated?: boolean;
}

export interface Rejection {
  /** Null if the body is not UTF-8; bodyBase64 has it then. */
  body: string | null;
  bodyBase64: string | null;
  bodySize: number;
  /** Secrets are masked. */
  headers: Record<string, string[] | null>;
  id: string;
  method: string;
  reason: string;
  receivedAt: string | null;
  remoteAddr: string;
  /** The whole request is stored, so it can be verified again: POST …/rescue. */
  rescuable: boolean;
  /** The event that it became, if it was rescued. */
  rescuedAs: string | null;
  source: string;
  /** The status of the answer. */
  status: number;
  url: string;
}

export interface RejectionList {
  docs: Rejection[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface Reloaded {
  /** The sources that changed. */
  changed: string[];
  /** The changes that need a restart. */
  needsRestart: string[];
}

export interface Replay {
  by: string | null;
  destination: string | null;
  /** The event that was made of the edited body. */
  editedEventId: string | null;
  endedAt: string | null;
  error: string | null;
  eventId: string | null;
  /** Dry runs have no id. */
  id?: string;
  ignoreFilter: boolean;
  /** How many events match; while it runs, so far. */
  matches: number;
  missing: boolean;
  /** A dry run that ended before it had counted all. */
  more: boolean;
  /** The part of the stored events that was examined, from 0 to 1. */
  progress: number;
  /** How many of them were queued. */
  queued: number;
  rate: number;
  since: string | null;
  /** How many of them were queued already, or removed meanwhile. */
  skipped: number;
  source: string | null;
  startedAt: string | null;
  /** done: all events are queued; the deliveries show their outcome. */
  state: "counted" | "running" | "done" | "canceled" | "failed";
  status: string | null;
  type: string | null;
  until: string | null;
  /** Viewers see its host alone. */
  url: string | null;
}

export interface ReplayList {
  docs: Replay[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface ReplayRequest {
  /** The edited body of the event: it is stored as a new event whose parent is the original. */
  body?: string;
  /** Where to send to: a destination. */
  destination?: string;
  /** Only count. */
  dryRun?: boolean;
  /** One event, past the destination's filter, in place of the filters. */
  eventId?: string;
  /** Of the requests to the url. */
  format?: "envelope" | "original" | "cloudevents" | "cloudevents-binary" | "spec";
  /** Also events that the destination's events and filter do not choose. */
  ignoreFilter?: boolean;
  /** Only events that the destination has not received, and that are not queued for it. */
  missing?: boolean;
  /** How many events are queued a second at most; 100 by default. */
  rate?: number;
  /** Signs the requests to the url (whsec_…). */
  secret?: string;
  /** As of GET /api/v1/events. */
  since?: string;
  source?: string;
  status?: "pending" | "success" | "error";
  type?: string;
  until?: string;
  /** Where to send to, for this replay alone, in place of a destination. It needs the role admin. */
  url?: string;
}

export interface Request {
  /** Null if the body is not UTF-8; bodyBase64 has it then. */
  body: string | null;
  bodyBase64: string | null;
  /** Secrets are masked. */
  headers: Record<string, string[] | null>;
  method: string;
  remoteAddr: string;
  /** Secrets are masked. */
  url: string;
}

export interface Rescued {
  /** All of them were known: the request was rescued before, or its sender sent it again. */
  duplicate: boolean;
  /** The event that the request became; the first one if it brought several, empty if it brought none. */
  eventId: string;
  /** How many events it brought. */
  events: number;
}

export interface Rotation {
  /** Sign with the new secret alone; otherwise the previous one signs as well. */
  drop?: boolean;
}

export interface Run {
  /** The sum of what providers billed for its jobs, in their units. */
  cost: number;
  createdAt: string | null;
  /** When the whole run times out. */
  dueAt: string | null;
  error: string | null;
  /** The event that started it. */
  eventId: string | null;
  id: string;
  input: unknown;
  projectId: string | null;
  settledAt: string | null;
  status: "running" | "completed" | "failed" | "cancelled";
  updatedAt: string | null;
  userId: string | null;
  /** The hash of the definition that the run started with and keeps. */
  version: string;
  /** What the run waits for, for people. */
  waiting: string | null;
  workflow: string;
}

export interface RunDetail {
  /** The sum of what providers billed for its jobs, in their units. */
  cost: number;
  createdAt: string | null;
  /** When the whole run times out. */
  dueAt: string | null;
  error: string | null;
  /** The event that started it. */
  eventId: string | null;
  id: string;
  input: unknown;
  projectId: string | null;
  settledAt: string | null;
  status: "running" | "completed" | "failed" | "cancelled";
  steps: Step[];
  updatedAt: string | null;
  userId: string | null;
  /** The hash of the definition that the run started with and keeps. */
  version: string;
  /** What the run waits for, for people. */
  waiting: string | null;
  workflow: string;
}

export interface RunList {
  docs: Run[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface RunRetry {
  /** Only this item of the step, and the steps after it. */
  item?: number;
  /** The step to start at; empty for the steps that failed. */
  step?: string;
}

export interface RunStart {
  /** A second request with the same key and token returns the first run. */
  idempotencyKey?: string;
  /** The workflow's inputs by name. */
  input?: Record<string, unknown>;
  projectId?: string;
  userId?: string;
  workflow: string;
}

export interface SampleRequest {
  /** A type that the source has samples of; empty for the first. */
  type?: string;
}

export interface SampleSent {
  /** The event that the sample became. */
  eventId?: string;
  response: string;
  status: number;
}

export interface ScheduleChange {
  data?: unknown;
  /** How long from now, in place of runAt. */
  delay?: string;
  runAt?: string;
  type?: string;
}

export interface ScheduledEvent {
  /** Who published it. */
  by: string | null;
  createdAt: string | null;
  /** Null once the event is published or canceled. */
  data: unknown;
  /** Why gaff canceled it. */
  error: string | null;
  /** The event that it became. */
  eventId: string | null;
  id: string;
  idempotencyKey: string | null;
  projectId: string | null;
  /** When it is published. */
  runAt: string | null;
  status: "scheduled" | "published" | "canceled";
  type: string;
  updatedAt: string | null;
}

export interface ScheduledEventList {
  docs: ScheduledEvent[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface Scope {
  /** Only this destination, and its deliveries by pull. */
  destination?: string;
  /** Only this job and its files. Browser tokens only. */
  jobId?: string;
  /** Only these operations, by operationId. */
  operations?: string[] | null;
  /** Only the jobs, files and runs of this project. */
  projectId?: string;
  /** Only this run. Browser tokens only. */
  runId?: string;
  /** Only the events, deliveries and rejected requests of this source. */
  source?: string;
}

export interface SearchHit {
  /** More, for people; may be empty. */
  about: string;
  /** When it began; null for sources, destinations and workflows. */
  at: string | null;
  /** Its id, or its name if it is configured. */
  id: string;
  kind: "event" | "delivery" | "rejection" | "job" | "media" | "run" | "project" | "source" | "destination" | "workflow";
  /** The prompt of a job, the source and type of an event, the name of a project. */
  title: string;
}

export interface SearchHitList {
  docs: SearchHit[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface Secrets {
  /** Encrypted with the first key. */
  current: number;
  /** Whether GAFF_SECRETS_KEY is set. */
  enabled: boolean;
  /** How many this call encrypted. */
  encrypted: number;
  /** Encrypted with a key that is not given. */
  locked: number;
  /** Encrypted with another key. */
  older: number;
  /** Not encrypted. */
  plain: number;
}

export interface SelectedWebhookLogs {
  docs: Record<string, unknown>[];
  hasNextPage: boolean;
  hasPrevPage: boolean;
  limit: number;
  nextPage: number | null;
  page: number;
  pagingCounter: number;
  prevPage: number | null;
  totalDocs: number;
  /** There are more than totalDocs: they are counted up to 100,000, and pages end there. Or a condition looked at the newest 50,000 events, and there are older ones. */
  totalDocsCapped?: boolean;
  totalPages: number;
}

export interface Sent {
  body?: string;
  bytes: number;
  headers: Record<string, string>;
  method: string;
  url: string;
}

export interface Series {
  /** One for each step, also for steps without events. */
  points: Point[];
  since: string | null;
  /** The sources that received events in this time. */
  sources: string[];
  stepSeconds: number;
  /** Over all points. */
  total: Totals;
  until: string | null;
}

export interface Session {
  address: string;
  /** The browser's User-Agent. */
  agent: string;
  /** The name that the person typed; it is not verified. */
  as: string | null;
  createdAt: string | null;
  expiresAt: string | null;
  id: string;
  /** The key that opened it; null for the admin token and the identity provider. */
  keyId: string | null;
  /** To the minute. */
  lastUsedAt: string | null;
  /** The name of the key that opened it, admin, or the user at the identity provider. */
  name: string;
  role: "viewer" | "operator" | "admin";
  /** What the session is limited to; null for everything that its role allows. */
  scope: Scope | null;
  /** The user's id at the identity provider; null for logins with a token. */
  subject: string | null;
}

export interface SessionList {
  docs: Session[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface Setting {
  help: string;
  name: string;
  /** Where the value comes from. */
  origin: string;
  value: string;
}

export interface SettingList {
  docs: Setting[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface SigningKey {
  /** How many keys are accepted: the one that signs, former ones, and a new one that does not sign yet. */
  accepted: number;
  /** links: of links to files; webhooks: of the webhook URLs of jobs; callbacks: of requests to jobs' callback URLs. */
  name: "links" | "webhooks" | "callbacks";
  /** After a rotation: when the new key signs, since other nodes must read it first. */
  signsFrom: string | null;
}

export interface SigningKeys {
  docs: SigningKey[] | null;
}

export interface Silence {
  forSeconds: number;
  lastAt: string | null;
  source: string;
  /** Its longest pause in the two weeks before. */
  usualSeconds: number;
}

export interface SilenceList {
  docs: Silence[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface Source {
  about: Record<string, string>;
  /** The URL for the sender. */
  address: string;
  /** Null until the source received a request. */
  counts: SourceStats | null;
  /** Secrets that were replaced, and are still accepted. */
  formerSecrets: FormerSecret[];
  handlers: Handler[];
  /** The keys that verified its requests, the last used first. */
  keys: KeyUse[];
  /** The configuration, or gaff itself, defines it: it is changed there. */
  managed: boolean;
  maxBodyBytes: number;
  name: string;
  path: string;
  /** Why it is paused; null if it is not. Senders are answered 503. */
  paused: string | null;
  /** Why it rejects every request; null if it does not. */
  quiet: string | null;
  /** The description of a source that was created by the API; of its secrets only the last characters. */
  spec: SourceSpec | null;
  updatedAt: string | null;
}

export interface SourceKey {
  /** Some senders ask for it again in a form of their own. */
  key: string;
}

export interface SourceKeyOpened {
  /** Until when the source accepts the first key that a handshake brings. */
  until: string;
}

export interface SourceKeyRequest {
  /** How long the source accepts a key. */
  seconds?: number;
}

export interface SourceList {
  docs: Source[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface SourceRotation {
  /** How long the former secrets are accepted too, up to 30d; 24h if left out, 0s for not at all. */
  grace?: string;
  /** The new secret, if the sender makes it; left out: gaff makes one. */
  secret?: string;
}

export interface SourceSpec {
  acceptGzip?: boolean;
  /** The networks that may send (CIDR). */
  allow?: string[] | null;
  /** What a sender that waits is answered: from (a destination), wait, body, content_type (docs/answers.md). */
  answer?: Record<string, unknown>;
  burst?: number;
  /** The accepted media types. */
  contentTypes?: string[] | null;
  /** A JSON pointer to the event's id in the body. */
  id?: string;
  /** A JSON pointer to the sender's id of the work. */
  job?: string;
  /** Where a body holds the state of a job, over the preset's own. */
  jobs?: Record<string, unknown>;
  /** The largest body, in bytes; 0 for the gateway's limit. */
  maxBody?: number;
  /** The part of the URL after /api/v1/webhooks/: lower case letters, digits, - and _. */
  name: string;
  /** What happens to an event that violates its schema: warn (the default) stores and marks it, refuse answers 422. */
  onViolation?: "warn" | "refuse";
  /** A known sender; gaff sources presets lists them. */
  preset?: string;
  /** Requests per second; 0 for no limit. */
  rate?: number;
  /** JSON Schemas of the data, by event type; * is for types without one (docs/schemas.md). A patch replaces a schema as a whole. */
  schemas?: Record<string, unknown>;
  /** The sender's secrets; each is accepted. Left out: gaff makes one, if the sender's kind allows. An empty list: none yet, so the source rejects everything. */
  secrets?: string[] | null;
  /** Values that the verification refers to, such as callback_url. */
  settings?: Record<string, string>;
  /** A JSON pointer to a status that makes events of one id different. */
  status?: string;
  /** A JSON pointer to the event's type. */
  type?: string;
  /** How the sender signs, in place of a preset: docs/verification.md. */
  verify?: Record<string, unknown>;
}

export interface SourceStats {
  error: number;
  lastReceivedAt: string | null;
  pending: number;
  rejected: number;
  /** Empty for requests to unknown sources. */
  source: string;
  success: number;
}

export interface Spec {
  batch?: Batch;
  breakAfter?: number;
  breakFor?: string;
  breakRate?: number;
  breakWindow?: string;
  burst?: number;
  concurrency?: number;
  delay?: string;
  events?: string[] | null;
  filter?: string;
  final?: number[] | null;
  firstWait?: string;
  format?: string;
  headers?: Record<string, string>;
  key?: string;
  keyConcurrency?: number;
  keyRate?: number;
  kind?: string;
  lease?: string;
  longestWait?: string;
  maxAttempts?: number;
  name: string;
  oauth?: OAuth;
  order?: string;
  orderBy?: string;
  rate?: number;
  secrets?: string[] | null;
  signatureHeader?: string;
  timeout?: string;
  tls?: TLS;
  topic?: string;
  transform?: string;
  transformJs?: string;
  url?: string;
}

export interface Started {
  deliveries: string[];
}

export interface Stats {
  deliveries: Queue;
  since: string | null;
  sources: SourceStats[];
}

export interface Step {
  attempt: number;
  cost: number;
  /** Who decided an approval. */
  decider: string | null;
  description: string | null;
  /** The deadline, or the time of the next attempt. */
  dueAt: string | null;
  error: string | null;
  /** The event that ended the wait. */
  eventId: string | null;
  /** From 0; null for the step itself. */
  item: number | null;
  /** The items of a step with for_each. */
  items: StepState[];
  jobId: string | null;
  /** Empty if the definition cannot be read. */
  kind: "submit" | "wait_for" | "http" | "approve" | "emit" | "";
  name: string;
  /** The steps that it lists as needed, and those that its expressions name. */
  needs: string[];
  settledAt: string | null;
  startedAt: string | null;
  status: "pending" | "queued" | "running" | "waiting" | "retrying" | "completed" | "failed" | "skipped" | "cancelled" | "";
}

export interface StepDetail {
  attempt: number;
  cost: number;
  /** Who decided an approval. */
  decider: string | null;
  /** The deadline, or the time of the next attempt. */
  dueAt: string | null;
  error: string | null;
  /** The event that ended the wait. */
  eventId: string | null;
  /** The input of the step. */
  input: unknown;
  /** From 0; null for the step itself. */
  item: number | null;
  jobId: string | null;
  result: unknown;
  settledAt: string | null;
  startedAt: string | null;
  status: "pending" | "queued" | "running" | "waiting" | "retrying" | "completed" | "failed" | "skipped" | "cancelled" | "";
}

export interface StepDetailList {
  docs: StepDetail[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface StepState {
  attempt: number;
  cost: number;
  /** Who decided an approval. */
  decider: string | null;
  /** The deadline, or the time of the next attempt. */
  dueAt: string | null;
  error: string | null;
  /** The event that ended the wait. */
  eventId: string | null;
  /** From 0; null for the step itself. */
  item: number | null;
  jobId: string | null;
  settledAt: string | null;
  startedAt: string | null;
  status: "pending" | "queued" | "running" | "waiting" | "retrying" | "completed" | "failed" | "skipped" | "cancelled" | "";
}

export interface Subscribe {
  /** source:type with *, as of destinations. */
  events?: string[] | null;
  /** A CEL condition, as of destinations. */
  filter?: string;
  /** Where a new subscription starts: now, beginning, or after an event's id. A known one continues where it was. */
  from?: string;
  name: string;
}

export interface Subscribed {
  created: boolean;
  createdAt: string | null;
  /** The last acknowledged event. */
  cursor: string | null;
  events: string[];
  filter: string | null;
  name: string;
  /** A subscription that is not used for 30 days is removed. */
  seenAt: string | null;
}

export interface Subscription {
  createdAt: string | null;
  /** The last acknowledged event. */
  cursor: string | null;
  events: string[];
  filter: string | null;
  name: string;
  /** A subscription that is not used for 30 days is removed. */
  seenAt: string | null;
}

export interface SubscriptionList {
  docs: Subscription[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface TLS {
  ca?: string;
  cert?: string;
  key?: string;
}

export interface TokenRequest {
  /** How long it lasts, 1s to 24h; 15m if empty. */
  expiresIn?: string;
  /** This job and its files. */
  jobId?: string;
  /** The jobs, files and runs of this project. */
  projectId?: string;
  /** This run. */
  runId?: string;
}

export interface Totals {
  /** The latency from an event's receipt to the success of a delivery; of one handler, the run time of its attempts. */
  done: Percentiles | null;
  /** Attempts. */
  failed: number;
  /** Events by source. */
  received: Record<string, number>;
  rejected: number;
  /** The response time of webhooks; null without webhooks. */
  reply: Percentiles | null;
  /** Attempts. */
  succeeded: number;
}

export interface Verification {
  dialect: string | null;
  /** A fingerprint of the key that matched. */
  keyId: string | null;
  scheme: string;
  subject: string | null;
}

export interface Violation {
  /** The number of problems that are left out. */
  more: number;
  /** At most 20, sorted by path. */
  problems: Problem[];
  /** The event type that the schema is for, or *. */
  schema: string;
}

export interface WebhookLog {
  createdAt: string | null;
  /** The body as JSON, numbers as sent. */
  data: unknown;
  /** The last failure, unless a success followed. */
  error: string | null;
  id: string;
  /** Null until it was processed once. */
  processedAt: string | null;
  receivedAt: string | null;
  retryCount: number;
  source: string;
  status: "pending" | "success" | "error";
  type: string;
  /** No handler was registered for it. */
  unhandled: boolean;
  updatedAt: string | null;
  /** The sender's id of the event; the event's own id if the sender gave none. */
  webhookId: string;
}

export interface WebhookLogCount {
  totalDocs: number;
  /** Only the newest 50,000 events were looked at, and there are older ones. */
  totalDocsCapped?: boolean;
}

export interface WebhookLogError {
  error: string;
  errors: PayloadError[];
}

export interface WebhookLogFailed {
  error: string;
  reason: string;
}

export interface WebhookLogRetried {
  success: boolean;
}

export interface WebhookLogRetry {
  /** The id of the log: evt_… */
  webhookLogId: string;
}

export interface WebhookLogs {
  docs: WebhookLog[];
  hasNextPage: boolean;
  hasPrevPage: boolean;
  limit: number;
  nextPage: number | null;
  page: number;
  pagingCounter: number;
  prevPage: number | null;
  totalDocs: number;
  /** There are more than totalDocs: they are counted up to 100,000, and pages end there. Or a condition looked at the newest 50,000 events, and there are older ones. */
  totalDocsCapped?: boolean;
  totalPages: number;
}

export interface Workflow {
  description: string | null;
  /** Why a workflow of the API cannot be used; null if it can. */
  fault: string | null;
  /** The API has a workflow of this name, too, and the file hides it. */
  hidden: boolean;
  name: string;
  /** file: of the folder of workflows; api: written by API or console. */
  origin: "file" | "api";
  /** Of the text that was written by the API; 0 without one. It grows with each change. */
  revision: number;
  /** The number of runs, by status. */
  runs: Record<string, number>;
  /** When the revision was written. */
  updatedAt: string | null;
  /** Who wrote the revision. */
  updatedBy: string | null;
  /** The hash of the definition; empty if it cannot be used. */
  version: string;
}

export interface WorkflowCheck {
  /** The workflow that the text is for; left out for a new one. */
  name?: string;
  /** The workflow in YAML, as in a file. */
  text: string;
}

export interface WorkflowChecked {
  /** By line. */
  faults: WorkflowFault[];
  /** Null if the text has faults. */
  name: string | null;
  /** What a run does; empty if the text has faults. */
  steps: WorkflowStep[];
  valid: boolean;
}

export interface WorkflowDetail {
  /** The file's content as JSON; null if it cannot be used. */
  definition: unknown;
  description: string | null;
  /** Why a workflow of the API cannot be used; null if it can. */
  fault: string | null;
  /** The API has a workflow of this name, too, and the file hides it. */
  hidden: boolean;
  name: string;
  /** file: of the folder of workflows; api: written by API or console. */
  origin: "file" | "api";
  /** Of the text that was written by the API; 0 without one. It grows with each change. */
  revision: number;
  /** The number of runs, by status. */
  runs: Record<string, number>;
  /** The text that was written by the API, in YAML; null without one. */
  text: string | null;
  /** When the revision was written. */
  updatedAt: string | null;
  /** Who wrote the revision. */
  updatedBy: string | null;
  /** The hash of the definition; empty if it cannot be used. */
  version: string;
}

export interface WorkflowFault {
  /** From 1; 0 if unknown. */
  column: number;
  /** What to do about it; may be null. */
  hint: string | null;
  /** From 1; 0 if unknown. */
  line: number;
  path: string | null;
  problem: string | null;
}

export interface WorkflowList {
  docs: Workflow[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface WorkflowRevert {
  /** The newest revision that was read: 409 if another one is stored now. Left out: not compared. */
  revision?: number;
  /** The revision whose text is written as a new revision. */
  to: number;
}

export interface WorkflowRevision {
  at: string | null;
  /** Who wrote it. */
  by: string | null;
  revision: number;
  /** In YAML. */
  text: string;
}

export interface WorkflowRevisionList {
  docs: WorkflowRevision[];
  /** The cursor of the next page; null on the last page. */
  nextCursor: string | null;
}

export interface WorkflowStep {
  description: string | null;
  kind: "submit" | "wait_for" | "http" | "approve" | "emit";
  name: string;
  /** The steps that it lists as needed, and those that its expressions name. */
  needs: string[];
}

export interface WorkflowText {
  /** The workflow in YAML, as in a file. */
  text: string;
}

export interface WorkflowUpdate {
  /** The revision that was read: 409 if another one is stored now. Left out: not compared. */
  revision?: number;
  /** The workflow in YAML, as in a file. */
  text: string;
}

/** The operations of the API by operationId: query, body and answer of each. */
export interface Operations {
  /** Acknowledge deliveries: they are done */
  "ack-pulled": { query: undefined; body: Leases; answer: EndedLeases };
  /** Acknowledge the events of a subscription up to a cursor */
  "ack-subscription": { query: undefined; body: Acknowledgement; answer: Subscription };
  /** Acknowledge an issue: its alert is not repeated */
  "acknowledge-issue": { query: undefined; body: undefined; answer: Issue };
  /** Make sources, destinations, budgets and workflows those of a document, or compare them */
  "apply-configuration": { query: undefined; body: ConfigurationRequest; answer: ConfigurationResult };
  /** Submit a job that a budget holds, beyond its limit */
  "approve-job": { query: undefined; body: HoldBody | undefined; answer: JobDetail };
  /** Poll the provider for a job now */
  "ask-job": { query: undefined; body: undefined; answer: JobDetail };
  /** Cancel a delivery that is not done */
  "cancel-delivery": { query: undefined; body: undefined; answer: Delivery };
  /** Cancel a job, also at the provider */
  "cancel-job": { query: undefined; body: undefined; answer: JobDetail };
  /** Cancel a replay: no more events are queued */
  "cancel-replay": { query: undefined; body: undefined; answer: Replay };
  /** Cancel a run, and its jobs at their providers */
  "cancel-run": { query: undefined; body: undefined; answer: Run };
  /** Cancel a scheduled event */
  "cancel-scheduled-event": { query: undefined; body: undefined; answer: ScheduledEvent };
  /** Change the time, type or data of a scheduled event */
  "change-scheduled-event": { query: undefined; body: ScheduleChange; answer: ScheduledEvent };
  /** Check the text of a workflow without storing it: its faults, or its steps */
  "check-workflow": { query: undefined; body: WorkflowCheck; answer: WorkflowChecked };
  /** Give the free space of the database back, and remove deleted rows from it */
  "compact": { query: undefined; body: CompactInputBody; answer: Compacted };
  /** Count webhook logs, as Payload CMS does */
  "count-webhook-logs": { query: undefined; body: undefined; answer: WebhookLogCount };
  /** Forward events to a URL, a broker or clients that pull */
  "create-destination": { query: undefined; body: Spec; answer: NewSecretDestination };
  /** Create an API key; only this answer has its secret */
  "create-key": { query: undefined; body: KeyRequest; answer: CreatedKey };
  /** Create a link that logs a browser in to the console once, with the role of the caller */
  "create-login-link": { query: undefined; body: undefined; answer: LoginLink };
  /** Create a source from a preset or a description, and get its URL and secret */
  "create-source": { query: undefined; body: SourceSpec; answer: NewSecretSource };
  /** Create a short-lived token for a browser, which may read one project, job or run */
  "create-token": { query: undefined; body: TokenRequest; answer: BrowserToken };
  /** Write a workflow; a file of the same name would hide it */
  "create-workflow": { query: undefined; body: WorkflowText; answer: WorkflowDetail };
  /** Approve or reject a waiting step */
  "decide-run": { query: undefined; body: Decision; answer: Run };
  /** Delete a budget */
  "delete-budget": { query: undefined; body: undefined; answer: undefined };
  /** Delete a destination and cancel its deliveries */
  "delete-destination": { query: undefined; body: undefined; answer: undefined };
  /** Delete a source that was created by the API; its events stay */
  "delete-source": { query: undefined; body: undefined; answer: undefined };
  /** Delete a workflow that was written by the API, with its revisions; its runs go on */
  "delete-workflow": { query: undefined; body: undefined; answer: undefined };
  /** Log a browser out */
  "end-session": { query: undefined; body: undefined; answer: undefined };
  /** Erase everything of a user, a project, a job or an event, or a file */
  "erase": { query: undefined; body: ErasureRequest; answer: Erasure };
  /** Erase an event, and what gaff emitted because of it */
  "erase-event": { query: { dryRun?: boolean; cancel?: boolean }; body: undefined; answer: Erasure };
  /** Erase a job with its files and events */
  "erase-job": { query: { dryRun?: boolean; cancel?: boolean }; body: undefined; answer: Erasure };
  /** Delete a file and its copy; its job stays */
  "erase-media": { query: { dryRun?: boolean; cancel?: boolean }; body: undefined; answer: Erasure };
  /** Erase a project with its jobs, files, runs and events */
  "erase-project": { query: { dryRun?: boolean; cancel?: boolean }; body: undefined; answer: Erasure };
  /** Download the audit log as JSON Lines */
  "export-audit": { query: { since?: string; until?: string; actor?: string; action?: string; target?: string }; body: undefined; answer: undefined };
  /** Get all sources, destinations, budgets and workflows that were set by the API, secrets as references */
  "export-configuration": { query: undefined; body: undefined; answer: Configuration };
  /** Hold deliveries for longer */
  "extend-pulled": { query: undefined; body: Extension; answer: EndedLeases };
  /** Report deliveries that failed: another attempt follows, or they are dead */
  "fail-pulled": { query: undefined; body: Failure; answer: EndedLeases };
  /** Remove the key that the source's sender handed over */
  "forget-source-key": { query: undefined; body: undefined; answer: undefined };
  /** Get a budget */
  "get-budget": { query: undefined; body: undefined; answer: Budget };
  /** Get the progress of a bulk action */
  "get-bulk": { query: undefined; body: undefined; answer: Bulk };
  /** Sum what jobs cost, by project, user, model, provider, day, run or caller */
  "get-costs": { query: { by?: "project" | "user" | "model" | "provider" | "day" | "run" | "caller"; daily?: boolean; since?: string; until?: string; provider?: string; model?: string; projectId?: string; userId?: string }; body: undefined; answer: Costs };
  /** Sum what jobs cost, as CSV */
  "get-costs-csv": { query: { by?: string; daily?: string; since?: string; until?: string; provider?: string; model?: string; projectId?: string; userId?: string }; body: undefined; answer: undefined };
  /** Get a delivery with its attempts */
  "get-delivery": { query: undefined; body: undefined; answer: Delivery };
  /** Get a destination with its health and backlog */
  "get-destination": { query: undefined; body: undefined; answer: Destination };
  /** Get an event with its request, deliveries and attempts */
  "get-event": { query: undefined; body: undefined; answer: EventDetail };
  /** Download the exact bytes of a webhook's body */
  "get-event-body": { query: undefined; body: undefined; answer: undefined };
  /** Download an event as a test in Go or TypeScript, or as a script with curl */
  "get-event-test": { query: { lang?: "go" | "ts" | "curl" }; body: undefined; answer: undefined };
  /** Get the state of this node */
  "get-health": { query: undefined; body: undefined; answer: Health };
  /** Get an issue */
  "get-issue": { query: undefined; body: undefined; answer: Issue };
  /** Get a job with its result, input and log */
  "get-job": { query: undefined; body: undefined; answer: JobDetail };
  /** Count the jobs of a period by status, model and error, with the time to result */
  "get-job-stats": { query: { since?: string }; body: undefined; answer: JobStats };
  /** Get the caller, its role and its scope */
  "get-me": { query: undefined; body: undefined; answer: Me };
  /** Get a file's row */
  "get-media": { query: undefined; body: undefined; answer: Media };
  /** Download gaff's copy of a file; parts by Range */
  "get-media-file": { query: undefined; body: undefined; answer: undefined };
  /** Download a small picture of an image, as JPEG */
  "get-media-thumbnail": { query: undefined; body: undefined; answer: undefined };
  /** Download the copies of several files as one archive */
  "get-media-zip": { query: { id: string[] }; body: undefined; answer: undefined };
  /** Get a project; its jobs, media and runs are found by projectId */
  "get-project": { query: undefined; body: undefined; answer: Project };
  /** Get a rejected request */
  "get-rejection": { query: undefined; body: undefined; answer: Rejection };
  /** Get a replay and its progress */
  "get-replay": { query: undefined; body: undefined; answer: Replay };
  /** Get a run with its steps */
  "get-run": { query: undefined; body: undefined; answer: RunDetail };
  /** Get a step of a run and its items, with input and result */
  "get-run-step": { query: undefined; body: undefined; answer: StepDetailList };
  /** Get a scheduled event */
  "get-scheduled-event": { query: undefined; body: undefined; answer: ScheduledEvent };
  /** Count the secrets in the database by the keys that encrypt them */
  "get-secrets": { query: undefined; body: undefined; answer: Secrets };
  /** Get received, rejected and failed counts and latencies over time */
  "get-series": { query: { range?: "1h" | "6h" | "24h" | "7d" | "30d"; source?: string; handler?: string }; body: undefined; answer: Series };
  /** Get a source */
  "get-source": { query: undefined; body: undefined; answer: Source };
  /** Get the key that the source's sender handed over in a handshake */
  "get-source-key": { query: undefined; body: undefined; answer: SourceKey };
  /** Count events and open deliveries */
  "get-stats": { query: { since?: string }; body: undefined; answer: Stats };
  /** Get a webhook log, in the form of Payload CMS */
  "get-webhook-log": { query: undefined; body: undefined; answer: WebhookLog | Record<string, unknown> };
  /** Get a workflow with its definition */
  "get-workflow": { query: undefined; body: undefined; answer: WorkflowDetail };
  /** Ignore an issue, also if it fails again */
  "ignore-issue": { query: undefined; body: undefined; answer: Issue };
  /** Store documents of another application's webhook-logs collection as history, each once; nothing processes them */
  "import-webhook-logs": { query: undefined; body: LogImport; answer: LogImported };
  /** Give a file a permanent link, which needs no token; the same one each time until it is revoked */
  "link-media": { query: undefined; body: undefined; answer: Media };
  /** List the channels of alerts, by name */
  "list-alert-channels": { query: { limit?: number; cursor?: string }; body: undefined; answer: AlertChannelList };
  /** List alerts, the active ones first */
  "list-alerts": { query: { limit?: number; cursor?: string; active?: "true" | "false" }; body: undefined; answer: AlertList };
  /** List the audit log, newest first */
  "list-audit": { query: { limit?: number; cursor?: string; actor?: string; action?: string; target?: string; since?: string; until?: string }; body: undefined; answer: AuditEntryList };
  /** List budgets, by name, with what their period costs so far */
  "list-budgets": { query: undefined; body: undefined; answer: Budgets };
  /** Get the secrets that sign the webhooks passed on to jobs' callback URLs */
  "list-callback-secrets": { query: undefined; body: undefined; answer: CallbackSecrets };
  /** List deliveries, newest event first */
  "list-deliveries": { query: { limit?: number; cursor?: string; eventId?: string; source?: string; handler?: string; state?: "pending" | "running" | "retrying" | "succeeded" | "dead" | "canceled" }; body: undefined; answer: DeliveryList };
  /** List destinations, by name */
  "list-destinations": { query: { limit?: number; cursor?: string }; body: undefined; answer: DestinationList };
  /** List events, newest first */
  "list-events": { query: { limit?: number; cursor?: string; source?: string; type?: string; status?: "pending" | "success" | "error"; q?: string; since?: string; until?: string; webhookId?: string; jobId?: string; projectId?: string; conflict?: boolean; violation?: boolean; inner?: boolean }; body: undefined; answer: EventList };
  /** List issues: failures in groups, the one that failed last first */
  "list-issues": { query: { limit?: number; cursor?: string; state?: "open" | "acknowledged" | "resolved" | "ignored"; kind?: "delivery" | "rejection"; source?: string; destination?: string }; body: undefined; answer: IssueList };
  /** List jobs, newest first */
  "list-jobs": { query: { limit?: number; cursor?: string; provider?: string; projectId?: string; userId?: string; requestId?: string; status?: "queued" | "processing" | "completed" | "failed" | "cancelled"; model?: string; errorType?: string; since?: string; until?: string; submit?: "held"; q?: string }; body: undefined; answer: JobList };
  /** List API keys, newest first */
  "list-keys": { query: { limit?: number; cursor?: string }; body: undefined; answer: KeyList };
  /** List the limits of providers, models, projects and users, with their use on all nodes */
  "list-limits": { query: undefined; body: undefined; answer: Limits };
  /** List files, newest first */
  "list-media": { query: { limit?: number; cursor?: string; projectId?: string; jobId?: string; mediaType?: "generated-image" | "generated-video" | "generated-audio" | "generated-model" | "generated-file"; storage?: "none" | "pending" | "stored" | "gone" | "failed"; model?: string; since?: string; until?: string }; body: undefined; answer: MediaList };
  /** List projects, newest first */
  "list-projects": { query: { limit?: number; cursor?: string }; body: undefined; answer: ProjectList };
  /** List rejected requests, newest first */
  "list-rejections": { query: { limit?: number; cursor?: string; source?: string; q?: string; since?: string; until?: string }; body: undefined; answer: RejectionList };
  /** List replays, newest first */
  "list-replays": { query: { limit?: number; cursor?: string }; body: undefined; answer: ReplayList };
  /** List runs, newest first */
  "list-runs": { query: { limit?: number; cursor?: string; workflow?: string; projectId?: string; status?: "running" | "completed" | "failed" | "cancelled" }; body: undefined; answer: RunList };
  /** List the events that were published with a time of their own, newest first */
  "list-scheduled-events": { query: { limit?: number; cursor?: string; status?: "scheduled" | "published" | "canceled"; type?: string; projectId?: string }; body: undefined; answer: ScheduledEventList };
  /** List the browsers that are logged in to the console */
  "list-sessions": { query: { limit?: number; cursor?: string }; body: undefined; answer: SessionList };
  /** List the settings in force; secrets are masked */
  "list-settings": { query: { limit?: number; cursor?: string }; body: undefined; answer: SettingList };
  /** List the keys of gaff's own that sign links, webhook URLs and callbacks */
  "list-signing-keys": { query: undefined; body: undefined; answer: SigningKeys };
  /** List the sources that have received nothing for longer than usual */
  "list-silent-sources": { query: { limit?: number; cursor?: string }; body: undefined; answer: SilenceList };
  /** List the sources */
  "list-sources": { query: { limit?: number; cursor?: string }; body: undefined; answer: SourceList };
  /** List the subscriptions to the log of events */
  "list-subscriptions": { query: { limit?: number; cursor?: string }; body: undefined; answer: SubscriptionList };
  /** List webhook logs, in the form of Payload CMS */
  "list-webhook-logs": { query: { source?: string; status?: "pending" | "success" | "error"; type?: string; limit?: number; page?: number; sort?: string }; body: undefined; answer: WebhookLogs | SelectedWebhookLogs };
  /** List the revisions of a workflow that was written by the API, newest first; the last 20 are stored */
  "list-workflow-revisions": { query: undefined; body: undefined; answer: WorkflowRevisionList };
  /** List the workflows, by name; all on one page */
  "list-workflows": { query: { limit?: number; cursor?: string }; body: undefined; answer: WorkflowList };
  /** Get the next events of a subscription, headers and signatures as received */
  "listen": { query: { after?: string; limit?: number; wait?: string; format?: "original" | "envelope" }; body: undefined; answer: HeardList };
  /** Accept the key that the source's next handshake brings, for a while */
  "open-source-key": { query: undefined; body: SourceKeyRequest; answer: SourceKeyOpened };
  /** Pause a destination; its deliveries are queued */
  "pause-destination": { query: undefined; body: Pause | undefined; answer: Destination };
  /** Pause a source: senders are answered 503, so that they come again */
  "pause-source": { query: undefined; body: Pause | undefined; answer: Source };
  /** Show what a filter and a transformation make of stored events; nothing is sent */
  "preview-destination": { query: undefined; body: PreviewRequest; answer: Previews };
  /** Publish an event of your application, or a list of events, now or at a later time */
  "publish-events": { query: undefined; body: PublishEvent | PublishEvent[]; answer: Published | PublishedList };
  /** Fetch deliveries of a destination of kind pull, to be acknowledged */
  "pull": { query: undefined; body: Pull; answer: PulledList };
  /** Register a job that your application submits itself */
  "register-job": { query: undefined; body: JobRegistration; answer: JobDetail };
  /** End a job that a budget holds as failed */
  "reject-job": { query: undefined; body: HoldBody | undefined; answer: JobDetail };
  /** Give deliveries back: due again at once, and no attempt counts */
  "release-pulled": { query: undefined; body: Leases; answer: EndedLeases };
  /** Read the configuration again: secrets, verifiers and limits of the sources */
  "reload-sources": { query: undefined; body: undefined; answer: Reloaded };
  /** Open an issue again */
  "reopen-issue": { query: undefined; body: undefined; answer: Issue };
  /** Process an event again by all its handlers */
  "replay-event": { query: undefined; body: undefined; answer: Started };
  /** Verify a rejected request again, by the source as it is now and at its own time, and store it if it is authentic */
  "rescue-rejection": { query: undefined; body: undefined; answer: Rescued };
  /** Resolve an issue; the next failure opens it again */
  "resolve-issue": { query: undefined; body: undefined; answer: Issue };
  /** Resume a destination; an open circuit is closed */
  "resume-destination": { query: undefined; body: undefined; answer: Destination };
  /** Resume a paused source */
  "resume-source": { query: undefined; body: undefined; answer: Source };
  /** Retry a dead or canceled delivery */
  "retry-delivery": { query: undefined; body: undefined; answer: Started };
  /** Retry the dead deliveries of an event */
  "retry-event": { query: undefined; body: undefined; answer: Started };
  /** Retry all dead deliveries of an issue, or rescue its rejected requests, as a bulk action */
  "retry-issue": { query: undefined; body: undefined; answer: Bulk };
  /** Copy a file that has no copy */
  "retry-media": { query: undefined; body: undefined; answer: Media };
  /** Retry a failed run, from a step, or for one item of it */
  "retry-run": { query: undefined; body: RunRetry; answer: Run };
  /** Retry a failed webhook now, and wait for the outcome */
  "retry-webhook-log": { query: undefined; body: WebhookLogRetry; answer: WebhookLogRetried };
  /** Write the text of an older revision as a new one */
  "revert-workflow": { query: undefined; body: WorkflowRevert; answer: WorkflowDetail };
  /** Revoke an API key, and end the sessions that it opened */
  "revoke-key": { query: { made?: boolean }; body: undefined; answer: undefined };
  /** Sign with a new secret, and for now also with the previous one */
  "rotate-destination-secret": { query: undefined; body: Rotation | undefined; answer: NewSecretDestination };
  /** Read the keys again, and encrypt the secrets in the database with the first one */
  "rotate-secrets": { query: undefined; body: undefined; answer: Secrets };
  /** Sign with a new key; the former ones are still accepted */
  "rotate-signing-key": { query: undefined; body: KeyRotation; answer: SigningKey };
  /** Replace the secret of a source; the former one is accepted for a while */
  "rotate-source-secret": { query: undefined; body: SourceRotation | undefined; answer: NewSecretSource };
  /** Create or replace a budget: what jobs may cost a day or month */
  "save-budget": { query: undefined; body: BudgetBody; answer: Budget };
  /** Create a project, or set its name, owner and metadata */
  "save-project": { query: undefined; body: ProjectUpdate; answer: Project };
  /** Find what a text names: ids of any age, names, and jobs by model and prompt */
  "search": { query: { q: string; limit?: number; cursor?: string }; body: undefined; answer: SearchHitList };
  /** Retry or replay all matching events, or rescue all matching requests, or count them first */
  "start-bulk": { query: undefined; body: BulkRequest; answer: Bulk };
  /** Send stored events again, to a destination or a URL, or count them first */
  "start-replay": { query: undefined; body: ReplayRequest; answer: Replay };
  /** Start a run of a workflow */
  "start-run": { query: undefined; body: RunStart; answer: Run };
  /** Stop a bulk action; finished items stay finished */
  "stop-bulk": { query: undefined; body: undefined; answer: Bulk };
  /** Server-sent events: every change of an event, job, file or run */
  "stream-changes": { query: { kinds?: string; source?: string; jobId?: string; inner?: boolean; lastEventId?: string }; body: undefined; answer: undefined };
  /** Server-sent events: deliveries of a destination of kind pull */
  "stream-pulled": { query: { destination: string; lease?: string; max?: number }; body: undefined; answer: undefined };
  /** Submit a job to a provider, with gaff's webhook URL */
  "submit-job": { query: undefined; body: JobSubmission; answer: JobDetail };
  /** Subscribe to the log of events, with a position of one's own */
  "subscribe": { query: undefined; body: Subscribe; answer: Subscribed };
  /** Send a test message by the channels of alerts now, and return the outcome */
  "test-alerts": { query: undefined; body: AlertTest; answer: AlertTests };
  /** Send a "gaff:test" event to a destination now, and return its response */
  "test-destination": { query: undefined; body: undefined; answer: Exchange };
  /** Send a signed sample to a source, as its sender would */
  "test-source": { query: undefined; body: SampleRequest; answer: SampleSent };
  /** Revoke a file's permanent link */
  "unlink-media": { query: undefined; body: undefined; answer: Media };
  /** Delete a subscription */
  "unsubscribe": { query: undefined; body: undefined; answer: undefined };
  /** Change fields of a destination (JSON merge patch) */
  "update-destination": { query: undefined; body: Record<string, unknown>; answer: Destination };
  /** Change fields of a source that was created by the API (JSON merge patch) */
  "update-source": { query: undefined; body: Record<string, unknown>; answer: Source };
  /** Write a new revision of a workflow; runs keep the revision that they started with */
  "update-workflow": { query: undefined; body: WorkflowUpdate; answer: WorkflowDetail };
}

/** The method and path of each operation. */
export const operations: { readonly [Id in keyof Operations]: readonly [method: string, path: string] } = {
  "ack-pulled": ["POST", "/api/v1/pull/ack"],
  "ack-subscription": ["POST", "/api/v1/subscriptions/{name}/ack"],
  "acknowledge-issue": ["POST", "/api/v1/issues/{id}/acknowledge"],
  "apply-configuration": ["POST", "/api/v1/configuration"],
  "approve-job": ["POST", "/api/v1/jobs/{id}/approve"],
  "ask-job": ["POST", "/api/v1/jobs/{id}/ask"],
  "cancel-delivery": ["POST", "/api/v1/deliveries/{id}/cancel"],
  "cancel-job": ["POST", "/api/v1/jobs/{id}/cancel"],
  "cancel-replay": ["DELETE", "/api/v1/replays/{id}"],
  "cancel-run": ["POST", "/api/v1/runs/{id}/cancel"],
  "cancel-scheduled-event": ["DELETE", "/api/v1/scheduled-events/{id}"],
  "change-scheduled-event": ["PATCH", "/api/v1/scheduled-events/{id}"],
  "check-workflow": ["POST", "/api/v1/workflows/check"],
  "compact": ["POST", "/api/v1/compact"],
  "count-webhook-logs": ["GET", "/api/v1/webhooks/manage/count"],
  "create-destination": ["POST", "/api/v1/destinations"],
  "create-key": ["POST", "/api/v1/keys"],
  "create-login-link": ["POST", "/api/v1/login-links"],
  "create-source": ["POST", "/api/v1/sources"],
  "create-token": ["POST", "/api/v1/tokens"],
  "create-workflow": ["POST", "/api/v1/workflows"],
  "decide-run": ["POST", "/api/v1/runs/{id}/approve"],
  "delete-budget": ["DELETE", "/api/v1/budgets/{name}"],
  "delete-destination": ["DELETE", "/api/v1/destinations/{name}"],
  "delete-source": ["DELETE", "/api/v1/sources/{name}"],
  "delete-workflow": ["DELETE", "/api/v1/workflows/{name}"],
  "end-session": ["DELETE", "/api/v1/sessions/{id}"],
  "erase": ["POST", "/api/v1/erasures"],
  "erase-event": ["DELETE", "/api/v1/events/{id}"],
  "erase-job": ["DELETE", "/api/v1/jobs/{id}"],
  "erase-media": ["DELETE", "/api/v1/media/{id}"],
  "erase-project": ["DELETE", "/api/v1/projects/{id}"],
  "export-audit": ["GET", "/api/v1/audit/export"],
  "export-configuration": ["GET", "/api/v1/configuration"],
  "extend-pulled": ["POST", "/api/v1/pull/extend"],
  "fail-pulled": ["POST", "/api/v1/pull/fail"],
  "forget-source-key": ["DELETE", "/api/v1/sources/{name}/key"],
  "get-budget": ["GET", "/api/v1/budgets/{name}"],
  "get-bulk": ["GET", "/api/v1/bulk/{id}"],
  "get-costs": ["GET", "/api/v1/costs"],
  "get-costs-csv": ["GET", "/api/v1/costs.csv"],
  "get-delivery": ["GET", "/api/v1/deliveries/{id}"],
  "get-destination": ["GET", "/api/v1/destinations/{name}"],
  "get-event": ["GET", "/api/v1/events/{id}"],
  "get-event-body": ["GET", "/api/v1/events/{id}/body"],
  "get-event-test": ["GET", "/api/v1/events/{id}/test"],
  "get-health": ["GET", "/api/v1/health"],
  "get-issue": ["GET", "/api/v1/issues/{id}"],
  "get-job": ["GET", "/api/v1/jobs/{id}"],
  "get-job-stats": ["GET", "/api/v1/stats/jobs"],
  "get-me": ["GET", "/api/v1/me"],
  "get-media": ["GET", "/api/v1/media/{id}"],
  "get-media-file": ["GET", "/api/v1/media/{id}/file"],
  "get-media-thumbnail": ["GET", "/api/v1/media/{id}/thumbnail"],
  "get-media-zip": ["GET", "/api/v1/media.zip"],
  "get-project": ["GET", "/api/v1/projects/{id}"],
  "get-rejection": ["GET", "/api/v1/rejections/{id}"],
  "get-replay": ["GET", "/api/v1/replays/{id}"],
  "get-run": ["GET", "/api/v1/runs/{id}"],
  "get-run-step": ["GET", "/api/v1/runs/{id}/steps/{step}"],
  "get-scheduled-event": ["GET", "/api/v1/scheduled-events/{id}"],
  "get-secrets": ["GET", "/api/v1/secrets"],
  "get-series": ["GET", "/api/v1/stats/series"],
  "get-source": ["GET", "/api/v1/sources/{name}"],
  "get-source-key": ["GET", "/api/v1/sources/{name}/key"],
  "get-stats": ["GET", "/api/v1/stats"],
  "get-webhook-log": ["GET", "/api/v1/webhooks/manage/{id}"],
  "get-workflow": ["GET", "/api/v1/workflows/{name}"],
  "ignore-issue": ["POST", "/api/v1/issues/{id}/ignore"],
  "import-webhook-logs": ["POST", "/api/v1/imports/webhook-logs"],
  "link-media": ["POST", "/api/v1/media/{id}/link"],
  "list-alert-channels": ["GET", "/api/v1/alert-channels"],
  "list-alerts": ["GET", "/api/v1/alerts"],
  "list-audit": ["GET", "/api/v1/audit"],
  "list-budgets": ["GET", "/api/v1/budgets"],
  "list-callback-secrets": ["GET", "/api/v1/callback-secrets"],
  "list-deliveries": ["GET", "/api/v1/deliveries"],
  "list-destinations": ["GET", "/api/v1/destinations"],
  "list-events": ["GET", "/api/v1/events"],
  "list-issues": ["GET", "/api/v1/issues"],
  "list-jobs": ["GET", "/api/v1/jobs"],
  "list-keys": ["GET", "/api/v1/keys"],
  "list-limits": ["GET", "/api/v1/limits"],
  "list-media": ["GET", "/api/v1/media"],
  "list-projects": ["GET", "/api/v1/projects"],
  "list-rejections": ["GET", "/api/v1/rejections"],
  "list-replays": ["GET", "/api/v1/replays"],
  "list-runs": ["GET", "/api/v1/runs"],
  "list-scheduled-events": ["GET", "/api/v1/scheduled-events"],
  "list-sessions": ["GET", "/api/v1/sessions"],
  "list-settings": ["GET", "/api/v1/settings"],
  "list-signing-keys": ["GET", "/api/v1/signing-keys"],
  "list-silent-sources": ["GET", "/api/v1/stats/silence"],
  "list-sources": ["GET", "/api/v1/sources"],
  "list-subscriptions": ["GET", "/api/v1/subscriptions"],
  "list-webhook-logs": ["GET", "/api/v1/webhooks/manage"],
  "list-workflow-revisions": ["GET", "/api/v1/workflows/{name}/revisions"],
  "list-workflows": ["GET", "/api/v1/workflows"],
  "listen": ["GET", "/api/v1/subscriptions/{name}/events"],
  "open-source-key": ["POST", "/api/v1/sources/{name}/key"],
  "pause-destination": ["POST", "/api/v1/destinations/{name}/pause"],
  "pause-source": ["POST", "/api/v1/sources/{name}/pause"],
  "preview-destination": ["POST", "/api/v1/destinations/preview"],
  "publish-events": ["POST", "/api/v1/events"],
  "pull": ["POST", "/api/v1/pull"],
  "register-job": ["PUT", "/api/v1/jobs/{id}"],
  "reject-job": ["POST", "/api/v1/jobs/{id}/reject"],
  "release-pulled": ["POST", "/api/v1/pull/release"],
  "reload-sources": ["POST", "/api/v1/sources/reload"],
  "reopen-issue": ["POST", "/api/v1/issues/{id}/reopen"],
  "replay-event": ["POST", "/api/v1/events/{id}/replay"],
  "rescue-rejection": ["POST", "/api/v1/rejections/{id}/rescue"],
  "resolve-issue": ["POST", "/api/v1/issues/{id}/resolve"],
  "resume-destination": ["POST", "/api/v1/destinations/{name}/resume"],
  "resume-source": ["POST", "/api/v1/sources/{name}/resume"],
  "retry-delivery": ["POST", "/api/v1/deliveries/{id}/retry"],
  "retry-event": ["POST", "/api/v1/events/{id}/retry"],
  "retry-issue": ["POST", "/api/v1/issues/{id}/retry"],
  "retry-media": ["POST", "/api/v1/media/{id}/retry"],
  "retry-run": ["POST", "/api/v1/runs/{id}/retry"],
  "retry-webhook-log": ["POST", "/api/v1/webhooks/manage"],
  "revert-workflow": ["POST", "/api/v1/workflows/{name}/revert"],
  "revoke-key": ["DELETE", "/api/v1/keys/{id}"],
  "rotate-destination-secret": ["POST", "/api/v1/destinations/{name}/rotate"],
  "rotate-secrets": ["POST", "/api/v1/secrets/rotate"],
  "rotate-signing-key": ["POST", "/api/v1/signing-keys/{name}/rotate"],
  "rotate-source-secret": ["POST", "/api/v1/sources/{name}/rotate"],
  "save-budget": ["PUT", "/api/v1/budgets/{name}"],
  "save-project": ["POST", "/api/v1/projects"],
  "search": ["GET", "/api/v1/search"],
  "start-bulk": ["POST", "/api/v1/bulk"],
  "start-replay": ["POST", "/api/v1/replays"],
  "start-run": ["POST", "/api/v1/runs"],
  "stop-bulk": ["DELETE", "/api/v1/bulk/{id}"],
  "stream-changes": ["GET", "/api/v1/stream"],
  "stream-pulled": ["GET", "/api/v1/pull/stream"],
  "submit-job": ["POST", "/api/v1/jobs"],
  "subscribe": ["POST", "/api/v1/subscriptions"],
  "test-alerts": ["POST", "/api/v1/alerts/test"],
  "test-destination": ["POST", "/api/v1/destinations/{name}/test"],
  "test-source": ["POST", "/api/v1/sources/{name}/test"],
  "unlink-media": ["DELETE", "/api/v1/media/{id}/link"],
  "unsubscribe": ["DELETE", "/api/v1/subscriptions/{name}"],
  "update-destination": ["PATCH", "/api/v1/destinations/{name}"],
  "update-source": ["PATCH", "/api/v1/sources/{name}"],
  "update-workflow": ["PUT", "/api/v1/workflows/{name}"],
};
