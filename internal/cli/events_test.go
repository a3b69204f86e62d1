package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff/internal/shell"
)

// A search looks at a part of the log at a time: pages before the match are empty.
func TestListFollowsEmptyPages(t *testing.T) {
	t.Parallel()
	base := api(t, map[string]http.HandlerFunc{"GET /api/v1/events": func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("cursor") {
		case "":
			answer(`{"docs":[],"nextCursor":"n2"}`)(w, r)
		case "n2":
			answer(`{"docs":[],"nextCursor":"n3"}`)(w, r)
		default:
			fmt.Fprintf(w, `{"docs":[%s],"nextCursor":null}`, eventDoc("evt_old", "success"))
		}
	}})
	client2(base, "events", "list", "--q", "old").run(t, t.Context()).want(t, exitDone, []string{"evt_old"}, nil)
	client2(base, "events", "list", "--q", "old", "--limit", "0", "--json").run(t, t.Context()).want(t, exitDone, []string{`"evt_old"`}, nil)
}

func eventDoc(id, status string) string {
	return fmt.Sprintf(`{"id":%q,"webhookId":"w%s","source":"fal","type":"generation.completed","status":%q,"unhandled":true,"error":"boom %s",`+
		`"retryCount":3,"duplicates":0,"conflict":true,"correlationId":"c","receivedAt":"2026-01-31T11:00:00.123Z","processedAt":null}`, id, id, status, hostile)
}

func TestEventsList(t *testing.T) {
	t.Parallel()
	var queries []string
	base := api(t, map[string]http.HandlerFunc{"GET /api/v1/events": func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		if r.URL.Query().Get("cursor") == "" {
			fmt.Fprintf(w, `{"docs":[%s,%s],"nextCursor":"n2"}`, eventDoc("evt_1", "error"), eventDoc("evt_2", "pending"))
			return
		}
		fmt.Fprintf(w, `{"docs":[%s],"nextCursor":null}`, eventDoc("evt_3", "success"))
	}})
	res := client2(base, "events", "list", "--source=fal", "--type=t", "--status", "error", "--q", "a b", "--since", "1d", "--until", "2026-01-31T10:00:00Z").run(t, t.Context())
	at := time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC).Local().Format(time.RFC3339)
	res.want(t, exitDone, []string{"ID     SOURCE  TYPE", "evt_3", "success (unhandled) (conflict)", at, `boom \x1b]0;owned\x07\u202e\x9b31m\n`}, nil)
	want := []string{
		"limit=50&q=a+b&since=2026-01-30T12%3A00%3A00Z&source=fal&status=error&type=t&until=2026-01-31T10%3A00%3A00Z",
		"cursor=n2&limit=48&q=a+b&since=2026-01-30T12%3A00%3A00Z&source=fal&status=error&type=t&until=2026-01-31T10%3A00%3A00Z",
	}
	if diff := cmp.Diff(want, queries); diff != "" {
		t.Error(diff)
	}
	res = client2(base, "events", "list", "--limit", "2").run(t, t.Context())
	res.want(t, exitDone, nil, []string{"showing the newest 2; --limit 0 shows all"})
	if strings.Contains(res.stdout, "evt_3") {
		t.Error("more than the limit")
	}
	res = client2(base, "events", "list", "--limit", "0", "--json").run(t, t.Context())
	lines := strings.Split(strings.TrimSpace(res.stdout), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), res.stdout)
	}
	checkTerminalSafe(t, res.stdout)
	var got, sent any
	if json.Unmarshal([]byte(lines[2]), &got) != nil || json.Unmarshal([]byte(eventDoc("evt_3", "success")), &sent) != nil || !cmp.Equal(got, sent) {
		t.Error(cmp.Diff(sent, got))
	}
}

func checkTerminalSafe(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && r != '\t' && shell.Steers(r) {
			t.Fatalf("%U reaches the terminal in %q", r, text)
		}
	}
}

