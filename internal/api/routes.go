package api

import (
	"net/http"
	"slices"

	"gaff/internal/access"
	"gaff/internal/issue"
	"gaff/jobs"
	"gaff/workflow"
)

// routes is the table of contents of the API: path, operationId (also the action in the audit
// log), the role that it needs, summary and handler.
func (s *server) routes() []route {
	var all []route
	for _, part := range [][]route{
		s.eventRoutes(), s.replayRoutes(), s.jobRoutes(), s.workflowRoutes(), s.sourceRoutes(), s.destinationRoutes(), s.previewRoutes(), s.issueRoutes(), s.costRoutes(), s.configurationRoutes(), s.importRoutes(), s.accessRoutes(), s.erasureRoutes(), s.systemRoutes(),
	} {
		all = append(all, part...)
	}
	return all
}

func (s *server) eventRoutes() []route {
	return append(append(s.publishRoutes(), open(access.ReachSource,
		raw(http.MethodGet, logsPath, "list-webhook-logs", Viewer, "List webhook logs, in the form of Payload CMS", (*server).listWebhookLogs, describeListWebhookLogs),
		raw(http.MethodPost, logsPath, "retry-webhook-log", Operator, "Retry a failed webhook now, and wait for the outcome", (*server).retryWebhookLog, describeRetryWebhookLog),
		raw(http.MethodGet, logsPath+"/count", "count-webhook-logs", Viewer, "Count webhook logs, as Payload CMS does", (*server).countWebhookLogs, describeCountWebhookLogs),
		raw(http.MethodGet, logsPath+"/{id}", "get-webhook-log", Viewer, "Get a webhook log, in the form of Payload CMS", (*server).getWebhookLog, describeGetWebhookLog),

		get("/api/v1/events", "list-events", Viewer, "List events, newest first", s.listEvents),
		get("/api/v1/events/{id}", "get-event", Viewer, "Get an event with its request, deliveries and attempts", s.getEvent),
		raw(http.MethodGet, "/api/v1/events/{id}/body", "get-event-body", Viewer, "Download the exact bytes of a webhook's body", (*server).getEventBody, describeEventBody),
		raw(http.MethodGet, "/api/v1/events/{id}/test", "get-event-test", Viewer, "Download an event as a test in Go or TypeScript, or as a script with curl", (*server).getEventTest, describeEventTest),
		post("/api/v1/events/{id}/retry", "retry-event", Operator, "Retry the dead deliveries of an event", s.retryEvent),
		post("/api/v1/events/{id}/replay", "replay-event", Operator, "Process an event again by all its handlers", s.replayEvent),

		get("/api/v1/deliveries", "list-deliveries", Viewer, "List deliveries, newest event first", s.listDeliveries),
		get("/api/v1/deliveries/{id}", "get-delivery", Viewer, "Get a delivery with its attempts", s.getDelivery),
		post("/api/v1/deliveries/{id}/retry", "retry-delivery", Operator, "Retry a dead or canceled delivery", s.retryDelivery),
		post("/api/v1/deliveries/{id}/cancel", "cancel-delivery", Operator, "Cancel a delivery that is not done", s.cancelDelivery),

		get("/api/v1/rejections", "list-rejections", Viewer, "List rejected requests, newest first", s.listRejections),
		get("/api/v1/rejections/{id}", "get-rejection", Viewer, "Get a rejected request", s.getRejection),
		post("/api/v1/rejections/{id}/rescue", "rescue-rejection", Operator, "Verify a rejected request again, by the source as it is now and at its own time, and store it if it is authentic", s.rescueRejection),
	)...),
		post("/api/v1/bulk", "start-bulk", Operator, "Retry or replay all matching events, or rescue all matching requests, or count them first", s.startBulk, answers(http.StatusAccepted)),
		get("/api/v1/bulk/{id}", "get-bulk", Operator, "Get the progress of a bulk action", s.getBulk),
		end("/api/v1/bulk/{id}", "stop-bulk", Operator, "Stop a bulk action; finished items stay finished", s.stopBulk),
	)
}

