"""The JSON documents of gaff's HTTP API.

Generated from internal/api/openapi.yaml by go test ./internal/api -update. Do not edit.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Acknowledgement(TypedDict):
    cursor: str


class Alert(TypedDict):
    active: bool
    # What it is about: a destination, a source, an issue, a node.
    cause: str
    count: int
    # What else is known, as in the event.
    data: Any
    # Null while it is active.
    endedAt: str | None
    # The type of its event, such as disk.low.
    kind: str
    # When its last event was emitted.
    notifiedAt: str | None
    # When it was last observed.
    seenAt: str | None
    since: str | None
    title: str


class AlertChannel(TypedDict):
    # What it is, without secrets.
    about: str
    name: str


class AlertChannelList(TypedDict):
    docs: list[AlertChannel]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class AlertList(TypedDict):
    docs: list[Alert]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class AlertTest(TypedDict):
    # Only by this channel; all by default.
    channel: NotRequired[str]


class AlertTested(TypedDict):
    channel: str
    error: str | None
    ok: bool


class AlertTests(TypedDict):
    # All channels took the message.
    ok: bool
    results: list[AlertTested]


class Amount(TypedDict):
    # A decimal number.
    amount: str
    currency: str


class Archive(TypedDict):
    # When the last file was written.
    at: str | None
    # The last event that was archived, or left out because it is not selected.
    cursor: str | None
    events: int
    files: int
    lastFile: str | None


class Attempt(TypedDict):
    # How it differs from the attempt before, empty if it does not; null for the first one. Times, signatures and other values that always differ are left out.
    changes: list[Change] | None
    # More about it, such as the stack of a panic, or the response of a destination.
    detail: str | None
    durationMs: float
    error: str | None
    # From 1.
    number: int
    outcome: Literal["succeeded"] | Literal["failed"] | Literal["discarded"] | Literal["panicked"] | Literal["timed_out"] | Literal["snoozed"] | Literal["lost"] | Literal["superseded"]
    startedAt: str | None


AuditEntry = TypedDict(
    "AuditEntry",
    {
        "action": "str",
        "actor": "str",
        "address": "str",
        "as": "str | None",
        "at": "str | None",
        "detail": "Any",
        "id": "str",
        "keyId": "str | None",
        "role": "Literal[\"none\"] | Literal[\"viewer\"] | Literal[\"operator\"] | Literal[\"admin\"]",
        "status": "int",
        "target": "str | None",
        "times": "int",
        "via": "Literal[\"token\"] | Literal[\"key\"] | Literal[\"session\"] | Literal[\"browser token\"]",
        "viaId": "str | None",
    },
)


class AuditEntryList(TypedDict):
    docs: list[AuditEntry]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class Backlog(TypedDict):
    dead: int
    # Those of them that wait for an earlier one of their key.
    held: int
    nextDue: str | None
    waiting: int


class Batch(TypedDict):
    format: NotRequired[str]
    size: int
    wait: NotRequired[str]


class BrowserToken(TypedDict):
    # It also ends with the credential that created it.
    expiresAt: str | None
    # Send it as Authorization: Bearer …. It is not stored.
    token: str


class Budget(TypedDict):
    action: Literal["refuse"] | Literal["hold"]
    caller: str | None
    createdAt: str | None
    currency: str
    # By how much spent exceeds the limit, because providers charged more than was estimated, or held jobs were approved; null if it does not.
    excess: str | None
    limit: str
    model: str | None
    name: str
    period: str
    projectId: str | None
    provider: str | None
    # When the current period began.
    since: str | None
    # What the period costs so far, with reservations.
    spent: str
    updatedAt: str | None
    userId: str | None
    warn: str | None


class BudgetBody(TypedDict):
    # For a submit that has no room: refuse it with 402 (if the member is missing), or hold the job until it is approved.
    action: NotRequired[Literal["refuse"] | Literal["hold"]]
    # The key that submits, as caller in costs.
    caller: NotRequired[str]
    # USD if it is missing.
    currency: NotRequired[str]
    # What the period may cost. A submit that would exceed it is answered 402.
    limit: str
    model: NotRequired[str]
    # In UTC.
    period: Literal["day"] | Literal["month"]
    projectId: NotRequired[str]
    provider: NotRequired[str]
    userId: NotRequired[str]
    # The amount from which gaff:budget.warning is emitted, once a period.
    warn: NotRequired[str]


class Budgets(TypedDict):
    docs: list[Budget]


class Bulk(TypedDict):
    action: str
    by: str
    done: int
    endedAt: str | None
    failed: int
    filter: BulkRequest
    # Dry runs have no id.
    id: NotRequired[str]
    lastError: str | None
    # How many events match.
    matches: int
    # More match than one bulk action takes: run it again afterwards.
    more: bool
    # There was nothing left to do for them.
    skipped: int
    startedAt: str | None
    state: Literal["counted"] | Literal["running"] | Literal["done"] | Literal["stopped"]
    # The same as matches.
    total: int


class BulkRequest(TypedDict):
    # retry: the failed deliveries of events in error; replay: all handlers again; rescue: the rejected requests of the source that are stored whole.
    action: Literal["retry"] | Literal["replay"] | Literal["rescue"]
    # Only count.
    dryRun: NotRequired[bool]
    # The dead deliveries (retry) or the rejected requests (rescue) of this issue, in place of other filters.
    issue: NotRequired[str]
    q: NotRequired[str]
    # As of GET /api/v1/events.
    since: NotRequired[str]
    source: NotRequired[str]
    status: NotRequired[Literal["pending"] | Literal["success"] | Literal["error"]]
    type: NotRequired[str]
    until: NotRequired[str]


class CallbackSecrets(TypedDict):
    # whsec_…; each of them signs (Standard Webhooks).
    secrets: list[str]


class Candidate(TypedDict):
    # A CEL expression that builds the model's input from the variable input; without it the model gets the job's input.
    input: NotRequired[str]
    model: str
    provider: str
    # A CEL expression that builds the job's result from the variable result.
    result: NotRequired[str]


Change = TypedDict(
    "Change",
    {
        "field": "str",
        "from": "str | None",
        "to": "str | None",
    },
)


class Charge(TypedDict):
    # A decimal number.
    amount: str
    # An ISO code, or the provider's unit if no price of it is known.
    currency: str
    # reserved: the estimate of a job that has not ended; estimated: from a price table; billed: the provider's own figure, times the price of its unit.
    state: Literal["reserved"] | Literal["estimated"] | Literal["billed"]


class CompactInputBody(TypedDict):
    # Also compact a large database. Webhooks are answered 503 meanwhile, and their senders retry.
    full: NotRequired[bool]


class Compacted(TypedDict):
    after: int
    # The size of the database in bytes, with its write-ahead log.
    before: int
    # For people; null if there is nothing to say.
    note: str | None


class Configuration(TypedDict):
    # In the members of save-budget, by name.
    budgets: NotRequired[dict[str, dict[str, Any]]]
    # In the members of create-destination, by name.
    destinations: NotRequired[dict[str, dict[str, Any]]]
    # In the members of create-source, by name. Left out: not compared.
    sources: NotRequired[dict[str, dict[str, Any]]]
    # 1.
    version: int
    # In the members of create-workflow, by name.
    workflows: NotRequired[dict[str, dict[str, Any]]]


class ConfigurationChange(TypedDict):
    action: Literal["create"] | Literal["update"] | Literal["delete"]
    fields: NotRequired[list[ConfigurationField] | None]
    kind: Literal["source"] | Literal["destination"] | Literal["budget"] | Literal["workflow"]
    name: str


ConfigurationField = TypedDict(
    "ConfigurationField",
    {
        "from": "Any",
        "name": "str",
        "to": "Any",
    },
)


class ConfigurationRequest(TypedDict):
    configuration: Configuration
    # Only compare.
    dryRun: NotRequired[bool]
    # Delete objects that the document does not have, of the kinds that it has.
    prune: NotRequired[bool]
    # The values of references, by name. A reference without a value keeps the stored secret.
    secrets: NotRequired[dict[str, str]]


class ConfigurationResult(TypedDict):
    # False for a dry run.
    applied: bool
    changes: list[ConfigurationChange]


class Copy(TypedDict):
    # Null if the body is not UTF-8; bodyBase64 has it then.
    body: str | None
    bodyBase64: str | None
    headers: dict[str, list[str] | None]
    receivedAt: str | None


class CostSum(TypedDict):
    # For jobs that have ended.
    charged: str
    # Amounts of different currencies are never added.
    currency: str
    # With daily: the day, in UTC.
    day: NotRequired[str]
    # The part of charged that comes from price tables.
    estimated: str
    # Jobs with a charge.
    jobs: int
    # The project, user, model and so on; empty for jobs without one.
    key: str
    # Estimates for jobs that have not ended.
    reserved: str
    # Those jobs. Jobs counts them, too, with a charge of 0.
    reused: int
    # What jobs avoided that have the result of an earlier one.
    saved: str


class Costs(TypedDict):
    # The largest first, at most 1,000; with daily, these by day.
    docs: list[CostSum]
    # There are more sums than these, so these do not add up to the whole. GET /api/v1/costs.csv has all; a shorter period has fewer.
    more: bool


class CreatedKey(TypedDict):
    createdAt: str | None
    createdBy: str
    # The key that created it; null for the admin token.
    createdById: str | None
    # Null for a key that does not expire.
    expiresAt: str | None
    # The last characters of the secret.
    hint: str
    id: str
    # The secret. It is shown here once and not stored.
    key: str
    # To the minute; null if it was never used.
    lastUsedAt: str | None
    lastUsedFrom: str | None
    name: str
    # How many requests a second it may make; 0 for no limit.
    rate: int
    revokedAt: str | None
    role: Literal["viewer"] | Literal["operator"] | Literal["admin"]
    # What the key is limited to; null for everything that its role allows.
    scope: Scope | None
    state: Literal["active"] | Literal["expired"] | Literal["revoked"]


class Decision(TypedDict):
    approved: bool
    comment: NotRequired[str]
    # The item of a step with for_each.
    item: NotRequired[int]
    # May be left out if one step waits for a decision.
    step: NotRequired[str]


class Delivery(TypedDict):
    # How many attempts have ended.
    attempts: int
    createdAt: str | None
    error: str | None
    eventId: str
    finishedAt: str | None
    handler: str
    # An earlier delivery of its key is not done.
    held: bool
    id: str
    # Deliveries of one key are processed in order.
    key: str | None
    maxAttempts: int
    # When the next attempt is due; null while it is held.
    runAt: str | None
    source: str
    state: Literal["pending"] | Literal["running"] | Literal["retrying"] | Literal["succeeded"] | Literal["dead"] | Literal["canceled"]
    # The attempts that have ended; lists leave them out.
    tries: NotRequired[list[Attempt]]
    type: str
    updatedAt: str | None
    webhookId: str


class DeliveryList(TypedDict):
    docs: list[Delivery]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class Destination(TypedDict):
    # How far an archive is; null for other kinds.
    archive: Archive | None
    backlog: Backlog
    # Events that are sent in one request, or written to one file; null for one event a request.
    batch: DestinationBatch | None
    breakAfter: int
    breakFor: str
    # The share of failed attempts that opens the circuit; 0 for none.
    breakRate: float
    # The time of the attempts that count for breakRate.
    breakWindow: str
    burst: int
    concurrency: int
    # How long after its receipt an event is sent first.
    delay: str
    events: list[str]
    filter: str | None
    # The response statuses that make a delivery dead at once.
    final: list[int] | None
    firstWait: str
    format: Literal["envelope"] | Literal["original"] | Literal["cloudevents"] | Literal["cloudevents-binary"] | Literal["spec"]
    # Secrets are masked.
    headers: dict[str, str]
    health: DestinationHealth
    # The JSON pointer or CEL expression of the key, such as a tenant.
    key: str | None
    # Events of one key that are sent at once; 0 without a key.
    keyConcurrency: int
    # Requests per second of one key; 0 for no limit.
    keyRate: float
    kind: Literal["http"] | Literal["pull"] | Literal["queue"] | Literal["archive"]
    lease: str
    longestWait: str
    maxAttempts: int
    name: str
    # OAuth2 client credentials; null without.
    oauth: DestinationOAuth | None
    order: Literal["skip-dead"] | Literal["hold-dead"] | Literal["latest"] | None
    orderBy: str | None
    # A destination of the configuration is changed there.
    origin: Literal["config"] | Literal["api"]
    # Requests per second; 0 for no limit.
    rate: float
    # The last characters of the signing secrets.
    secrets: list[str]
    # The header with the HMAC-SHA-256 of the body in hex, if there is one.
    signatureHeader: str | None
    timeout: str
    # The client certificate; null without.
    tls: DestinationTLS | None
    topic: str | None
    # The CEL expression that makes the body.
    transform: str | None
    # The JavaScript that makes the body; empty without.
    transformJs: str | None
    updatedAt: str | None
    # A password in it is masked.
    url: str | None


class DestinationBatch(TypedDict):
    format: Literal["array"] | Literal["lines"]
    # The most events.
    size: int
    # How long the first one waits for others.
    wait: str


class DestinationHealth(TypedDict):
    # The circuit breaker of this node.
    circuit: Literal["closed"] | Literal["open"] | Literal["half-open"]
    # By this node, since it started.
    failed: int
    # Since the last success.
    failures: int
    lastError: str | None
    lastFailure: str | None
    lastSuccess: str | None
    # Why it is paused or disabled.
    reason: str | None
    # When it is tried again.
    retryAt: str | None
    # By this node, since it started.
    sent: int
    state: Literal["active"] | Literal["paused"] | Literal["disabled"]


class DestinationList(TypedDict):
    docs: list[Destination]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class DestinationOAuth(TypedDict):
    audience: str | None
    # How the client identifies itself.
    auth: Literal["header"] | Literal["body"]
    clientId: str | None
    scopes: list[str]
    # Viewers see its host.
    tokenUrl: str


class DestinationTLS(TypedDict):
    # Whether the receiver's certificate must be signed by authorities of the destination's own.
    ca: bool
    expiresAt: str | None
    # Null without a client certificate, or if its file cannot be read.
    subject: str | None


class Disk(TypedDict):
    freeBytes: int
    totalBytes: int


class EndedLease(TypedDict):
    # Such as an expired lease: another client may have the delivery.
    error: str | None
    lease: str
    ok: bool


class EndedLeases(TypedDict):
    leases: list[EndedLease]
    # Until when extended leases are held; other answers leave it out.
    until: NotRequired[str | None]


class Envelope(TypedDict):
    # The sender's body as JSON; for internal events gaff's own document.
    data: Any
    event: EnvelopeEvent
    # The event's id, evt_…; the same for every destination.
    id: str
    # The job that the event belongs to, as it is at this attempt.
    job: EnvelopeJob | None
    # The files of the job.
    media: list[EnvelopeMedia]
    # The sender, such as fal; gaff for internal events.
    source: str
    # When gaff received the event.
    timestamp: str
    # Such as generation.completed, or job.completed for an internal event.
    type: str


class EnvelopeEvent(TypedDict):
    # The sender's id of the job.
    correlationId: str | None
    # The sender's own time of the event.
    occurredAt: str | None
    # Of internal events: the event that caused it.
    parentId: str | None
    # Of events that were published through gaff: their project.
    projectId: str | None
    # The sender's id of the event.
    webhookId: str | None


class EnvelopeJob(TypedDict):
    createdAt: str | None
    # For people.
    error: str | None
    # For programs, such as content_policy_violation.
    errorType: str | None
    id: str
    kind: str | None
    metadata: Any
    model: str | None
    projectId: str | None
    provider: str
    # The provider's id of the job.
    requestId: str | None
    # As the provider sent it; null until the job is completed.
    result: Any
    settledAt: str | None
    # webhook or reconciliation; null until settled.
    settledBy: str | None
    status: Literal["queued"] | Literal["processing"] | Literal["completed"] | Literal["failed"] | Literal["cancelled"]
    submittedAt: str | None
    userId: str | None


class EnvelopeMedia(TypedDict):
    contentType: str | None
    id: str
    jobId: str
    # The permanent link of the poster, if it has one.
    linkPosterUrl: str | None
    # The permanent link to the small picture of an image.
    linkThumbnailUrl: str | None
    # A permanent link to gaff's copy, until it is revoked; null without one. It needs no token.
    linkUrl: str | None
    mediaType: Literal["generated-image"] | Literal["generated-video"] | Literal["generated-audio"] | Literal["generated-model"] | Literal["generated-file"]
    metadata: Any
    # A signed link to the picture that the provider sent beside the file, such as that of a video.
    posterUrl: str | None
    projectId: str | None
    sha256: str | None
    # Bytes.
    size: int | None
    # A signed link to gaff's copy; null until gaff:media.stored. It expires after a day: store the id, and read a fresh link from GET /api/v1/media/{id}, or store linkUrl.
    storedUrl: str | None
    # When storedUrl, thumbnailUrl and posterUrl expire.
    storedUrlExpiresAt: str | None
    # A signed link to a small picture of an image.
    thumbnailUrl: str | None
    # The provider's URL of the file; the provider deletes it some day.
    url: str


class Erasure(TypedDict):
    # What this means for backups, for people.
    backups: str | None
    dryRun: bool
    # Null in a dry run.
    erasedAt: str | None
    # With their deliveries, attempts, bodies and copies.
    events: int
    # Why copies are not deleted from storage yet. gaff repeats it every hour. Null if they are.
    filesPending: str | None
    # With their inputs, results and logs.
    jobs: int
    kind: Literal["user"] | Literal["project"] | Literal["job"] | Literal["event"] | Literal["media"]
    # Rows of files. A copy in storage is deleted unless a file of another job has the same content.
    media: int
    projects: int
    # Replaces the id in the audit log and in other rows that stay. It is the same each time.
    pseudonym: str
    # Rows that stay, in which the id is replaced, such as lines of the audit log; and jobs with the result of an erased one, whose id is removed.
    records: int
    rejections: int
    runs: int
    # They must be cancelled first.
    unfinishedJobs: int
    # They must be cancelled first.
    unfinishedRuns: int


class ErasureRequest(TypedDict):
    # First cancel jobs and runs that are not finished, at the provider too. Without it they are a conflict.
    cancel: NotRequired[bool]
    # Only count.
    dryRun: NotRequired[bool]
    eventId: NotRequired[str]
    jobId: NotRequired[str]
    # A file and its copy; its job stays.
    mediaId: NotRequired[str]
    # Everything of a project, and the project.
    projectId: NotRequired[str]
    # Everything of a user: jobs, runs, files, and the events and rejected requests that name the user.
    userId: NotRequired[str]


class ErrorDetail(TypedDict):
    # Where the error occurred, e.g. 'body.items[3].tags' or 'path.thing-id'
    location: NotRequired[str]
    # Error message text
    message: NotRequired[str]
    # The value at the given location
    value: NotRequired[Any]


class ErrorModel(TypedDict):
    # A human-readable explanation specific to this occurrence of the problem.
    detail: NotRequired[str]
    # Optional list of individual error details
    errors: NotRequired[list[ErrorDetail] | None]
    # What to do next.
    hint: NotRequired[str]
    # A URI reference that identifies the specific occurrence of the problem.
    instance: NotRequired[str]
    # HTTP status code
    status: NotRequired[int]
    # A short, human-readable summary of the problem type. This value should not change between occurrences of the error.
    title: NotRequired[str]
    # A URI reference to human-readable documentation for the error.
    type: NotRequired[str]


class ErrorStats(TypedDict):
    # The text of the latest one.
    example: str | None
    jobs: int
    # none: failed without a type. The value of errorType of GET /api/v1/jobs.
    type: str


class Event(TypedDict):
    # The same id was received again with a different body.
    conflict: bool
    correlationId: str | None
    # How many more times the same id was received.
    duplicates: int
    error: str | None
    id: str
    occurredAt: str | None
    parentId: str | None
    processedAt: str | None
    receivedAt: str | None
    retryCount: int
    source: str
    status: Literal["pending"] | Literal["success"] | Literal["error"]
    type: str
    # No handler was registered for it.
    unhandled: bool
    updatedAt: str | None
    # How many problems the data has by the JSON Schema of its source and type; 0 without a schema.
    violations: int
    # The sender's id of the event; the event's own id if the sender gave none.
    webhookId: str


class EventDetail(TypedDict):
    # The stored body differs from the received one, and is left out.
    bodyDamaged: bool
    # Ids of the events that this one's handlers emitted.
    children: list[str]
    # The same id was received again with a different body.
    conflict: bool
    # Later requests with the same id and a different body.
    copies: list[Copy]
    correlationId: str | None
    # The body as JSON, numbers as sent.
    data: Any
    deliveries: list[Delivery]
    # How many more times the same id was received.
    duplicates: int
    error: str | None
    id: str
    occurredAt: str | None
    parentId: str | None
    processedAt: str | None
    # Of events that were published through gaff: their project.
    projectId: str | None
    # How the sender was verified; null for internal events.
    proof: Verification | None
    receivedAt: str | None
    # Null for internal events.
    request: Request | None
    retryCount: int
    source: str
    status: Literal["pending"] | Literal["success"] | Literal["error"]
    type: str
    # No handler was registered for it.
    unhandled: bool
    updatedAt: str | None
    # How the data violates its JSON Schema; null if it does not, and once the body is removed.
    violation: Violation | None
    # How many problems the data has by the JSON Schema of its source and type; 0 without a schema.
    violations: int
    # The sender's id of the event; the event's own id if the sender gave none.
    webhookId: str


class EventList(TypedDict):
    docs: list[Event]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class Exchange(TypedDict):
    durationMs: float
    error: str | None
    ok: bool
    request: Sent
    response: Received | None


class Extension(TypedDict):
    # How much longer, from now, such as 5m.
    lease: str
    leases: list[str]


class Failure(TypedDict):
    # Make no more attempts.
    dead: NotRequired[bool]
    # When the next attempt is due; empty for the destination's own schedule.
    delay: NotRequired[str]
    # The reason; it is stored with the attempt.
    error: NotRequired[str]
    leases: list[str]


class FormerSecret(TypedDict):
    # Its last characters.
    hint: str
    # Until when it is accepted.
    until: str | None


class Handler(TypedDict):
    name: str
    source: str
    type: str


class HandlerHealth(TypedDict):
    # Those whose time has come.
    due: int
    # Attempts in the last hour.
    failed: int
    handler: str
    # When the first of them became due.
    oldestDue: str | None
    # Deliveries that are not done. Of all handlers together, at most 100,000 are counted.
    pending: int
    # Attempts in the last hour, on all nodes.
    succeeded: int
    # The run time of the attempts that succeeded in the last hour; null without one.
    took: Percentiles | None


class Health(TypedDict):
    # The commit that the binary was built from; empty if unknown.
    commit: str
    # Events whose stored body was found damaged since the start.
    damagedBodies: int
    # Size of the database, without the write-ahead log; 0 if unknown.
    databaseBytes: int
    # The disk of the data folder; null if unknown.
    disk: Disk | None
    go: str
    goroutines: int
    # Handlers and destinations with open deliveries, or with attempts in the last hour; the most due first. Empty if the database did not answer in time.
    handlers: list[HandlerHealth]
    # The memory that the process has from the operating system.
    memoryBytes: int
    # The sources that reject every request, and why.
    quietSources: dict[str, str]
    # A webhook could be stored now.
    ready: bool
    # Why not.
    reason: str | None
    uptimeSeconds: int
    version: str


class Heard(TypedDict):
    envelope: Envelope | None
    id: str
    receivedAt: str | None
    request: OriginalRequest | None
    source: str
    type: str
    webhookId: str | None


class HeardList(TypedDict):
    # Acknowledge it when these events are processed.
    cursor: str | None
    events: list[Heard]
    # Events before these were removed from the log in the meantime.
    gone: bool


class HoldBody(TypedDict):
    # For the job's log.
    comment: NotRequired[str]


class Issue(TypedDict):
    # When its state was last changed; null if it was not.
    changedAt: str | None
    # Who changed it; null if gaff resolved it, as nothing was left to do.
    changedBy: str | None
    count: int
    # The handler or destination of dead deliveries; empty for rejections.
    destination: str
    # The newest error, without parts that may quote a payload.
    error: str
    firstAt: str | None
    id: str
    kind: Literal["delivery"] | Literal["rejection"]
    lastAt: str | None
    # The newest delivery or rejection.
    lastRef: str
    # It raises no alert: operational events were not delivered.
    muted: bool
    # firstAt, or the first failure after it was resolved.
    openedAt: str | None
    # Empty for requests to unknown sources.
    source: str
    # A resolved issue opens again at the next failure.
    state: Literal["open"] | Literal["acknowledged"] | Literal["resolved"] | Literal["ignored"]
    # The HTTP status that the receiver answered, or that the sender was answered; 0 without one.
    status: int
    title: str


class IssueList(TypedDict):
    docs: list[Issue]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class Job(TypedDict):
    # How often gaff polled the provider.
    asks: int
    # Which of its candidates the job is at, from 1; 0: it has one provider only.
    attempt: int
    # What it costs in money; null if that is not known.
    charge: Charge | None
    # What the provider billed, in its own units; null if it did not say.
    cost: str | None
    createdAt: str | None
    # For people.
    error: str | None
    # For programs, such as content_policy_violation.
    errorType: str | None
    # When the job should be done by that measure. The job is late if this time has passed.
    expectedAt: str | None
    # How long jobs of this model usually take, from submit to end. Null if that is not known yet, or the job has ended.
    expectedSeconds: float | None
    id: str
    idempotencyKey: str | None
    kind: str | None
    metadata: Any
    model: str | None
    # When gaff polls the provider, unless a webhook arrives first.
    nextAskAt: str | None
    # From -100 to 100. Of a provider's jobs that wait, the highest is submitted first.
    priority: int
    projectId: str | None
    provider: str
    # The provider's id of the job.
    requestId: str | None
    # As the provider sent it. Lists and the stream leave out a result of more than 64 KiB.
    result: Any
    # The length of the result in bytes; 0 if it has none.
    resultSize: int
    # The job whose result this one has, in place of work at the provider.
    reusedFrom: str | None
    runId: str | None
    # What the job of reusedFrom cost, in the currency of charge; null if that is not known.
    saved: str | None
    settledAt: str | None
    # webhook, reconciliation, submit (its answer held the result), or reuse (an earlier job had it); null until settled.
    settledBy: str | None
    status: Literal["queued"] | Literal["processing"] | Literal["completed"] | Literal["failed"] | Literal["cancelled"]
    stepId: str | None
    # The state of the submit: waiting, sending, accepted, unknown (the answer was lost; it is not repeated), refused or held (a budget has no room, and the job waits for an approval). Null if gaff did not submit the job.
    submit: str | None
    submittedAt: str | None
    updatedAt: str | None
    userId: str | None


class JobAttempt(TypedDict):
    attempt: int
    charge: Charge | None
    cost: str | None
    endedAt: str | None
    error: str | None
    errorType: str | None
    model: str | None
    provider: str
    requestId: str | None
    sentAt: str | None


class JobDetail(TypedDict):
    # The alias that was submitted in place of a provider and model.
    alias: str | None
    # How often gaff polled the provider.
    asks: int
    # Which of its candidates the job is at, from 1; 0: it has one provider only.
    attempt: int
    # The former attempts of a job with a fallback, oldest first.
    attempts: list[JobAttempt]
    # The URL that the provider's webhook is passed on to.
    callbackUrl: str | None
    cancelUrl: str | None
    # What it costs in money; null if that is not known.
    charge: Charge | None
    # What the provider billed, in its own units; null if it did not say.
    cost: str | None
    createdAt: str | None
    # For people.
    error: str | None
    # For programs, such as content_policy_violation.
    errorType: str | None
    # When the job should be done by that measure. The job is late if this time has passed.
    expectedAt: str | None
    # How long jobs of this model usually take, from submit to end. Null if that is not known yet, or the job has ended.
    expectedSeconds: float | None
    # The candidates that are used next, if this one fails.
    fallback: list[Candidate]
    id: str
    idempotencyKey: str | None
    # The input that the job was submitted with; null if it is not stored.
    input: Any
    kind: str | None
    # Calls to the provider and its answers, oldest first.
    log: list[LogEntry]
    metadata: Any
    model: str | None
    # When gaff polls the provider, unless a webhook arrives first.
    nextAskAt: str | None
    # The place, from 1, among the jobs of its provider that wait to be submitted, by priority and turn; 0 if it does not wait. A limit without room lets others go before.
    position: int
    # From -100 to 100. Of a provider's jobs that wait, the highest is submitted first.
    priority: int
    projectId: str | None
    provider: str
    # The provider's id of the job.
    requestId: str | None
    responseUrl: str | None
    # As the provider sent it. Lists and the stream leave out a result of more than 64 KiB.
    result: Any
    # The length of the result in bytes; 0 if it has none.
    resultSize: int
    # The job whose result this one has, in place of work at the provider.
    reusedFrom: str | None
    runId: str | None
    # What the job of reusedFrom cost, in the currency of charge; null if that is not known.
    saved: str | None
    settledAt: str | None
    # webhook, reconciliation, submit (its answer held the result), or reuse (an earlier job had it); null until settled.
    settledBy: str | None
    status: Literal["queued"] | Literal["processing"] | Literal["completed"] | Literal["failed"] | Literal["cancelled"]
    statusUrl: str | None
    stepId: str | None
    # The state of the submit: waiting, sending, accepted, unknown (the answer was lost; it is not repeated), refused or held (a budget has no room, and the job waits for an approval). Null if gaff did not submit the job.
    submit: str | None
    submittedAt: str | None
    # What the job costs with its former attempts, by currency.
    total: list[Amount]
    updatedAt: str | None
    userId: str | None
    # The URL for the provider's webhook. Null if this gateway has no URL that the provider can reach.
    webhookUrl: str | None


class JobList(TypedDict):
    docs: list[Job]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class JobRegistration(TypedDict):
    # Where the provider's webhook is passed on to, as it was received.
    callbackUrl: NotRequired[str]
    cancelUrl: NotRequired[str]
    kind: NotRequired[str]
    metadata: NotRequired[dict[str, Any]]
    model: NotRequired[str]
    projectId: NotRequired[str]
    # Required for a job that is not known yet.
    provider: NotRequired[str]
    # The provider's id of the job; can be set once.
    requestId: NotRequired[str]
    responseUrl: NotRequired[str]
    # The provider's URL for the job's status; this or the model is needed to poll the job.
    statusUrl: NotRequired[str]
    userId: NotRequired[str]


class JobStats(TypedDict):
    # queued, processing, completed, failed, cancelled.
    byStatus: dict[str, int]
    # The most frequent failures first, at most 50.
    errors: list[ErrorStats]
    jobs: int
    # Those with the most jobs first, at most 50.
    models: list[ModelStats]
    # Half of the jobs had their result after this time; null without one.
    p50Ms: int | None
    p95Ms: int | None
    since: str | None
    # The part of the finished jobs that completed, from 0 to 1; null if none has finished.
    success: float | None


class JobSubmission(TypedDict):
    # Where the provider's webhook is passed on to, as it was received.
    callbackUrl: NotRequired[str]
    # Used in their order, each if the former one rejected the job, or failed by the provider's own word; never after a submit whose outcome is unknown.
    fallback: NotRequired[list[Candidate] | None]
    # An id of your own for the job; no other job may have it.
    id: NotRequired[str]
    # A second request with the same key and token returns the first job, other members may differ.
    idempotencyKey: NotRequired[str]
    # The input of the model.
    input: NotRequired[dict[str, Any]]
    # image, video, audio or a name of your own.
    kind: NotRequired[str]
    # Your own; the job has it in every answer.
    metadata: NotRequired[dict[str, Any]]
    # The provider's name for the work (a model, a service), or an alias.
    model: NotRequired[str]
    # Of the provider's jobs that wait, the highest is submitted first; 0 if it is missing. The role operator may use up to 10.
    priority: NotRequired[int]
    projectId: NotRequired[str]
    # The name of the provider. Without it, model is an alias of models: in gaff.yaml.
    provider: NotRequired[str]
    # false: the provider does the work even if an earlier job has the result (reuse: in gaff.yaml).
    reuse: NotRequired[bool]
    userId: NotRequired[str]


class Key(TypedDict):
    createdAt: str | None
    createdBy: str
    # The key that created it; null for the admin token.
    createdById: str | None
    # Null for a key that does not expire.
    expiresAt: str | None
    # The last characters of the secret.
    hint: str
    id: str
    # To the minute; null if it was never used.
    lastUsedAt: str | None
    lastUsedFrom: str | None
    name: str
    # How many requests a second it may make; 0 for no limit.
    rate: int
    revokedAt: str | None
    role: Literal["viewer"] | Literal["operator"] | Literal["admin"]
    # What the key is limited to; null for everything that its role allows.
    scope: Scope | None
    state: Literal["active"] | Literal["expired"] | Literal["revoked"]


class KeyList(TypedDict):
    docs: list[Key]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class KeyRequest(TypedDict):
    # A time, or a duration from now such as 90d; empty for a key that does not expire.
    expiresAt: NotRequired[str]
    # Who or what uses it.
    name: str
    # How many requests a second it may make on each node, with its sessions and browser tokens; 0 for no limit. More are answered 429 with Retry-After.
    rate: NotRequired[int]
    role: Literal["viewer"] | Literal["operator"] | Literal["admin"]
    # What the key is limited to; empty for everything that its role allows.
    scope: NotRequired[KeyScope]


class KeyRotation(TypedDict):
    # The keys before the one that signs now are no longer accepted: links and webhook URLs that they signed stop working.
    drop: NotRequired[bool]


class KeyScope(TypedDict):
    # Only this destination, and its deliveries by pull.
    destination: NotRequired[str]
    # Only these operations, by operationId.
    operations: NotRequired[list[str] | None]
    # Only the jobs, files and runs of this project.
    projectId: NotRequired[str]
    # Only the events, deliveries and rejected requests of this source.
    source: NotRequired[str]


class KeyUse(TypedDict):
    firstUsedAt: str | None
    # A fingerprint; never the key.
    keyId: str
    # To the minute.
    lastUsedAt: str | None


class Leases(TypedDict):
    leases: list[str]


class LimitUse(TypedDict):
    # How many jobs may be under way; 0 for no bound.
    concurrency: int
    # It has no room now.
    full: bool
    name: str
    # When the rate allows the next submit; null for now.
    nextAt: str | None
    # How many submits a second; 0 for no bound.
    rate: float
    scope: Literal["provider"] | Literal["model"] | Literal["project"] | Literal["user"]
    # Jobs that count for the concurrency; 0 if that has no bound.
    underWay: int
    # Jobs that wait to be submitted, for this or another limit, or for their turn.
    waiting: int


class Limits(TypedDict):
    docs: list[LimitUse]


class LogEntry(TypedDict):
    at: str | None
    text: str
    # submit, webhook, ask, cancel, register, fallback, hold, charge or reuse.
    what: str


class LogFault(TypedDict):
    error: str
    # Its place in docs, from 0.
    index: int


class LogImport(TypedDict):
    # Documents of the collection: webhookId, source, type, status, data, error, retryCount, processedAt, createdAt, and their id.
    docs: list[Any]


class LogImported(TypedDict):
    added: int
    # How many were imported before.
    known: int
    # Documents that cannot be stored; the others are.
    rejected: list[LogFault]


class LoginLink(TypedDict):
    expiresAt: str | None
    # The path below the gateway's URL that logs a browser in once.
    path: str


Me = TypedDict(
    "Me",
    {
        "as": "str | None",
        "id": "str | None",
        "keyId": "str | None",
        "name": "str",
        "role": "Literal[\"viewer\"] | Literal[\"operator\"] | Literal[\"admin\"]",
        "scope": "Scope | None",
        "via": "Literal[\"token\"] | Literal[\"key\"] | Literal[\"session\"] | Literal[\"browser token\"]",
    },
)


class Media(TypedDict):
    contentType: str | None
    createdAt: str | None
    id: str
    jobId: str
    # The permanent link to the small picture of an image.
    linkThumbnailUrl: str | None
    # A permanent link to gaff's copy, which needs no token; null until POST /api/v1/media/{id}/link. It works until it is revoked.
    linkUrl: str | None
    mediaType: Literal["generated-image"] | Literal["generated-video"] | Literal["generated-audio"] | Literal["generated-model"] | Literal["generated-file"]
    # width, height, duration, generatedAt and what else is known.
    metadata: Any
    # Where the file is in the job's result.
    position: str
    projectId: str | None
    sha256: str | None
    # Bytes.
    size: int | None
    # The state of the copy. gone: the provider no longer has the file.
    storage: Literal["none"] | Literal["pending"] | Literal["stored"] | Literal["gone"] | Literal["failed"]
    # The last failure of the copy.
    storageError: str | None
    storedAt: str | None
    # A link to gaff's copy; it needs no token and expires after a day (media.link_for).
    storedUrl: str | None
    # When storedUrl and thumbnailUrl expire.
    storedUrlExpiresAt: str | None
    # A link to a small picture of an image; it needs no token and expires after a day.
    thumbnailUrl: str | None
    # The provider's URL of the file. A data: link of more than 4 KiB is written as data:image/png;sha256=…; GET /api/v1/media/{id} has it in full if there is no copy.
    url: str


class MediaList(TypedDict):
    docs: list[Media]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class ModelStats(TypedDict):
    # queued, processing, completed, failed, cancelled.
    byStatus: dict[str, int]
    jobs: int
    model: str | None
    # Half of the jobs had their result after this time; null without one.
    p50Ms: int | None
    p95Ms: int | None
    provider: str
    # The part of the finished jobs that completed, from 0 to 1; null if none has finished.
    success: float | None


class NewSecretDestination(TypedDict):
    # How far an archive is; null for other kinds.
    archive: Archive | None
    backlog: Backlog
    # Events that are sent in one request, or written to one file; null for one event a request.
    batch: DestinationBatch | None
    breakAfter: int
    breakFor: str
    # The share of failed attempts that opens the circuit; 0 for none.
    breakRate: float
    # The time of the attempts that count for breakRate.
    breakWindow: str
    burst: int
    concurrency: int
    # How long after its receipt an event is sent first.
    delay: str
    events: list[str]
    filter: str | None
    # The response statuses that make a delivery dead at once.
    final: list[int] | None
    firstWait: str
    format: Literal["envelope"] | Literal["original"] | Literal["cloudevents"] | Literal["cloudevents-binary"] | Literal["spec"]
    # Secrets are masked.
    headers: dict[str, str]
    health: DestinationHealth
    # The JSON pointer or CEL expression of the key, such as a tenant.
    key: str | None
    # Events of one key that are sent at once; 0 without a key.
    keyConcurrency: int
    # Requests per second of one key; 0 for no limit.
    keyRate: float
    kind: Literal["http"] | Literal["pull"] | Literal["queue"] | Literal["archive"]
    lease: str
    longestWait: str
    maxAttempts: int
    name: str
    # OAuth2 client credentials; null without.
    oauth: DestinationOAuth | None
    order: Literal["skip-dead"] | Literal["hold-dead"] | Literal["latest"] | None
    orderBy: str | None
    # A destination of the configuration is changed there.
    origin: Literal["config"] | Literal["api"]
    # Requests per second; 0 for no limit.
    rate: float
    # The new signing secret; no other answer has it. Null if the request set secrets, or nothing is signed.
    secret: str | None
    # The last characters of the signing secrets.
    secrets: list[str]
    # The header with the HMAC-SHA-256 of the body in hex, if there is one.
    signatureHeader: str | None
    timeout: str
    # The client certificate; null without.
    tls: DestinationTLS | None
    topic: str | None
    # The CEL expression that makes the body.
    transform: str | None
    # The JavaScript that makes the body; empty without.
    transformJs: str | None
    updatedAt: str | None
    # A password in it is masked.
    url: str | None


class NewSecretSource(TypedDict):
    about: dict[str, str]
    # The URL for the sender.
    address: str
    # Null until the source received a request.
    counts: SourceStats | None
    # Secrets that were replaced, and are still accepted.
    formerSecrets: list[FormerSecret]
    handlers: list[Handler]
    # The keys that verified its requests, the last used first.
    keys: list[KeyUse]
    # The configuration, or gaff itself, defines it: it is changed there.
    managed: bool
    maxBodyBytes: int
    name: str
    path: str
    # Why it is paused; null if it is not. Senders are answered 503.
    paused: str | None
    # Why it rejects every request; null if it does not.
    quiet: str | None
    # The new secret, to be entered at the sender; no other answer has it. Null if the request set it, or the sender makes its own.
    secret: str | None
    # The description of a source that was created by the API; of its secrets only the last characters.
    spec: SourceSpec | None
    updatedAt: str | None


class OAuth(TypedDict):
    audience: NotRequired[str]
    auth: NotRequired[str]
    clientId: str
    clientSecret: str
    scopes: NotRequired[list[str] | None]
    tokenUrl: str


class OriginalRequest(TypedDict):
    bodyBase64: str
    # The end-to-end headers, including the signature.
    headers: dict[str, list[str] | None]
    method: str
    url: str


class Pause(TypedDict):
    reason: NotRequired[str]


class PayloadError(TypedDict):
    message: str


class Percentiles(TypedDict):
    p50Ms: float
    p95Ms: float
    p99Ms: float


class Point(TypedDict):
    at: str | None
    # The latency from an event's receipt to the success of a delivery; of one handler, the run time of its attempts.
    done: Percentiles | None
    # Attempts.
    failed: int
    # Events by source.
    received: dict[str, int]
    rejected: int
    # The response time of webhooks; null without webhooks.
    reply: Percentiles | None
    # Attempts.
    succeeded: int


class Preview(TypedDict):
    # The body of the request; null if it has none.
    after: str | None
    # The envelope, as JSON.
    before: str
    # Why the transformation failed; null if it did not.
    error: str | None
    # Why the filter has no value for it; such an event does not pass.
    filterError: str | None
    # Those of the body and of the transformation. Secrets are masked.
    headers: dict[str, str]
    id: str
    # The lines of console.log.
    logs: list[str]
    # Whether the events of the destination choose it.
    matches: bool
    # Whether the filter does.
    passes: bool
    receivedAt: str | None
    # Whether it would be sent: it is chosen, and its transformation neither failed nor returned null.
    sent: bool
    source: str
    # A body was longer than 64 KiB, and is cut.
    truncated: bool
    type: str


class PreviewRequest(TypedDict):
    # A destination, whose settings the other members replace.
    destination: NotRequired[str]
    # Which events: source:type with *.
    events: NotRequired[list[str] | None]
    # A CEL condition; empty for none.
    filter: NotRequired[str]
    format: NotRequired[Literal["envelope"] | Literal["original"] | Literal["cloudevents"] | Literal["cloudevents-binary"] | Literal["spec"]]
    # Stored events; without, the newest ones that match.
    ids: NotRequired[list[str] | None]
    # How many events; 5 by default.
    limit: NotRequired[int]
    # Only events of this source.
    source: NotRequired[str]
    # A CEL expression; empty for none.
    transform: NotRequired[str]
    # JavaScript; empty for none.
    transformJs: NotRequired[str]
    # Only events of this type.
    type: NotRequired[str]


class Previews(TypedDict):
    events: list[Preview]
    # How many of them have an error.
    failed: int


class Problem(TypedDict):
    # The keyword of the schema.
    keyword: str | None
    message: str
    # The JSON pointer of the value; empty for the whole data.
    path: str


class Project(TypedDict):
    createdAt: str | None
    id: str
    metadata: Any
    name: str | None
    owner: str | None
    # Each file of the project gets a permanent link (linkUrl) when its copy is stored.
    publicMedia: bool
    updatedAt: str | None


class ProjectList(TypedDict):
    docs: list[Project]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class ProjectUpdate(TypedDict):
    id: str
    metadata: NotRequired[dict[str, Any]]
    name: NotRequired[str]
    owner: NotRequired[str]
    # Give each file a permanent link, which needs no token, when its copy is stored. Links that files have already stay until they are revoked.
    publicMedia: NotRequired[bool]


class PublishEvent(TypedDict):
    # Any JSON, up to 1 MiB.
    data: NotRequired[Any]
    # How long from now to publish the event, such as 90s, 10m or 7d; in place of runAt.
    delay: NotRequired[str]
    # A second event with the same key and token returns the first one.
    idempotencyKey: NotRequired[str]
    # The project that the event belongs to.
    projectId: NotRequired[str]
    # When to publish the event; a time that has passed is now.
    runAt: NotRequired[str]
    # Up to 200 letters, digits, and . _ / -.
    type: str


class Published(TypedDict):
    # The idempotencyKey was known, with another type or other data.
    conflict: bool
    # The idempotencyKey was known: this is the first event with it.
    duplicate: bool
    # The published event; null until it is published.
    eventId: str | None
    # evt_… of a published event, sch_… of a scheduled one.
    id: str
    projectId: str | None
    runAt: str | None
    status: Literal["published"] | Literal["scheduled"] | Literal["canceled"]
    type: str


class PublishedList(TypedDict):
    events: list[Published]


class Pull(TypedDict):
    # A destination of kind pull.
    destination: str
    # How long the caller holds them; empty for the destination's own lease.
    lease: NotRequired[str]
    max: NotRequired[int]
    # How long to wait for the first delivery, up to 60s, such as 20s.
    wait: NotRequired[str]


class Pulled(TypedDict):
    attempt: int
    # The same at each attempt; store it to process each delivery once.
    deliveryId: str
    # As posted to http destinations; null if the destination's format is original.
    envelope: Envelope | None
    eventId: str
    # Deliveries of one key are processed in order.
    key: str | None
    # The token that acknowledges it.
    lease: str
    # As received; null unless the destination's format is original.
    request: OriginalRequest | None
    source: str
    type: str
    # When another client gets it, unless it is acknowledged before.
    until: str | None


class PulledList(TypedDict):
    deliveries: list[Pulled]


class Queue(TypedDict):
    dead: int
    due: int
    oldestDue: str | None
    waiting: int


class Received(TypedDict):
    body: NotRequired[str]
    headers: dict[str, str]
    status: int
    truncated: NotRequired[bool]


class Rejection(TypedDict):
    # Null if the body is not UTF-8; bodyBase64 has it then.
    body: str | None
    bodyBase64: str | None
    bodySize: int
    # Secrets are masked.
    headers: dict[str, list[str] | None]
    id: str
    method: str
    reason: str
    receivedAt: str | None
    remoteAddr: str
    # The whole request is stored, so it can be verified again: POST …/rescue.
    rescuable: bool
    # The event that it became, if it was rescued.
    rescuedAs: str | None
    source: str
    # The status of the answer.
    status: int
    url: str


class RejectionList(TypedDict):
    docs: list[Rejection]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class Reloaded(TypedDict):
    # The sources that changed.
    changed: list[str]
    # The changes that need a restart.
    needsRestart: list[str]


class Replay(TypedDict):
    by: str | None
    destination: str | None
    # The event that was made of the edited body.
    editedEventId: str | None
    endedAt: str | None
    error: str | None
    eventId: str | None
    # Dry runs have no id.
    id: NotRequired[str]
    ignoreFilter: bool
    # How many events match; while it runs, so far.
    matches: int
    missing: bool
    # A dry run that ended before it had counted all.
    more: bool
    # The part of the stored events that was examined, from 0 to 1.
    progress: float
    # How many of them were queued.
    queued: int
    rate: float
    since: str | None
    # How many of them were queued already, or removed meanwhile.
    skipped: int
    source: str | None
    startedAt: str | None
    # done: all events are queued; the deliveries show their outcome.
    state: Literal["counted"] | Literal["running"] | Literal["done"] | Literal["canceled"] | Literal["failed"]
    status: str | None
    type: str | None
    until: str | None
    # Viewers see its host alone.
    url: str | None


class ReplayList(TypedDict):
    docs: list[Replay]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class ReplayRequest(TypedDict):
    # The edited body of the event: it is stored as a new event whose parent is the original.
    body: NotRequired[str]
    # Where to send to: a destination.
    destination: NotRequired[str]
    # Only count.
    dryRun: NotRequired[bool]
    # One event, past the destination's filter, in place of the filters.
    eventId: NotRequired[str]
    # Of the requests to the url.
    format: NotRequired[Literal["envelope"] | Literal["original"] | Literal["cloudevents"] | Literal["cloudevents-binary"] | Literal["spec"]]
    # Also events that the destination's events and filter do not choose.
    ignoreFilter: NotRequired[bool]
    # Only events that the destination has not received, and that are not queued for it.
    missing: NotRequired[bool]
    # How many events are queued a second at most; 100 by default.
    rate: NotRequired[float]
    # Signs the requests to the url (whsec_…).
    secret: NotRequired[str]
    # As of GET /api/v1/events.
    since: NotRequired[str]
    source: NotRequired[str]
    status: NotRequired[Literal["pending"] | Literal["success"] | Literal["error"]]
    type: NotRequired[str]
    until: NotRequired[str]
    # Where to send to, for this replay alone, in place of a destination. It needs the role admin.
    url: NotRequired[str]


class Request(TypedDict):
    # Null if the body is not UTF-8; bodyBase64 has it then.
    body: str | None
    bodyBase64: str | None
    # Secrets are masked.
    headers: dict[str, list[str] | None]
    method: str
    remoteAddr: str
    # Secrets are masked.
    url: str


class Rescued(TypedDict):
    # All of them were known: the request was rescued before, or its sender sent it again.
    duplicate: bool
    # The event that the request became; the first one if it brought several, empty if it brought none.
    eventId: str
    # How many events it brought.
    events: int


class Rotation(TypedDict):
    # Sign with the new secret alone; otherwise the previous one signs as well.
    drop: NotRequired[bool]


class Run(TypedDict):
    # The sum of what providers billed for its jobs, in their units.
    cost: float
    createdAt: str | None
    # When the whole run times out.
    dueAt: str | None
    error: str | None
    # The event that started it.
    eventId: str | None
    id: str
    input: Any
    projectId: str | None
    settledAt: str | None
    status: Literal["running"] | Literal["completed"] | Literal["failed"] | Literal["cancelled"]
    updatedAt: str | None
    userId: str | None
    # The hash of the definition that the run started with and keeps.
    version: str
    # What the run waits for, for people.
    waiting: str | None
    workflow: str


class RunDetail(TypedDict):
    # The sum of what providers billed for its jobs, in their units.
    cost: float
    createdAt: str | None
    # When the whole run times out.
    dueAt: str | None
    error: str | None
    # The event that started it.
    eventId: str | None
    id: str
    input: Any
    projectId: str | None
    settledAt: str | None
    status: Literal["running"] | Literal["completed"] | Literal["failed"] | Literal["cancelled"]
    steps: list[Step]
    updatedAt: str | None
    userId: str | None
    # The hash of the definition that the run started with and keeps.
    version: str
    # What the run waits for, for people.
    waiting: str | None
    workflow: str


class RunList(TypedDict):
    docs: list[Run]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class RunRetry(TypedDict):
    # Only this item of the step, and the steps after it.
    item: NotRequired[int]
    # The step to start at; empty for the steps that failed.
    step: NotRequired[str]


class RunStart(TypedDict):
    # A second request with the same key and token returns the first run.
    idempotencyKey: NotRequired[str]
    # The workflow's inputs by name.
    input: NotRequired[dict[str, Any]]
    projectId: NotRequired[str]
    userId: NotRequired[str]
    workflow: str


class SampleRequest(TypedDict):
    # A type that the source has samples of; empty for the first.
    type: NotRequired[str]


class SampleSent(TypedDict):
    # The event that the sample became.
    eventId: NotRequired[str]
    response: str
    status: int


class ScheduleChange(TypedDict):
    data: NotRequired[Any]
    # How long from now, in place of runAt.
    delay: NotRequired[str]
    runAt: NotRequired[str]
    type: NotRequired[str]


class ScheduledEvent(TypedDict):
    # Who published it.
    by: str | None
    createdAt: str | None
    # Null once the event is published or canceled.
    data: Any
    # Why gaff canceled it.
    error: str | None
    # The event that it became.
    eventId: str | None
    id: str
    idempotencyKey: str | None
    projectId: str | None
    # When it is published.
    runAt: str | None
    status: Literal["scheduled"] | Literal["published"] | Literal["canceled"]
    type: str
    updatedAt: str | None


class ScheduledEventList(TypedDict):
    docs: list[ScheduledEvent]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class Scope(TypedDict):
    # Only this destination, and its deliveries by pull.
    destination: NotRequired[str]
    # Only this job and its files. Browser tokens only.
    jobId: NotRequired[str]
    # Only these operations, by operationId.
    operations: NotRequired[list[str] | None]
    # Only the jobs, files and runs of this project.
    projectId: NotRequired[str]
    # Only this run. Browser tokens only.
    runId: NotRequired[str]
    # Only the events, deliveries and rejected requests of this source.
    source: NotRequired[str]


class SearchHit(TypedDict):
    # More, for people; may be empty.
    about: str
    # When it began; null for sources, destinations and workflows.
    at: str | None
    # Its id, or its name if it is configured.
    id: str
    kind: Literal["event"] | Literal["delivery"] | Literal["rejection"] | Literal["job"] | Literal["media"] | Literal["run"] | Literal["project"] | Literal["source"] | Literal["destination"] | Literal["workflow"]
    # The prompt of a job, the source and type of an event, the name of a project.
    title: str


class SearchHitList(TypedDict):
    docs: list[SearchHit]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class Secrets(TypedDict):
    # Encrypted with the first key.
    current: int
    # Whether GAFF_SECRETS_KEY is set.
    enabled: bool
    # How many this call encrypted.
    encrypted: int
    # Encrypted with a key that is not given.
    locked: int
    # Encrypted with another key.
    older: int
    # Not encrypted.
    plain: int


class SelectedWebhookLogs(TypedDict):
    docs: list[dict[str, Any]]
    hasNextPage: bool
    hasPrevPage: bool
    limit: int
    nextPage: int | None
    page: int
    pagingCounter: int
    prevPage: int | None
    totalDocs: int
    # There are more than totalDocs: they are counted up to 100,000, and pages end there. Or a condition looked at the newest 50,000 events, and there are older ones.
    totalDocsCapped: NotRequired[bool]
    totalPages: int


class Sent(TypedDict):
    body: NotRequired[str]
    bytes: int
    headers: dict[str, str]
    method: str
    url: str


class Series(TypedDict):
    # One for each step, also for steps without events.
    points: list[Point]
    since: str | None
    # The sources that received events in this time.
    sources: list[str]
    stepSeconds: int
    # Over all points.
    total: Totals
    until: str | None


Session = TypedDict(
    "Session",
    {
        "address": "str",
        "agent": "str",
        "as": "str | None",
        "createdAt": "str | None",
        "expiresAt": "str | None",
        "id": "str",
        "keyId": "str | None",
        "lastUsedAt": "str | None",
        "name": "str",
        "role": "Literal[\"viewer\"] | Literal[\"operator\"] | Literal[\"admin\"]",
        "scope": "Scope | None",
        "subject": "str | None",
    },
)


class SessionList(TypedDict):
    docs: list[Session]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class Setting(TypedDict):
    help: str
    name: str
    # Where the value comes from.
    origin: str
    value: str


class SettingList(TypedDict):
    docs: list[Setting]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class SigningKey(TypedDict):
    # How many keys are accepted: the one that signs, former ones, and a new one that does not sign yet.
    accepted: int
    # links: of links to files; webhooks: of the webhook URLs of jobs; callbacks: of requests to jobs' callback URLs.
    name: Literal["links"] | Literal["webhooks"] | Literal["callbacks"]
    # After a rotation: when the new key signs, since other nodes must read it first.
    signsFrom: str | None


class SigningKeys(TypedDict):
    docs: list[SigningKey] | None


class Silence(TypedDict):
    forSeconds: int
    lastAt: str | None
    source: str
    # Its longest pause in the two weeks before.
    usualSeconds: int


class SilenceList(TypedDict):
    docs: list[Silence]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class Source(TypedDict):
    about: dict[str, str]
    # The URL for the sender.
    address: str
    # Null until the source received a request.
    counts: SourceStats | None
    # Secrets that were replaced, and are still accepted.
    formerSecrets: list[FormerSecret]
    handlers: list[Handler]
    # The keys that verified its requests, the last used first.
    keys: list[KeyUse]
    # The configuration, or gaff itself, defines it: it is changed there.
    managed: bool
    maxBodyBytes: int
    name: str
    path: str
    # Why it is paused; null if it is not. Senders are answered 503.
    paused: str | None
    # Why it rejects every request; null if it does not.
    quiet: str | None
    # The description of a source that was created by the API; of its secrets only the last characters.
    spec: SourceSpec | None
    updatedAt: str | None


class SourceKey(TypedDict):
    # Some senders ask for it again in a form of their own.
    key: str


class SourceKeyOpened(TypedDict):
    # Until when the source accepts the first key that a handshake brings.
    until: str


class SourceKeyRequest(TypedDict):
    # How long the source accepts a key.
    seconds: NotRequired[int]


class SourceList(TypedDict):
    docs: list[Source]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class SourceRotation(TypedDict):
    # How long the former secrets are accepted too, up to 30d; 24h if left out, 0s for not at all.
    grace: NotRequired[str]
    # The new secret, if the sender makes it; left out: gaff makes one.
    secret: NotRequired[str]


class SourceSpec(TypedDict):
    acceptGzip: NotRequired[bool]
    # The networks that may send (CIDR).
    allow: NotRequired[list[str] | None]
    # What a sender that waits is answered: from (a destination), wait, body, content_type (docs/answers.md).
    answer: NotRequired[dict[str, Any]]
    burst: NotRequired[int]
    # The accepted media types.
    contentTypes: NotRequired[list[str] | None]
    # A JSON pointer to the event's id in the body.
    id: NotRequired[str]
    # A JSON pointer to the sender's id of the work.
    job: NotRequired[str]
    # Where a body holds the state of a job, over the preset's own.
    jobs: NotRequired[dict[str, Any]]
    # The largest body, in bytes; 0 for the gateway's limit.
    maxBody: NotRequired[int]
    # The part of the URL after /api/v1/webhooks/: lower case letters, digits, - and _.
    name: str
    # What happens to an event that violates its schema: warn (the default) stores and marks it, refuse answers 422.
    onViolation: NotRequired[Literal["warn"] | Literal["refuse"]]
    # A known sender; gaff sources presets lists them.
    preset: NotRequired[str]
    # Requests per second; 0 for no limit.
    rate: NotRequired[float]
    # JSON Schemas of the data, by event type; * is for types without one (docs/schemas.md). A patch replaces a schema as a whole.
    schemas: NotRequired[dict[str, Any]]
    # The sender's secrets; each is accepted. Left out: gaff makes one, if the sender's kind allows. An empty list: none yet, so the source rejects everything.
    secrets: NotRequired[list[str] | None]
    # Values that the verification refers to, such as callback_url.
    settings: NotRequired[dict[str, str]]
    # A JSON pointer to a status that makes events of one id different.
    status: NotRequired[str]
    # A JSON pointer to the event's type.
    type: NotRequired[str]
    # How the sender signs, in place of a preset: docs/verification.md.
    verify: NotRequired[dict[str, Any]]


class SourceStats(TypedDict):
    error: int
    lastReceivedAt: str | None
    pending: int
    rejected: int
    # Empty for requests to unknown sources.
    source: str
    success: int


class Spec(TypedDict):
    batch: NotRequired[Batch]
    breakAfter: NotRequired[int]
    breakFor: NotRequired[str]
    breakRate: NotRequired[float]
    breakWindow: NotRequired[str]
    burst: NotRequired[int]
    concurrency: NotRequired[int]
    delay: NotRequired[str]
    events: NotRequired[list[str] | None]
    filter: NotRequired[str]
    final: NotRequired[list[int] | None]
    firstWait: NotRequired[str]
    format: NotRequired[str]
    headers: NotRequired[dict[str, str]]
    key: NotRequired[str]
    keyConcurrency: NotRequired[int]
    keyRate: NotRequired[float]
    kind: NotRequired[str]
    lease: NotRequired[str]
    longestWait: NotRequired[str]
    maxAttempts: NotRequired[int]
    name: str
    oauth: NotRequired[OAuth]
    order: NotRequired[str]
    orderBy: NotRequired[str]
    rate: NotRequired[float]
    secrets: NotRequired[list[str] | None]
    signatureHeader: NotRequired[str]
    timeout: NotRequired[str]
    tls: NotRequired[TLS]
    topic: NotRequired[str]
    transform: NotRequired[str]
    transformJs: NotRequired[str]
    url: NotRequired[str]


class Started(TypedDict):
    deliveries: list[str]


class Stats(TypedDict):
    deliveries: Queue
    since: str | None
    sources: list[SourceStats]


class Step(TypedDict):
    attempt: int
    cost: float
    # Who decided an approval.
    decider: str | None
    description: str | None
    # The deadline, or the time of the next attempt.
    dueAt: str | None
    error: str | None
    # The event that ended the wait.
    eventId: str | None
    # From 0; null for the step itself.
    item: int | None
    # The items of a step with for_each.
    items: list[StepState]
    jobId: str | None
    # Empty if the definition cannot be read.
    kind: Literal["submit"] | Literal["wait_for"] | Literal["http"] | Literal["approve"] | Literal["emit"] | Literal[""]
    name: str
    # The steps that it lists as needed, and those that its expressions name.
    needs: list[str]
    settledAt: str | None
    startedAt: str | None
    status: Literal["pending"] | Literal["queued"] | Literal["running"] | Literal["waiting"] | Literal["retrying"] | Literal["completed"] | Literal["failed"] | Literal["skipped"] | Literal["cancelled"] | Literal[""]


class StepDetail(TypedDict):
    attempt: int
    cost: float
    # Who decided an approval.
    decider: str | None
    # The deadline, or the time of the next attempt.
    dueAt: str | None
    error: str | None
    # The event that ended the wait.
    eventId: str | None
    # The input of the step.
    input: Any
    # From 0; null for the step itself.
    item: int | None
    jobId: str | None
    result: Any
    settledAt: str | None
    startedAt: str | None
    status: Literal["pending"] | Literal["queued"] | Literal["running"] | Literal["waiting"] | Literal["retrying"] | Literal["completed"] | Literal["failed"] | Literal["skipped"] | Literal["cancelled"] | Literal[""]


class StepDetailList(TypedDict):
    docs: list[StepDetail]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class StepState(TypedDict):
    attempt: int
    cost: float
    # Who decided an approval.
    decider: str | None
    # The deadline, or the time of the next attempt.
    dueAt: str | None
    error: str | None
    # The event that ended the wait.
    eventId: str | None
    # From 0; null for the step itself.
    item: int | None
    jobId: str | None
    settledAt: str | None
    startedAt: str | None
    status: Literal["pending"] | Literal["queued"] | Literal["running"] | Literal["waiting"] | Literal["retrying"] | Literal["completed"] | Literal["failed"] | Literal["skipped"] | Literal["cancelled"] | Literal[""]


Subscribe = TypedDict(
    "Subscribe",
    {
        "events": "NotRequired[list[str] | None]",
        "filter": "NotRequired[str]",
        "from": "NotRequired[str]",
        "name": "str",
    },
)


class Subscribed(TypedDict):
    created: bool
    createdAt: str | None
    # The last acknowledged event.
    cursor: str | None
    events: list[str]
    filter: str | None
    name: str
    # A subscription that is not used for 30 days is removed.
    seenAt: str | None


class Subscription(TypedDict):
    createdAt: str | None
    # The last acknowledged event.
    cursor: str | None
    events: list[str]
    filter: str | None
    name: str
    # A subscription that is not used for 30 days is removed.
    seenAt: str | None


class SubscriptionList(TypedDict):
    docs: list[Subscription]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class TLS(TypedDict):
    ca: NotRequired[str]
    cert: NotRequired[str]
    key: NotRequired[str]


class TokenRequest(TypedDict):
    # How long it lasts, 1s to 24h; 15m if empty.
    expiresIn: NotRequired[str]
    # This job and its files.
    jobId: NotRequired[str]
    # The jobs, files and runs of this project.
    projectId: NotRequired[str]
    # This run.
    runId: NotRequired[str]


class Totals(TypedDict):
    # The latency from an event's receipt to the success of a delivery; of one handler, the run time of its attempts.
    done: Percentiles | None
    # Attempts.
    failed: int
    # Events by source.
    received: dict[str, int]
    rejected: int
    # The response time of webhooks; null without webhooks.
    reply: Percentiles | None
    # Attempts.
    succeeded: int


class Verification(TypedDict):
    dialect: str | None
    # A fingerprint of the key that matched.
    keyId: str | None
    scheme: str
    subject: str | None


class Violation(TypedDict):
    # The number of problems that are left out.
    more: int
    # At most 20, sorted by path.
    problems: list[Problem]
    # The event type that the schema is for, or *.
    schema: str


class WebhookLog(TypedDict):
    createdAt: str | None
    # The body as JSON, numbers as sent.
    data: Any
    # The last failure, unless a success followed.
    error: str | None
    id: str
    # Null until it was processed once.
    processedAt: str | None
    receivedAt: str | None
    retryCount: int
    source: str
    status: Literal["pending"] | Literal["success"] | Literal["error"]
    type: str
    # No handler was registered for it.
    unhandled: bool
    updatedAt: str | None
    # The sender's id of the event; the event's own id if the sender gave none.
    webhookId: str


class WebhookLogCount(TypedDict):
    totalDocs: int
    # Only the newest 50,000 events were looked at, and there are older ones.
    totalDocsCapped: NotRequired[bool]


class WebhookLogError(TypedDict):
    error: str
    errors: list[PayloadError]


class WebhookLogFailed(TypedDict):
    error: str
    reason: str


class WebhookLogRetried(TypedDict):
    success: bool


class WebhookLogRetry(TypedDict):
    # The id of the log: evt_…
    webhookLogId: str


class WebhookLogs(TypedDict):
    docs: list[WebhookLog]
    hasNextPage: bool
    hasPrevPage: bool
    limit: int
    nextPage: int | None
    page: int
    pagingCounter: int
    prevPage: int | None
    totalDocs: int
    # There are more than totalDocs: they are counted up to 100,000, and pages end there. Or a condition looked at the newest 50,000 events, and there are older ones.
    totalDocsCapped: NotRequired[bool]
    totalPages: int


class Workflow(TypedDict):
    description: str | None
    # Why a workflow of the API cannot be used; null if it can.
    fault: str | None
    # The API has a workflow of this name, too, and the file hides it.
    hidden: bool
    name: str
    # file: of the folder of workflows; api: written by API or console.
    origin: Literal["file"] | Literal["api"]
    # Of the text that was written by the API; 0 without one. It grows with each change.
    revision: int
    # The number of runs, by status.
    runs: dict[str, int]
    # When the revision was written.
    updatedAt: str | None
    # Who wrote the revision.
    updatedBy: str | None
    # The hash of the definition; empty if it cannot be used.
    version: str


class WorkflowCheck(TypedDict):
    # The workflow that the text is for; left out for a new one.
    name: NotRequired[str]
    # The workflow in YAML, as in a file.
    text: str


class WorkflowChecked(TypedDict):
    # By line.
    faults: list[WorkflowFault]
    # Null if the text has faults.
    name: str | None
    # What a run does; empty if the text has faults.
    steps: list[WorkflowStep]
    valid: bool


class WorkflowDetail(TypedDict):
    # The file's content as JSON; null if it cannot be used.
    definition: Any
    description: str | None
    # Why a workflow of the API cannot be used; null if it can.
    fault: str | None
    # The API has a workflow of this name, too, and the file hides it.
    hidden: bool
    name: str
    # file: of the folder of workflows; api: written by API or console.
    origin: Literal["file"] | Literal["api"]
    # Of the text that was written by the API; 0 without one. It grows with each change.
    revision: int
    # The number of runs, by status.
    runs: dict[str, int]
    # The text that was written by the API, in YAML; null without one.
    text: str | None
    # When the revision was written.
    updatedAt: str | None
    # Who wrote the revision.
    updatedBy: str | None
    # The hash of the definition; empty if it cannot be used.
    version: str


class WorkflowFault(TypedDict):
    # From 1; 0 if unknown.
    column: int
    # What to do about it; may be null.
    hint: str | None
    # From 1; 0 if unknown.
    line: int
    path: str | None
    problem: str | None


class WorkflowList(TypedDict):
    docs: list[Workflow]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class WorkflowRevert(TypedDict):
    # The newest revision that was read: 409 if another one is stored now. Left out: not compared.
    revision: NotRequired[int]
    # The revision whose text is written as a new revision.
    to: int


class WorkflowRevision(TypedDict):
    at: str | None
    # Who wrote it.
    by: str | None
    revision: int
    # In YAML.
    text: str


class WorkflowRevisionList(TypedDict):
    docs: list[WorkflowRevision]
    # The cursor of the next page; null on the last page.
    nextCursor: str | None


class WorkflowStep(TypedDict):
    description: str | None
    kind: Literal["submit"] | Literal["wait_for"] | Literal["http"] | Literal["approve"] | Literal["emit"]
    name: str
    # The steps that it lists as needed, and those that its expressions name.
    needs: list[str]


class WorkflowText(TypedDict):
    # The workflow in YAML, as in a file.
    text: str


class WorkflowUpdate(TypedDict):
    # The revision that was read: 409 if another one is stored now. Left out: not compared.
    revision: NotRequired[int]
    # The workflow in YAML, as in a file.
    text: str


class EraseEventQuery(TypedDict):
    # First cancel jobs and runs that are not finished, at the provider too. Without it they are a conflict.
    cancel: NotRequired[bool]
    # Only count.
    dryRun: NotRequired[bool]


class EraseJobQuery(TypedDict):
    # First cancel jobs and runs that are not finished, at the provider too. Without it they are a conflict.
    cancel: NotRequired[bool]
    # Only count.
    dryRun: NotRequired[bool]


class EraseMediaQuery(TypedDict):
    # First cancel jobs and runs that are not finished, at the provider too. Without it they are a conflict.
    cancel: NotRequired[bool]
    # Only count.
    dryRun: NotRequired[bool]


class EraseProjectQuery(TypedDict):
    # First cancel jobs and runs that are not finished, at the provider too. Without it they are a conflict.
    cancel: NotRequired[bool]
    # Only count.
    dryRun: NotRequired[bool]


class ExportAuditQuery(TypedDict):
    # Only this operation.
    action: NotRequired[str]
    # Only by this person or key.
    actor: NotRequired[str]
    # Only entries at or after: a time, or a duration ago such as 7d.
    since: NotRequired[str]
    # Only on this id or name.
    target: NotRequired[str]
    # Only entries before; written like since.
    until: NotRequired[str]


class GetCostsQuery(TypedDict):
    # Group by project, user, model, provider, day, run or caller; empty: one sum for each currency.
    by: NotRequired[Literal["project"] | Literal["user"] | Literal["model"] | Literal["provider"] | Literal["day"] | Literal["run"] | Literal["caller"]]
    # Also group by day, in UTC: each sum has a day.
    daily: NotRequired[bool]
    # Only of this model.
    model: NotRequired[str]
    # Only of this project.
    projectId: NotRequired[str]
    # Only of this provider.
    provider: NotRequired[str]
    # Only jobs made from this time (RFC 3339, or a day such as 2026-11-01).
    since: NotRequired[str]
    # Only jobs made before this time.
    until: NotRequired[str]
    # Only of this user.
    userId: NotRequired[str]


class GetCostsCsvQuery(TypedDict):
    # As for get-costs.
    by: NotRequired[str]
    # As for get-costs.
    daily: NotRequired[str]
    # As for get-costs.
    model: NotRequired[str]
    # As for get-costs.
    projectId: NotRequired[str]
    # As for get-costs.
    provider: NotRequired[str]
    # As for get-costs.
    since: NotRequired[str]
    # As for get-costs.
    until: NotRequired[str]
    # As for get-costs.
    userId: NotRequired[str]


class GetEventTestQuery(TypedDict):
    # The language; default go.
    lang: NotRequired[Literal["go"] | Literal["ts"] | Literal["curl"]]


class GetJobStatsQuery(TypedDict):
    # Created at or after: a time, or a duration such as 24h for that long ago.
    since: NotRequired[str]


class GetMediaZipQuery(TypedDict):
    # The id of a file; repeated for each, at most 200.
    id: list[str]


class GetSeriesQuery(TypedDict):
    # Only the attempts of this handler or destination; not with source.
    handler: NotRequired[str]
    # The span of time until now.
    range: NotRequired[Literal["1h"] | Literal["6h"] | Literal["24h"] | Literal["7d"] | Literal["30d"]]
    # Only of this source.
    source: NotRequired[str]


class GetStatsQuery(TypedDict):
    # A time, or a duration such as 24h for that long ago; without it, all events are counted.
    since: NotRequired[str]


class ListAlertChannelsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListAlertsQuery(TypedDict):
    # Only active ones (true), or only those that ended (false).
    active: NotRequired[Literal["true"] | Literal["false"]]
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListAuditQuery(TypedDict):
    # Only this operation, such as retry-event or create-key.
    action: NotRequired[str]
    # Only by this person or key.
    actor: NotRequired[str]
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]
    # At or after: a time, or a duration such as 24h for that long ago.
    since: NotRequired[str]
    # Only on this id or name.
    target: NotRequired[str]
    # Before; written like since.
    until: NotRequired[str]


class ListDeliveriesQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # Only of this event.
    eventId: NotRequired[str]
    # Only to this handler or destination.
    handler: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]
    # Only of this source.
    source: NotRequired[str]
    # Only in this state: pending, running, retrying, succeeded, dead or canceled.
    state: NotRequired[Literal["pending"] | Literal["running"] | Literal["retrying"] | Literal["succeeded"] | Literal["dead"] | Literal["canceled"]]


class ListDestinationsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListEventsQuery(TypedDict):
    # Only those that were received again with a different body.
    conflict: NotRequired[bool]
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # Also the events that gaff emitted itself.
    inner: NotRequired[bool]
    # Only the provider's webhooks about this job.
    jobId: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]
    # Only the providers' webhooks about jobs of this project.
    projectId: NotRequired[str]
    # Text in the ids, the error or the body. A page searches 50,000 events; nextCursor continues after them.
    q: NotRequired[str]
    # Received at or after: a time, or a duration such as 24h for that long ago.
    since: NotRequired[str]
    # Only of this source.
    source: NotRequired[str]
    # Only with this status: pending, success or error.
    status: NotRequired[Literal["pending"] | Literal["success"] | Literal["error"]]
    # Only of this type.
    type: NotRequired[str]
    # Received before.
    until: NotRequired[str]
    # Only those that violate the JSON Schema of their source and type.
    violation: NotRequired[bool]
    # Only with this id of the sender's.
    webhookId: NotRequired[str]


class ListIssuesQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # Only of this destination or handler.
    destination: NotRequired[str]
    # Only of this kind.
    kind: NotRequired[Literal["delivery"] | Literal["rejection"]]
    # How many to return.
    limit: NotRequired[int]
    # Only of this source.
    source: NotRequired[str]
    # Only in this state.
    state: NotRequired[Literal["open"] | Literal["acknowledged"] | Literal["resolved"] | Literal["ignored"]]


class ListJobsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # Only failed with this error type, such as content_policy_violation; none: failed without a type.
    errorType: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]
    # Only of this model.
    model: NotRequired[str]
    # Only of this project.
    projectId: NotRequired[str]
    # Only of this provider.
    provider: NotRequired[str]
    # Text in the model or the input, such as words of the prompt. A page searches 50,000 jobs; nextCursor continues after them.
    q: NotRequired[str]
    # Only with this id of the provider's.
    requestId: NotRequired[str]
    # Created at or after: a time, or a duration such as 24h for that long ago.
    since: NotRequired[str]
    # Only with this status: queued, processing, completed, failed or cancelled.
    status: NotRequired[Literal["queued"] | Literal["processing"] | Literal["completed"] | Literal["failed"] | Literal["cancelled"]]
    # held: only jobs that a budget holds until they are approved.
    submit: NotRequired[Literal["held"]]
    # Created before.
    until: NotRequired[str]
    # Only of this user.
    userId: NotRequired[str]


class ListKeysQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListMediaQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # Only of this job.
    jobId: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]
    # Only of this media type: generated-image, generated-video, generated-audio, generated-model or generated-file.
    mediaType: NotRequired[Literal["generated-image"] | Literal["generated-video"] | Literal["generated-audio"] | Literal["generated-model"] | Literal["generated-file"]]
    # Only of jobs of this model.
    model: NotRequired[str]
    # Only of this project.
    projectId: NotRequired[str]
    # Created at or after: a time, or a duration such as 24h for that long ago.
    since: NotRequired[str]
    # Only with a copy in this state: none, pending, stored, gone or failed.
    storage: NotRequired[Literal["none"] | Literal["pending"] | Literal["stored"] | Literal["gone"] | Literal["failed"]]
    # Created before.
    until: NotRequired[str]


class ListProjectsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListRejectionsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]
    # Text in the reason or the client's address.
    q: NotRequired[str]
    # Received at or after: a time, or a duration such as 24h for that long ago.
    since: NotRequired[str]
    # Only of this source.
    source: NotRequired[str]
    # Received before.
    until: NotRequired[str]


class ListReplaysQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListRunsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]
    # Only of this project.
    projectId: NotRequired[str]
    # Only with this status: running, completed, failed or cancelled.
    status: NotRequired[Literal["running"] | Literal["completed"] | Literal["failed"] | Literal["cancelled"]]
    # Only of this workflow.
    workflow: NotRequired[str]


class ListScheduledEventsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]
    # Only of this project.
    projectId: NotRequired[str]
    # Only with this status: scheduled, published or canceled.
    status: NotRequired[Literal["scheduled"] | Literal["published"] | Literal["canceled"]]
    # Only of this type.
    type: NotRequired[str]


class ListSessionsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListSettingsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListSilentSourcesQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListSourcesQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListSubscriptionsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListWebhookLogsQuery(TypedDict):
    # How many on a page.
    limit: NotRequired[int]
    page: NotRequired[int]
    # Fields between commas, with - in front for the highest first. Events that were never processed sort by receivedAt.
    sort: NotRequired[str]
    source: NotRequired[str]
    status: NotRequired[Literal["pending"] | Literal["success"] | Literal["error"]]
    type: NotRequired[str]


class ListWorkflowsQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]


class ListenQuery(TypedDict):
    # The position to read from, the cursor of the answer before; empty for the acknowledged one.
    after: NotRequired[str]
    # original: the request as received, if there is one.
    format: NotRequired[Literal["original"] | Literal["envelope"]]
    limit: NotRequired[int]
    # How long to wait for the first event, up to 60s.
    wait: NotRequired[str]


class RevokeKeyQuery(TypedDict):
    # Also the keys that it created, and those that these created: for a key that was stolen. It may be revoked already.
    made: NotRequired[bool]


class SearchQuery(TypedDict):
    # The nextCursor of the page before.
    cursor: NotRequired[str]
    # How many to return.
    limit: NotRequired[int]
    # An id, a name, or words of a prompt or model.
    q: str


class StreamChangesQuery(TypedDict):
    # Also the events that gaff emitted itself.
    inner: NotRequired[bool]
    # Only this job and its media.
    jobId: NotRequired[str]
    # Only these, separated by commas: event, job, media, run.
    kinds: NotRequired[str]
    # As the header Last-Event-ID.
    lastEventId: NotRequired[str]
    # Only of this source or provider.
    source: NotRequired[str]


class StreamPulledQuery(TypedDict):
    # A destination of kind pull.
    destination: str
    # How long the caller holds each; empty for the destination's own lease.
    lease: NotRequired[str]
    # How many are handed out at once, 1 to 100; 10 if empty.
    max: NotRequired[int]


# The method and path of each operation, by its operationId.
OPERATIONS: dict[str, tuple[str, str]] = {
    "ack-pulled": ("POST", "/api/v1/pull/ack"),
    "ack-subscription": ("POST", "/api/v1/subscriptions/{name}/ack"),
    "acknowledge-issue": ("POST", "/api/v1/issues/{id}/acknowledge"),
    "apply-configuration": ("POST", "/api/v1/configuration"),
    "approve-job": ("POST", "/api/v1/jobs/{id}/approve"),
    "ask-job": ("POST", "/api/v1/jobs/{id}/ask"),
    "cancel-delivery": ("POST", "/api/v1/deliveries/{id}/cancel"),
    "cancel-job": ("POST", "/api/v1/jobs/{id}/cancel"),
    "cancel-replay": ("DELETE", "/api/v1/replays/{id}"),
    "cancel-run": ("POST", "/api/v1/runs/{id}/cancel"),
    "cancel-scheduled-event": ("DELETE", "/api/v1/scheduled-events/{id}"),
    "change-scheduled-event": ("PATCH", "/api/v1/scheduled-events/{id}"),
    "check-workflow": ("POST", "/api/v1/workflows/check"),
    "compact": ("POST", "/api/v1/compact"),
    "count-webhook-logs": ("GET", "/api/v1/webhooks/manage/count"),
    "create-destination": ("POST", "/api/v1/destinations"),
    "create-key": ("POST", "/api/v1/keys"),
    "create-login-link": ("POST", "/api/v1/login-links"),
    "create-source": ("POST", "/api/v1/sources"),
    "create-token": ("POST", "/api/v1/tokens"),
    "create-workflow": ("POST", "/api/v1/workflows"),
    "decide-run": ("POST", "/api/v1/runs/{id}/approve"),
    "delete-budget": ("DELETE", "/api/v1/budgets/{name}"),
    "delete-destination": ("DELETE", "/api/v1/destinations/{name}"),
    "delete-source": ("DELETE", "/api/v1/sources/{name}"),
    "delete-workflow": ("DELETE", "/api/v1/workflows/{name}"),
    "end-session": ("DELETE", "/api/v1/sessions/{id}"),
    "erase": ("POST", "/api/v1/erasures"),
    "erase-event": ("DELETE", "/api/v1/events/{id}"),
    "erase-job": ("DELETE", "/api/v1/jobs/{id}"),
    "erase-media": ("DELETE", "/api/v1/media/{id}"),
    "erase-project": ("DELETE", "/api/v1/projects/{id}"),
    "export-audit": ("GET", "/api/v1/audit/export"),
    "export-configuration": ("GET", "/api/v1/configuration"),
    "extend-pulled": ("POST", "/api/v1/pull/extend"),
    "fail-pulled": ("POST", "/api/v1/pull/fail"),
    "forget-source-key": ("DELETE", "/api/v1/sources/{name}/key"),
    "get-budget": ("GET", "/api/v1/budgets/{name}"),
    "get-bulk": ("GET", "/api/v1/bulk/{id}"),
    "get-costs": ("GET", "/api/v1/costs"),
    "get-costs-csv": ("GET", "/api/v1/costs.csv"),
    "get-delivery": ("GET", "/api/v1/deliveries/{id}"),
    "get-destination": ("GET", "/api/v1/destinations/{name}"),
    "get-event": ("GET", "/api/v1/events/{id}"),
    "get-event-body": ("GET", "/api/v1/events/{id}/body"),
    "get-event-test": ("GET", "/api/v1/events/{id}/test"),
    "get-health": ("GET", "/api/v1/health"),
    "get-issue": ("GET", "/api/v1/issues/{id}"),
    "get-job": ("GET", "/api/v1/jobs/{id}"),
    "get-job-stats": ("GET", "/api/v1/stats/jobs"),
    "get-me": ("GET", "/api/v1/me"),
    "get-media": ("GET", "/api/v1/media/{id}"),
    "get-media-file": ("GET", "/api/v1/media/{id}/file"),
    "get-media-thumbnail": ("GET", "/api/v1/media/{id}/thumbnail"),
    "get-media-zip": ("GET", "/api/v1/media.zip"),
    "get-project": ("GET", "/api/v1/projects/{id}"),
    "get-rejection": ("GET", "/api/v1/rejections/{id}"),
    "get-replay": ("GET", "/api/v1/replays/{id}"),
    "get-run": ("GET", "/api/v1/runs/{id}"),
    "get-run-step": ("GET", "/api/v1/runs/{id}/steps/{step}"),
    "get-scheduled-event": ("GET", "/api/v1/scheduled-events/{id}"),
    "get-secrets": ("GET", "/api/v1/secrets"),
    "get-series": ("GET", "/api/v1/stats/series"),
    "get-source": ("GET", "/api/v1/sources/{name}"),
    "get-source-key": ("GET", "/api/v1/sources/{name}/key"),
    "get-stats": ("GET", "/api/v1/stats"),
    "get-webhook-log": ("GET", "/api/v1/webhooks/manage/{id}"),
    "get-workflow": ("GET", "/api/v1/workflows/{name}"),
    "ignore-issue": ("POST", "/api/v1/issues/{id}/ignore"),
    "import-webhook-logs": ("POST", "/api/v1/imports/webhook-logs"),
    "link-media": ("POST", "/api/v1/media/{id}/link"),
    "list-alert-channels": ("GET", "/api/v1/alert-channels"),
    "list-alerts": ("GET", "/api/v1/alerts"),
    "list-audit": ("GET", "/api/v1/audit"),
    "list-budgets": ("GET", "/api/v1/budgets"),
    "list-callback-secrets": ("GET", "/api/v1/callback-secrets"),
    "list-deliveries": ("GET", "/api/v1/deliveries"),
    "list-destinations": ("GET", "/api/v1/destinations"),
    "list-events": ("GET", "/api/v1/events"),
    "list-issues": ("GET", "/api/v1/issues"),
    "list-jobs": ("GET", "/api/v1/jobs"),
    "list-keys": ("GET", "/api/v1/keys"),
    "list-limits": ("GET", "/api/v1/limits"),
    "list-media": ("GET", "/api/v1/media"),
    "list-projects": ("GET", "/api/v1/projects"),
    "list-rejections": ("GET", "/api/v1/rejections"),
    "list-replays": ("GET", "/api/v1/replays"),
    "list-runs": ("GET", "/api/v1/runs"),
    "list-scheduled-events": ("GET", "/api/v1/scheduled-events"),
    "list-sessions": ("GET", "/api/v1/sessions"),
    "list-settings": ("GET", "/api/v1/settings"),
    "list-signing-keys": ("GET", "/api/v1/signing-keys"),
    "list-silent-sources": ("GET", "/api/v1/stats/silence"),
    "list-sources": ("GET", "/api/v1/sources"),
    "list-subscriptions": ("GET", "/api/v1/subscriptions"),
    "list-webhook-logs": ("GET", "/api/v1/webhooks/manage"),
    "list-workflow-revisions": ("GET", "/api/v1/workflows/{name}/revisions"),
    "list-workflows": ("GET", "/api/v1/workflows"),
    "listen": ("GET", "/api/v1/subscriptions/{name}/events"),
    "open-source-key": ("POST", "/api/v1/sources/{name}/key"),
    "pause-destination": ("POST", "/api/v1/destinations/{name}/pause"),
    "pause-source": ("POST", "/api/v1/sources/{name}/pause"),
    "preview-destination": ("POST", "/api/v1/destinations/preview"),
    "publish-events": ("POST", "/api/v1/events"),
    "pull": ("POST", "/api/v1/pull"),
    "register-job": ("PUT", "/api/v1/jobs/{id}"),
    "reject-job": ("POST", "/api/v1/jobs/{id}/reject"),
    "release-pulled": ("POST", "/api/v1/pull/release"),
    "reload-sources": ("POST", "/api/v1/sources/reload"),
    "reopen-issue": ("POST", "/api/v1/issues/{id}/reopen"),
    "replay-event": ("POST", "/api/v1/events/{id}/replay"),
    "rescue-rejection": ("POST", "/api/v1/rejections/{id}/rescue"),
    "resolve-issue": ("POST", "/api/v1/issues/{id}/resolve"),
    "resume-destination": ("POST", "/api/v1/destinations/{name}/resume"),
    "resume-source": ("POST", "/api/v1/sources/{name}/resume"),
    "retry-delivery": ("POST", "/api/v1/deliveries/{id}/retry"),
    "retry-event": ("POST", "/api/v1/events/{id}/retry"),
    "retry-issue": ("POST", "/api/v1/issues/{id}/retry"),
    "retry-media": ("POST", "/api/v1/media/{id}/retry"),
    "retry-run": ("POST", "/api/v1/runs/{id}/retry"),
    "retry-webhook-log": ("POST", "/api/v1/webhooks/manage"),
    "revert-workflow": ("POST", "/api/v1/workflows/{name}/revert"),
    "revoke-key": ("DELETE", "/api/v1/keys/{id}"),
    "rotate-destination-secret": ("POST", "/api/v1/destinations/{name}/rotate"),
    "rotate-secrets": ("POST", "/api/v1/secrets/rotate"),
    "rotate-signing-key": ("POST", "/api/v1/signing-keys/{name}/rotate"),
    "rotate-source-secret": ("POST", "/api/v1/sources/{name}/rotate"),
    "save-budget": ("PUT", "/api/v1/budgets/{name}"),
    "save-project": ("POST", "/api/v1/projects"),
    "search": ("GET", "/api/v1/search"),
    "start-bulk": ("POST", "/api/v1/bulk"),
    "start-replay": ("POST", "/api/v1/replays"),
    "start-run": ("POST", "/api/v1/runs"),
    "stop-bulk": ("DELETE", "/api/v1/bulk/{id}"),
    "stream-changes": ("GET", "/api/v1/stream"),
    "stream-pulled": ("GET", "/api/v1/pull/stream"),
    "submit-job": ("POST", "/api/v1/jobs"),
    "subscribe": ("POST", "/api/v1/subscriptions"),
    "test-alerts": ("POST", "/api/v1/alerts/test"),
    "test-destination": ("POST", "/api/v1/destinations/{name}/test"),
    "test-source": ("POST", "/api/v1/sources/{name}/test"),
    "unlink-media": ("DELETE", "/api/v1/media/{id}/link"),
    "unsubscribe": ("DELETE", "/api/v1/subscriptions/{name}"),
    "update-destination": ("PATCH", "/api/v1/destinations/{name}"),
    "update-source": ("PATCH", "/api/v1/sources/{name}"),
    "update-workflow": ("PUT", "/api/v1/workflows/{name}"),
}