const shownEvent = `{"id":"evt_1","source":"fal","type":"generation.completed","status":"error","error":"no \u001b[2J","retryCount":1,"duplicates":2,
 "webhookId":"req-1","correlationId":"req-1","receivedAt":"2026-01-31T11:00:00Z","processedAt":"2026-01-31T11:00:05Z",
 "proof":{"scheme":"hmac-sha256","keyId":"ab12"},"data":{"a":1},
 "request":{"method":"POST","url":"https://h/api/v1/webhooks/fal","remoteAddr":"1.2.3.4","headers":{"Content-Type":["application/json"],"X-Evil":["\u001b[31m"]},"body":"{\"a\":\n\"\u009b2J\"}","bodyBase64":""},
 "deliveries":[{"id":"dlv_1-0","handler":"effects","state":"retrying","attempts":1,"maxAttempts":8,"runAt":"2026-01-31T12:00:00Z","error":"no","createdAt":"2026-01-31T11:00:00Z","finishedAt":null,
   "tries":[{"number":1,"outcome":"failed","startedAt":"2026-01-31T11:00:01Z","durationMs":12.5,"error":"dial tcp","detail":"","changes":null},
   {"number":2,"outcome":"failed","startedAt":"2026-01-31T11:00:09Z","durationMs":12.5,"error":"dial tcp","detail":"","changes":[]},
   {"number":3,"outcome":"failed","startedAt":"2026-01-31T11:00:19Z","durationMs":12.5,"error":"502","detail":"","changes":[{"field":"error"},{"field":"response.status"}]}]}],
 "copies":[],"children":[]}`

func TestEventsShow(t *testing.T) {
	t.Parallel()
	base := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/events/evt_1": answer(shownEvent),
		"GET /api/v1/events/bin":   answer(`{"id":"bin","request":{"method":"POST","url":"/","headers":{"A":["b"]},"bodyBase64":"/wA="}}`),
		"GET /api/v1/events/inner": answer(`{"id":"inner","request":null,"data":{"job":"job_1"}}`),
		"GET /api/v1/events/none":  func(w http.ResponseWriter, _ *http.Request) { problem(w, 404, "no event none") },
	})
	res := client2(base, "events", "show", "evt_1").run(t, t.Context())
	res.want(t, exitDone, []string{
		"evt_1", `no \x1b[2J`, "duplicates      2", "proof scheme    hmac-sha256", "delivery dlv_1-0 to effects: retrying, 1 of 8 attempts, next at ", "as before", "differs in error, response.status",
		"failed", "13ms", "dial tcp", "POST https://h/api/v1/webhooks/fal", `X-Evil: \x1b[31m`, "{\"a\":\n\"\\x9b2J\"}",
	}, nil)
	checkTerminalSafe(t, res.stdout)
	client2(base, "events", "show", "bin").run(t, t.Context()).want(t, exitDone, []string{"A: b", "2 bytes that are not text"}, nil)
	client2(base, "events", "show", "inner").run(t, t.Context()).want(t, exitDone, []string{`{"job":"job_1"}`}, nil)
	client2(base, "events", "show", "none").run(t, t.Context()).want(t, exitFailed, nil, []string{"404", "no event none"})
	res = client2(base, "events", "show", "evt_1", "--json").run(t, t.Context())
	checkTerminalSafe(t, res.stdout)
	var got, sent any
	if json.Unmarshal([]byte(res.stdout), &got) != nil || json.Unmarshal([]byte(shownEvent), &sent) != nil || !cmp.Equal(got, sent) {
		t.Error(cmp.Diff(sent, got))
	}
}