func (s *server) publishRoutes() []route {
	return open(access.ReachSource|access.ReachProject,
		full(http.MethodPost, "/api/v1/events", "publish-events", Operator, "Publish an event of your application, or a list of events, now or at a later time", s.publishEvents, answers(http.StatusCreated), accepts(maxPublishBody), also(http.StatusOK), fails(http.StatusBadRequest), unchecked, says("All events of a list are stored in one commit. 200 if all their idempotencyKeys were used before.")),
		get("/api/v1/scheduled-events", "list-scheduled-events", Viewer, "List the events that were published with a time of their own, newest first", s.listScheduled),
		get("/api/v1/scheduled-events/{id}", "get-scheduled-event", Viewer, "Get a scheduled event", s.getScheduled),
		patch("/api/v1/scheduled-events/{id}", "change-scheduled-event", Operator, "Change the time, type or data of a scheduled event", s.changeScheduled, accepts(maxPublishBody), fails(http.StatusBadRequest)),
		end("/api/v1/scheduled-events/{id}", "cancel-scheduled-event", Operator, "Cancel a scheduled event", s.cancelScheduled),
	)
}

func (s *server) jobRoutes() []route {
	return slices.Concat(
		open(access.ReachProject,
			get("/api/v1/jobs", "list-jobs", Viewer, "List jobs, newest first", s.listJobs),
			full(http.MethodPost, "/api/v1/jobs", "submit-job", Operator, "Submit a job to a provider, with gaff's webhook URL", s.submitJob, answers(http.StatusAccepted), fails(http.StatusPaymentRequired), accepts(maxJobBody)),
			post("/api/v1/media/{id}/link", "link-media", Operator, "Give a file a permanent link, which needs no token; the same one each time until it is revoked", s.linkMedia),
			end("/api/v1/media/{id}/link", "unlink-media", Operator, "Revoke a file's permanent link", s.unlinkMedia),
			put("/api/v1/jobs/{id}", "register-job", Operator, "Register a job that your application submits itself", s.registerJob, accepts(jobs.MaxMetadata+maxBody)),
		),
		open(reachJobs,
			get("/api/v1/jobs/{id}", "get-job", Viewer, "Get a job with its result, input and log", s.getJob),
			post("/api/v1/jobs/{id}/cancel", "cancel-job", Operator, "Cancel a job, also at the provider", s.cancelJob, fails(http.StatusBadGateway)),
			post("/api/v1/jobs/{id}/ask", "ask-job", Operator, "Poll the provider for a job now", s.pollJob, fails(http.StatusBadGateway)),

			get("/api/v1/media", "list-media", Viewer, "List files, newest first", s.listMedia),
			raw(http.MethodGet, mediaZipPath, "get-media-zip", Viewer, "Download the copies of several files as one archive", (*server).getMediaZip, describeMediaZip),
			get("/api/v1/media/{id}", "get-media", Viewer, "Get a file's row", s.getMedia),
			raw(http.MethodGet, "/api/v1/media/{id}/file", "get-media-file", Viewer, "Download gaff's copy of a file; parts by Range", (*server).getMediaFile, describeMediaFile),
			raw(http.MethodGet, "/api/v1/media/{id}/thumbnail", "get-media-thumbnail", Viewer, "Download a small picture of an image, as JPEG", (*server).getMediaThumbnail, describeMediaFile),
			post("/api/v1/media/{id}/retry", "retry-media", Operator, "Copy a file that has no copy", s.retryMedia),
		),
		[]route{
			get("/api/v1/callback-secrets", "list-callback-secrets", Admin, "Get the secrets that sign the webhooks passed on to jobs' callback URLs", s.listCallbackSecrets),
		},
	)
}

func (s *server) workflowRoutes() []route {
	return slices.Concat(
		[]route{
			get("/api/v1/workflows", "list-workflows", Viewer, "List the workflows, by name; all on one page", s.listWorkflows),
			get("/api/v1/workflows/{name}", "get-workflow", Viewer, "Get a workflow with its definition", s.getWorkflow),
			post("/api/v1/workflows", "create-workflow", Admin, "Write a workflow; a file of the same name would hide it", s.createWorkflow, answers(http.StatusCreated), fails(http.StatusBadRequest), accepts(maxWorkflowBody)),
			put("/api/v1/workflows/{name}", "update-workflow", Admin, "Write a new revision of a workflow; runs keep the revision that they started with", s.updateWorkflow, fails(http.StatusBadRequest), accepts(maxWorkflowBody)),
			remove("/api/v1/workflows/{name}", "delete-workflow", Admin, "Delete a workflow that was written by the API, with its revisions; its runs go on", s.deleteWorkflow),
			post("/api/v1/workflows/check", "check-workflow", Operator, "Check the text of a workflow without storing it: its faults, or its steps", s.checkWorkflow, fails(http.StatusBadRequest), accepts(maxWorkflowBody)),
			get("/api/v1/workflows/{name}/revisions", "list-workflow-revisions", Viewer, "List the revisions of a workflow that was written by the API, newest first; the last 20 are stored", s.listWorkflowRevisions),
			post("/api/v1/workflows/{name}/revert", "revert-workflow", Admin, "Write the text of an older revision as a new one", s.revertWorkflow, fails(http.StatusBadRequest)),
			get("/api/v1/projects", "list-projects", Viewer, "List projects, newest first", s.listProjects),
			post("/api/v1/projects", "save-project", Operator, "Create a project, or set its name, owner and metadata", s.saveProject),
		},
		open(access.ReachProject,
			get("/api/v1/runs", "list-runs", Viewer, "List runs, newest first", s.listRuns),
			full(http.MethodPost, "/api/v1/runs", "start-run", Operator, "Start a run of a workflow", s.startRun, answers(http.StatusAccepted), fails(http.StatusNotFound), accepts(2*workflow.MaxInput), also(http.StatusOK), says("200 if the idempotencyKey was used before.")),
			get("/api/v1/projects/{id}", "get-project", Viewer, "Get a project; its jobs, media and runs are found by projectId", s.getProject),
		),
		open(reachRuns,
			get("/api/v1/runs/{id}", "get-run", Viewer, "Get a run with its steps", s.getRun),
			get("/api/v1/runs/{id}/steps/{step}", "get-run-step", Viewer, "Get a step of a run and its items, with input and result", s.getStep),
			post("/api/v1/runs/{id}/cancel", "cancel-run", Operator, "Cancel a run, and its jobs at their providers", s.cancelRun),
			post("/api/v1/runs/{id}/retry", "retry-run", Operator, "Retry a failed run, from a step, or for one item of it", s.retryRun),
			post("/api/v1/runs/{id}/approve", "decide-run", Operator, "Approve or reject a waiting step", s.decideRun),
		),
	)
}

func (s *server) sourceRoutes() []route {
	bad := fails(http.StatusBadRequest)
	return append(append([]route{
		post("/api/v1/sources", "create-source", Admin, "Create a source from a preset or a description, and get its URL and secret", s.createSource, answers(http.StatusCreated), bad, accepts(maxSourceBody)),
		patch("/api/v1/sources/{name}", "update-source", Admin, "Change fields of a source that was created by the API (JSON merge patch)", s.updateSource, bad, accepts(maxSourceBody), describeSourcePatch),
		remove("/api/v1/sources/{name}", "delete-source", Admin, "Delete a source that was created by the API; its events stay", s.deleteSource),
		post("/api/v1/sources/{name}/rotate", "rotate-source-secret", Admin, "Replace the secret of a source; the former one is accepted for a while", s.rotateSource, bad),
		post("/api/v1/sources/{name}/pause", "pause-source", Operator, "Pause a source: senders are answered 503, so that they come again", s.pauseSource),
		post("/api/v1/sources/{name}/resume", "resume-source", Operator, "Resume a paused source", s.resumeSource),
	}, open(access.ReachSource,
		get("/api/v1/sources/{name}", "get-source", Viewer, "Get a source", s.getSource),
		post("/api/v1/sources/{name}/test", "test-source", Operator, "Send a signed sample to a source, as its sender would", s.testSource),
	)...),
		get("/api/v1/sources", "list-sources", Viewer, "List the sources", s.listSources),
		post("/api/v1/sources/reload", "reload-sources", Admin, "Read the configuration again: secrets, verifiers and limits of the sources", s.reloadSources),
		get("/api/v1/sources/{name}/key", "get-source-key", Admin, "Get the key that the source's sender handed over in a handshake", s.getSourceKey),
		post("/api/v1/sources/{name}/key", "open-source-key", Admin, "Accept the key that the source's next handshake brings, for a while", s.openSourceKey),
		remove("/api/v1/sources/{name}/key", "forget-source-key", Admin, "Remove the key that the source's sender handed over", s.removeSourceKey),
	)
}