func TestEventsRetry(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 30 {
		many = append(many, eventDoc(fmt.Sprintf("evt_%02d", i), "error"))
	}
	var posts atomic.Int32
	base := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/events": func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Query().Get("source") == "empty":
				answer(`{"docs":[],"nextCursor":null}`)(w, r)
			case r.URL.Query().Get("status") == "error":
				fmt.Fprintf(w, `{"docs":[%s],"nextCursor":null}`, strings.Join(many, ","))
			default:
				fmt.Fprintf(w, `{"docs":[%s],"nextCursor":null}`, eventDoc("evt_1", "success"))
			}
		},
		"POST /api/v1/events/{id}/retry": func(w http.ResponseWriter, r *http.Request) {
			posts.Add(1)
			if strings.HasSuffix(r.PathValue("id"), "7") {
				problem(w, http.StatusConflict, "not in error")
				return
			}
			answer(`{"deliveries":["dlv_1","dlv_2"]}`)(w, r)
		},
		"POST /api/v1/events/{id}/replay": answer(`{"deliveries":["dlv_9"]}`),
		"POST /api/v1/webhooks/manage": func(w http.ResponseWriter, r *http.Request) {
			var in struct{ WebhookLogID string }
			if json.NewDecoder(r.Body).Decode(&in) != nil || in.WebhookLogID == "evt_bad" {
				w.WriteHeader(http.StatusInternalServerError)
				answer(`{"error":"Retry failed","reason":"handler: still down"}`)(w, r)
				return
			}
			answer(`{"success":true}`)(w, r)
		},
	})
	client2(base, "events", "retry", "evt_1", "evt_7").run(t, t.Context()).
		want(t, exitFailed, []string{"evt_1: retried, 2 deliveries\n", "2 events: 1 retried, 1 failed"}, []string{"evt_7: the gateway answered 409: not in error"})
	client2(base, "events", "retry", "evt_1").run(t, t.Context()).want(t, exitDone, []string{"evt_1: retried"}, nil)
	client2(base, "events", "retry", "--now", "evt_1", "evt_bad").run(t, t.Context()).
		want(t, exitFailed, []string{"evt_1: success", "1 failed"}, []string{"evt_bad: the gateway answered 500: Retry failed: handler: still down"})
	client2(base, "events", "replay", "evt_1").run(t, t.Context()).want(t, exitDone, []string{"evt_1: replayed, 1 delivery\n"}, nil)
	client2(base, "events", "replay", "evt_1", "--json").run(t, t.Context()).
		want(t, exitDone, []string{`{"id":"evt_1","ok":true,"deliveries":["dlv_9"]}`}, nil)
	client2(base, "events", "retry", "evt_1", "--token", "wrong").run(t, t.Context()).want(t, exitFailed, nil, []string{"0 of 1 done before", "401"})

	// Many need a confirmation; without a terminal the command does nothing.
	before := posts.Load()
	bulk := client2(base, "events", "retry", "--source", "fal", "--since", "2h")
	bulk.run(t, t.Context()).want(t, exitUsage, nil, []string{"30 events match; add --yes"})
	bulk.terminal, bulk.stdin = true, "n\n"
	bulk.run(t, t.Context()).want(t, exitFailed, nil, []string{"30 events match; go on? [y/N]", "nothing was done"})
	if posts.Load() != before {
		t.Error("tried without a yes")
	}
	bulk.stdin = "y\n"
	bulk.run(t, t.Context()).want(t, exitFailed, []string{"30 events: 27 retried, 3 failed"}, []string{"\r\x1b[K30/30, 3 failed", "evt_07: "})
	bulk.terminal, bulk.stdin = false, ""
	bulk.args = append(bulk.args, "--yes")
	res := bulk.run(t, t.Context())
	res.want(t, exitFailed, []string{"30 events: 27 retried, 3 failed"}, []string{"3/30, 0 failed\n", "30/30, 3 failed\n"})
	if n := strings.Count(res.stderr, "/30"); n != 10 {
		t.Errorf("%d lines of progress", n)
	}
	client2(base, "events", "retry", "--source", "empty").run(t, t.Context()).want(t, exitDone, nil, []string{"no event matches"})
	client2(base, "events", "replay", "--source", "fal", "--yes").run(t, t.Context()).want(t, exitDone, []string{"evt_1: replayed"}, nil)
}

// A stream that breaks is taken up again from the last id.
func TestEventsTail(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	resumed := make(chan string, 1)
	base := api(t, map[string]http.HandlerFunc{"GET /api/v1/stream": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if calls.Add(1) == 1 {
			fmt.Fprintf(w, ": hello\n\nevent: event\nid: 41\ndata: %s\n\nevent: job\nid: 42\ndata: {}\n\nevent: event\nid: 43\ndata: {\"id\":\"evt_lost\"", eventDoc("evt_1", "pending"))
			return
		}
		resumed <- r.Header.Get("Last-Event-ID")
		fmt.Fprintf(w, "event: event\r\nid: 43\r\ndata: %s\r\n\r\nevent: event\ndata: {\"id\":\"evt_x\",\"source\":\"other\"}\n\n", eventDoc("evt_2", "success"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if id := <-resumed; id != "42" {
			t.Errorf("resumed after %q", id)
		}
		cancel()
	}()
	res := client2(base, "events", "tail", "--source", "fal").run(t, ctx)
	res.want(t, exitDone, []string{"evt_1  fal", `boom \x1b]0;owned`}, nil)
	if strings.Contains(res.stdout, "evt_lost") || strings.Contains(res.stdout, "evt_x") {
		t.Errorf("half an event, or another source's:\n%s", res.stdout)
	}
	checkTerminalSafe(t, res.stdout)
	client2(base, "events", "tail", "--token", "x").run(t, t.Context()).want(t, exitFailed, nil, []string{"401"})
}