func (s *server) destinationRoutes() []route {
	bad := fails(http.StatusBadRequest)
	return append(open(access.ReachDestination,
		get("/api/v1/destinations/{name}", "get-destination", Viewer, "Get a destination with its health and backlog", s.getDestination),
		post("/api/v1/destinations/{name}/pause", "pause-destination", Operator, "Pause a destination; its deliveries are queued", s.pauseDestination),
		post("/api/v1/destinations/{name}/resume", "resume-destination", Operator, "Resume a destination; an open circuit is closed", s.resumeDestination),
		post("/api/v1/destinations/{name}/test", "test-destination", Operator, `Send a "gaff:test" event to a destination now, and return its response`, s.testDestination),
		post("/api/v1/pull", "pull", Operator, "Fetch deliveries of a destination of kind pull, to be acknowledged", s.pull, bad, fails(http.StatusNotFound)),
		raw(http.MethodGet, "/api/v1/pull/stream", "stream-pulled", Operator, "Server-sent events: deliveries of a destination of kind pull", (*server).pullStream, describePullStream),
		post("/api/v1/pull/ack", "ack-pulled", Operator, "Acknowledge deliveries: they are done", s.ackPulled, bad),
		post("/api/v1/pull/release", "release-pulled", Operator, "Give deliveries back: due again at once, and no attempt counts", s.releasePulled, bad),
		post("/api/v1/pull/fail", "fail-pulled", Operator, "Report deliveries that failed: another attempt follows, or they are dead", s.failPulled, bad),
		post("/api/v1/pull/extend", "extend-pulled", Operator, "Hold deliveries for longer", s.extendPulled, bad),
	),
		get("/api/v1/destinations", "list-destinations", Viewer, "List destinations, by name", s.listDestinations),
		post("/api/v1/destinations", "create-destination", Admin, "Forward events to a URL, a broker or clients that pull", s.createDestination, answers(http.StatusCreated), bad),
		patch("/api/v1/destinations/{name}", "update-destination", Admin, "Change fields of a destination (JSON merge patch)", s.updateDestination, bad, describeDestinationPatch),
		remove("/api/v1/destinations/{name}", "delete-destination", Admin, "Delete a destination and cancel its deliveries", s.deleteDestination),
		post("/api/v1/destinations/{name}/rotate", "rotate-destination-secret", Admin, "Sign with a new secret, and for now also with the previous one", s.rotateDestination),
		get("/api/v1/subscriptions", "list-subscriptions", Viewer, "List the subscriptions to the log of events", s.listSubscriptions),
		post("/api/v1/subscriptions", "subscribe", Operator, "Subscribe to the log of events, with a position of one's own", s.subscribe, bad),
		remove("/api/v1/subscriptions/{name}", "unsubscribe", Operator, "Delete a subscription", s.unsubscribe),
		get("/api/v1/subscriptions/{name}/events", "listen", Operator, "Get the next events of a subscription, headers and signatures as received", s.listen, bad),
		post("/api/v1/subscriptions/{name}/ack", "ack-subscription", Operator, "Acknowledge the events of a subscription up to a cursor", s.ackSubscription, bad),
	)
}

func (s *server) issueRoutes() []route {
	return []route{
		get("/api/v1/issues", "list-issues", Viewer, "List issues: failures in groups, the one that failed last first", s.listIssues),
		get("/api/v1/issues/{id}", "get-issue", Viewer, "Get an issue", s.getIssue),
		post("/api/v1/issues/{id}/acknowledge", "acknowledge-issue", Operator, "Acknowledge an issue: its alert is not repeated", s.setIssue(issue.Acknowledged)),
		post("/api/v1/issues/{id}/resolve", "resolve-issue", Operator, "Resolve an issue; the next failure opens it again", s.setIssue(issue.Resolved)),
		post("/api/v1/issues/{id}/ignore", "ignore-issue", Operator, "Ignore an issue, also if it fails again", s.setIssue(issue.Ignored)),
		post("/api/v1/issues/{id}/reopen", "reopen-issue", Operator, "Open an issue again", s.setIssue(issue.Open)),
		post("/api/v1/issues/{id}/retry", "retry-issue", Operator, "Retry all dead deliveries of an issue, or rescue its rejected requests, as a bulk action", s.retryIssue, answers(http.StatusAccepted)),

		get("/api/v1/alerts", "list-alerts", Viewer, "List alerts, the active ones first", s.listAlerts),
		get("/api/v1/alert-channels", "list-alert-channels", Viewer, "List the channels of alerts, by name", s.listAlertChannels),
		post("/api/v1/alerts/test", "test-alerts", Operator, "Send a test message by the channels of alerts now, and return the outcome", s.testAlerts, fails(http.StatusNotFound)),
	}
}

// costRoutes are for keys without a limit: sums, budgets and limits cover all projects.
func (s *server) costRoutes() []route {
	bad := fails(http.StatusBadRequest)
	return []route{
		get("/api/v1/costs", "get-costs", Viewer, "Sum what jobs cost, by project, user, model, provider, day, run or caller", s.getCosts, bad),
		raw(http.MethodGet, "/api/v1/costs.csv", "get-costs-csv", Viewer, "Sum what jobs cost, as CSV", (*server).getCostsCSV, describeCostsCSV),
		get("/api/v1/budgets", "list-budgets", Viewer, "List budgets, by name, with what their period costs so far", s.listBudgets),
		get("/api/v1/budgets/{name}", "get-budget", Viewer, "Get a budget", s.getBudget),
		put("/api/v1/budgets/{name}", "save-budget", Admin, "Create or replace a budget: what jobs may cost a day or month", s.saveBudget, bad),
		remove("/api/v1/budgets/{name}", "delete-budget", Admin, "Delete a budget", s.removeBudget),
		get("/api/v1/limits", "list-limits", Viewer, "List the limits of providers, models, projects and users, with their use on all nodes", s.listLimits),
		post("/api/v1/jobs/{id}/approve", "approve-job", Admin, "Submit a job that a budget holds, beyond its limit", s.approveJob),
		post("/api/v1/jobs/{id}/reject", "reject-job", Admin, "End a job that a budget holds as failed", s.rejectJob),
	}
}

func (s *server) accessRoutes() []route {
	return append(open(reachAll,
		get("/api/v1/me", "get-me", Viewer, "Get the caller, its role and its scope", s.getMe),
		post("/api/v1/tokens", "create-token", Viewer, "Create a short-lived token for a browser, which may read one project, job or run", s.createToken, answers(http.StatusCreated), fails(http.StatusBadRequest)),
	),
		get("/api/v1/keys", "list-keys", Admin, "List API keys, newest first", s.listKeys),
		post("/api/v1/keys", "create-key", Admin, "Create an API key; only this answer has its secret", s.createKey, answers(http.StatusCreated)),
		remove("/api/v1/keys/{id}", "revoke-key", Admin, "Revoke an API key, and end the sessions that it opened", s.revokeKey),
		get("/api/v1/sessions", "list-sessions", Admin, "List the browsers that are logged in to the console", s.listSessions),
		remove("/api/v1/sessions/{id}", "end-session", Admin, "Log a browser out", s.endSession),
		post("/api/v1/login-links", "create-login-link", Viewer, "Create a link that logs a browser in to the console once, with the role of the caller", s.createLoginLink, answers(http.StatusCreated)),
		get("/api/v1/audit", "list-audit", Viewer, "List the audit log, newest first", s.listAudit),
		raw(http.MethodGet, "/api/v1/audit/export", "export-audit", Viewer, "Download the audit log as JSON Lines", (*server).exportAudit, describeExport),
	)
}

func (s *server) systemRoutes() []route {
	return append(open(reachAll,
		raw(http.MethodGet, "/api/v1/stream", "stream-changes", Viewer, "Server-sent events: every change of an event, job, file or run", (*server).stream, describeStream),
	),
		get("/api/v1/search", "search", Viewer, "Find what a text names: ids of any age, names, and jobs by model and prompt", s.search),
		get("/api/v1/stats", "get-stats", Viewer, "Count events and open deliveries", s.getStats),
		get("/api/v1/stats/series", "get-series", Viewer, "Get received, rejected and failed counts and latencies over time", s.getSeries),
		get("/api/v1/stats/jobs", "get-job-stats", Viewer, "Count the jobs of a period by status, model and error, with the time to result", s.getJobStats),
		get("/api/v1/stats/silence", "list-silent-sources", Viewer, "List the sources that have received nothing for longer than usual", s.listSilentSources),
		get("/api/v1/health", "get-health", Viewer, "Get the state of this node", s.getHealth, within(healthTime)),
		get("/api/v1/settings", "list-settings", Viewer, "List the settings in force; secrets are masked", s.listSettings),
	)
}
