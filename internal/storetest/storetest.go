// Package storetest is what every store must do, as one suite of tests over all of them.
package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/alert"
	"gaff/internal/issue"
	"gaff/internal/sqlstore"
	"gaff/internal/stats"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// Store is what a store offers to the rest of gaff.
type Store interface {
	gaff.Store
	jobs.Store
	jobs.Reader
	Prune(ctx context.Context, r sqlstore.Retention) (sqlstore.Pruned, error)
	runs.Store
	runs.Reader
	gaff.Records
	gaff.Follower
	QueueCounts(ctx context.Context, lane string) (gaff.QueueCounts, error)
	access.Store
	PruneAudit(ctx context.Context, before time.Time, most int64) (removed int64, err error)
	stats.Store
	issue.Store
	alert.Store
	CheckBodies(ctx context.Context) (sqlstore.BodyReport, error)
	DamagedBodies() int64
}

// MaxRejections is the bound that the opened stores must be given.
const MaxRejections = 100

// MaxQuarantine is the other bound that they must be given, in bytes.
const MaxQuarantine = 16 << 10

// Open opens the database that belongs to the test, which is empty at first: called again
// after a Close, it opens the same one. The suite closes what it opens.
type Open func(t *testing.T) Store

// Exec runs one statement as another program would, while a store has the database open.
type Exec func(t *testing.T, text string, args ...any)

// Run runs the suite. fresh makes a new empty database and returns how to open it.
func Run(t *testing.T, fresh func(t *testing.T) (Open, Exec)) {
	tests := map[string]func(*suite){
		"AcceptKeepsAll":                 testAccept,
		"KnownKeyAddsNothing":            testDuplicate,
		"SignedContentIsOneEvent":        testSignedKey,
		"ConcurrentArrivalsOfOneKey":     testRace,
		"HostileText":                    testHostileText,
		"ClaimHandsOutOnce":              testClaim,
		"LanesAreApart":                  testQueues,
		"OrderByKey":                     testOrderByKey,
		"OrderHoldsDead":                 testOrderHoldsDead,
		"OrderLatest":                    testOrderLatest,
		"OrderUnderRace":                 testOrderUnderRace,
		"CancelLane":                     testCancelQueue,
		"Records":                        testRecords,
		"Follow":                         testFollow,
		"FinishIsFenced":                 testFinish,
		"ReleaseAndReopenCostNoAttempt":  testRelease,
		"OutcomeOverSeveralDeliveries":   testOutcome,
		"ApplyIsAllOrNothing":            testApply,
		"OneBadEffectHoldsNobodyUp":      testBadNeighbour,
		"OperationsOfOneCommitShareAJob": testSharedJobs,
		"WriteIsAllOrNothing":            testWrite,
		"JobsMoveForwardOnly":            testJobs,
		"Ledger":                         testJobService,
		"NotesAreBounded":                testNotes,
		"IdempotencyKeysAreTheCallers":   testIdempotencyKeys,
		"RemovedJobLeavesNothing":        testRemovedJob,
		"AsksAreHandedOutOnce":           testPolls,
		"Settings":                       testSettings,
		"Waits":                          testWaits,
		"EmitOnce":                       testEmit,
		"Projects":                       testProjects,
		"RunsAndSteps":                   testRuns,
		"LimitsAreKept":                  testSlots,
		"RetryOfTheDead":                 testRetry,
		"ReplayReplaces":                 testReplay,
		"Cancel":                         testCancel,
		"Retention":                      testRetention,
		"EventLists":                     testEventLists,
		"LogsByNumber":                   testLogs,
		"DeliveryLists":                  testDeliveryLists,
		"JobAndMediaLists":               testResultLists,
		"RejectionsAreBounded":           testRejections,
		"BatchIsOneCommit":               testBatch,
		"QuarantineIsBounded":            testQuarantine,
		"KeysAreNoted":                   testKeyUses,
		"KeptOnce":                       testKept,
		"ChangesInOrder":                 testChanges,
		"CountsAgreeWithTheLists":        testCounts,
		"UnknownAndBrokenIDs":            testUnknown,
		"KeysAndSessions":                testKeysAndSessions,
		"LoginLinksWorkOnce":             testLoginLinks,
		"AuditLog":                       testAudit,
		"AuditLogIsBounded":              testAuditRetention,
		"SessionsEndWithTheirKey":        testSessionsEndWithTheirKey,
		"RevokeKeysThatAKeyMade":         testRevokeMade,
		"Latencies":                      testLatencies,
		"ClosedStore":                    testClosed,
		"EverythingIsThereAfterReopened": testReopen,
		"DamagedBodyIsNotUsed":           testDamagedBody,
		"DamagedBodyIsRestored":          testDamagedRestored,
		"DamagedBodiesAreFound":          testCheckBodies,
		"UnhashedBodyIsUsed":             testUnhashed,
		"IssuesOfDeliveries":             testIssuesOfDeliveries,
		"IssueStates":                    testIssueStates,
		"IssuesResolveThemselves":        testIssuesResolveThemselves,
		"IssuesOfRejections":             testIssuesOfRejections,
		"IssuesAreBounded":               testIssuesAreBounded,
		"IssueRetention":                 testIssueRetention,
		"IssuesUnderRace":                testIssuesUnderRace,
		"Alerts":                         testAlerts,
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open, exec := fresh(t)
			s := &suite{T: t, ctx: t.Context(), open: open, exec: exec, now: time.Now().UTC().Add(-2 * time.Hour).Truncate(time.Microsecond)}
			s.st = s.open(t)
			t.Cleanup(func() {
				if err := s.st.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			tests[name](s)
		})
	}
}

type suite struct {
	*testing.T
	ctx  context.Context
	open Open
	exec Exec
	st   Store
	now  time.Time
	made int
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) wants(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: %v, want %v", what, err, want)
	}
}

// equal compares; nil and empty are the same.
func (s *suite) equal(what string, got, want any) {
	s.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		s.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// event is a webhook with fresh ids.
func (s *suite) event(change ...func(*gaff.Event)) *gaff.Event {
	s.made++
	body := []byte(fmt.Sprintf(`{"n":%d,"seed":17454220438242315174}`, s.made))
	ev := &gaff.Event{
		Source: "shop", Type: "paid", WebhookID: fmt.Sprint("wh-", s.made), DedupeKey: fmt.Sprint("wh-", s.made, "\npaid"), // begins with the id, as the gateway makes it
		ReceivedAt: s.now.Add(time.Duration(s.made) * time.Millisecond), Data: body,
		Request: &gaff.Request{
			Method: "POST", URL: "https://hooks.example.com/api/v1/webhooks/shop", RemoteAddr: "192.0.2.7",
			Header: map[string][]string{"X-A": {"1", "2"}, "X-B": {""}}, Body: body,
		},
		Verification: gaff.Verification{Scheme: "hmac-sha256", KeyID: "ab12"},
	}
	ev.Request.ReceivedAt = ev.ReceivedAt
	for _, f := range change {
		f(ev)
	}
	return ev
}

func to(handlers ...string) (ds []gaff.Delivery) {
	for _, h := range handlers {
		ds = append(ds, gaff.Delivery{Handler: h, MaxAttempts: 3})
	}
	return ds
}

// takeAll asks for all of n deliveries.
func takeAll(n int) []bool { return slices.Repeat([]bool{true}, n) }

func (s *suite) accept(ev *gaff.Event, ds ...gaff.Delivery) gaff.Receipt {
	s.Helper()
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: ev, Deliveries: ds})
	s.must(err)
	return rc
}

// take accepts an event for one handler and takes its delivery.
func (s *suite) take(change ...func(*gaff.Event)) gaff.Work {
	s.Helper()
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(change...), Deliveries: to("h"), Take: takeAll(1)})
	s.must(err)
	if len(rc.Work) != 1 {
		s.Fatalf("took %d deliveries, want 1", len(rc.Work))
	}
	return rc.Work[0]
}

func (s *suite) claim(limit int) []gaff.Work {
	s.Helper()
	work, err := s.st.Claim(s.ctx, gaff.ClaimParams{Now: time.Now().Add(time.Minute), Limit: limit})
	s.must(err)
	return work
}

func (s *suite) finish(w gaff.Work, state gaff.State, failure string) error {
	o := gaff.Outcome{State: state, Attempt: gaff.Attempt{
		Outcome: gaff.AttemptSucceeded, StartedAt: s.now, Duration: 3 * time.Millisecond, Error: failure,
	}}
	if failure != "" {
		o.Attempt.Outcome = gaff.AttemptFailed
	}
	if !state.Done() {
		o.RunAt = s.now
	}
	return s.st.Finish(s.ctx, w.Lease, o)
}

func (s *suite) detail(eventID string) *gaff.EventDetail {
	s.Helper()
	d, err := s.st.Event(s.ctx, eventID)
	s.must(err)
	return d
}

func (s *suite) reopen() {
	s.Helper()
	s.must(s.st.Close())
	s.st = s.open(s.T)
}

func testAccept(s *suite) {
	ev := s.event(func(ev *gaff.Event) {
		ev.CorrelationID, ev.CallbackToken, ev.OccurredAt = "order-7", "team-a", s.now.Add(-time.Hour)
	})
	rc := s.accept(ev, to("a", "b")...)
	if rc.Duplicate || rc.Conflict || len(rc.Work) != 0 || rc.ID == "" {
		s.Fatalf("receipt %+v", rc)
	}
	d := s.detail(rc.ID)
	want := *ev
	want.ID = rc.ID
	s.equal("event", d.Event, want)
	if d.Status != gaff.StatusPending || d.Unhandled || len(d.Deliveries) != 2 || !d.ProcessedAt.IsZero() {
		s.Errorf("log %+v", d.Log)
	}
	for i, dl := range d.Deliveries {
		if dl.State != gaff.StatePending || dl.MaxAttempts != 3 || dl.Handler != string(rune('a'+i)) || dl.EventID != rc.ID ||
			!dl.RunAt.Equal(ev.ReceivedAt) || dl.Source != "shop" || dl.WebhookID != ev.WebhookID {
			s.Errorf("delivery %+v", dl)
		}
	}
	// Without a handler there is nothing to wait for.
	rc = s.accept(s.event())
	if d := s.detail(rc.ID); d.Status != gaff.StatusSuccess || !d.Unhandled || d.ProcessedAt.IsZero() {
		s.Errorf("unhandled: %+v", d.Log)
	}
	// An inner event has no request; a body that is no JSON is kept beside what was read.
	rc = s.accept(s.event(func(ev *gaff.Event) {
		ev.Request, ev.Verification, ev.Source = nil, gaff.Verification{}, gaff.InternalSource
	}))
	if d := s.detail(rc.ID); d.Request != nil || string(d.Data) != `{"n":3,"seed":17454220438242315174}` {
		s.Errorf("inner: %+v", d.Event)
	}
	rc = s.accept(s.event(func(ev *gaff.Event) { ev.Request.Body, ev.Data = []byte("a=b&\x00\xff"), json.RawMessage(`{"a":"b"}`) }))
	if d := s.detail(rc.ID); string(d.Request.Body) != "a=b&\x00\xff" || string(d.Data) != `{"a":"b"}` {
		s.Errorf("form: %q %q", d.Request.Body, d.Data)
	}
	rc = s.accept(s.event(func(ev *gaff.Event) { ev.Request.Body, ev.Data = []byte{}, json.RawMessage(`{}`) }))
	if d := s.detail(rc.ID); d.Request.Body == nil || len(d.Request.Body) != 0 {
		s.Errorf("empty body: %v", d.Request.Body)
	}
	large := bytes.Repeat([]byte(`0123456789`), 1<<17)
	rc = s.accept(s.event(func(ev *gaff.Event) { ev.Request.Body, ev.Data = large, json.RawMessage(large) }))
	if d := s.detail(rc.ID); !bytes.Equal(d.Request.Body, large) {
		s.Errorf("large body: %d bytes", len(d.Request.Body))
	}
}

func testDuplicate(s *suite) {
	ev := s.event()
	first := s.accept(ev, to("a")...)
	same := *ev
	if rc := s.accept(&same, to("a")...); !rc.Duplicate || rc.Conflict || rc.ID != first.ID {
		s.Errorf("the same again: %+v", rc)
	}
	for i := range 8 {
		other, body := *ev, []byte(fmt.Sprintf(`{"other":%d}`, i))
		other.Request = &gaff.Request{Method: "POST", URL: "/", Header: map[string][]string{"N": {strconv.Itoa(i)}}, Body: body}
		other.Data, other.ReceivedAt = body, ev.ReceivedAt.Add(time.Second)
		if rc := s.accept(&other); !rc.Duplicate || !rc.Conflict || rc.ID != first.ID {
			s.Errorf("another body: %+v", rc)
		}
	}
	d := s.detail(first.ID)
	if !d.Conflict || d.Duplicates != 9 || len(d.Deliveries) != 1 || string(d.Request.Body) != string(ev.Request.Body) {
		s.Errorf("log %+v", d.Log)
	}
	if len(d.Copies) != 5 || string(d.Copies[4].Body) != `{"other":4}` || d.Copies[0].Header["N"][0] != "0" ||
		!d.Copies[0].ReceivedAt.Equal(ev.ReceivedAt.Add(time.Second)) {
		s.Errorf("copies %+v", d.Copies)
	}
	// The key is the source's own.
	if rc := s.accept(s.event(func(e *gaff.Event) { e.Source, e.DedupeKey = "other", ev.DedupeKey })); rc.Duplicate {
		s.Error("another source's key was taken for known")
	}
}

// What is signed is a second key: under another id it is the same event, in one transaction
// and in several, and for as long as the event is there.
func testSignedKey(s *suite) {
	signed := func(dedupe, key string) *gaff.Event {
		return s.event(func(ev *gaff.Event) { ev.DedupeKey, ev.SignedKey = dedupe, key })
	}
	first := s.accept(signed("id-1", "signed-1"), to("a")...)
	if first.Duplicate {
		s.Error("the first is a duplicate")
	}
	if rc := s.accept(signed("id-2", "signed-1"), to("a")...); !rc.Duplicate || rc.ID != first.ID {
		s.Errorf("under another id: %+v", rc)
	}
	if rc := s.accept(signed("id-1", "signed-2"), to("a")...); !rc.Duplicate || rc.ID != first.ID {
		s.Errorf("signed again under the first id: %+v", rc)
	}
	if rc := s.accept(signed("id-3", "signed-2"), to("a")...); !rc.Duplicate || rc.ID != first.ID {
		s.Errorf("what was signed again, under another id: %+v", rc)
	}
	if rc := s.accept(s.event(func(ev *gaff.Event) { ev.Source, ev.DedupeKey, ev.SignedKey = "other", "id-9", "signed-1" })); rc.Duplicate {
		s.Error("another source's signed content was taken for known")
	}
	if rc := s.accept(signed("id-4", "")); rc.Duplicate {
		s.Error("an event without such a key is a duplicate")
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids, firsts := map[string]bool{}, 0
	for i := range 16 {
		ev := signed(fmt.Sprint("raced-id-", i), "raced")
		wg.Go(func() {
			rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: ev})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.Error(err)
			}
			if ids[rc.ID] = true; !rc.Duplicate {
				firsts++
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 || firsts != 1 {
		s.Errorf("16 at once are %d events, %d of them new", len(ids), firsts)
	}
}

func testRace(s *suite) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	firsts, ids := map[int]int{}, map[int]string{}
	for range 8 {
		for key := range 40 {
			ev := s.event(func(ev *gaff.Event) { ev.DedupeKey = fmt.Sprint("raced-", key) })
			ev.Data = ev.Request.Body
			wg.Go(func() {
				rc, err := s.st.Accept(context.WithoutCancel(s.ctx), gaff.AcceptParams{Event: ev, Deliveries: to("a")})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					s.Error(err)
				}
				if !rc.Duplicate {
					firsts[key]++
				}
				if ids[key] != "" && ids[key] != rc.ID {
					s.Errorf("key %d has the ids %s and %s", key, ids[key], rc.ID)
				}
				ids[key] = rc.ID
			})
		}
	}
	wg.Wait()
	for key := range 40 {
		if d := s.detail(ids[key]); firsts[key] != 1 || d.Duplicates != 7 || len(d.Deliveries) != 1 {
			s.Errorf("key %d: %d times first, %d duplicates, %d deliveries", key, firsts[key], d.Duplicates, len(d.Deliveries))
		}
	}
	if work := s.claim(500); len(work) != 40 {
		s.Errorf("claimed %d deliveries, want 40", len(work))
	}
}

// Whatever a sender's ids hold must be kept or replaced, never break a commit.
func testHostileText(s *suite) {
	for _, text := range []string{"nul\x00nul", "bad \xff\xfe utf-8", "'; drop table event; --", `%_\`, "$1 ? :a @b", "\u202e\U0010ffff", strings.Repeat("x", 2000)} {
		ev := s.event(func(ev *gaff.Event) {
			ev.Type, ev.WebhookID, ev.DedupeKey, ev.CorrelationID, ev.CallbackToken = text, text, text, text, text
			ev.Request.URL, ev.Request.Header = "/?"+text, map[string][]string{"X": {text}}
			ev.Request.Body = []byte(text)
		})
		rc := s.accept(ev, to(text)...)
		again := *ev
		if dup := s.accept(&again); !dup.Duplicate || dup.ID != rc.ID {
			s.Errorf("%q: not known when it comes again", text)
		}
		d := s.detail(rc.ID)
		if string(d.Request.Body) != text {
			s.Errorf("%q: the body is kept as %q", text, d.Request.Body)
		}
		s.must(s.finish(s.claim(1)[0], gaff.StateDead, text))
		if page, err := s.st.Events(s.ctx, gaff.EventFilter{Query: strings.ToValidUTF8(text, "")}); err != nil {
			s.Errorf("search %q: %v (%d)", text, err, len(page.Items))
		}
		rj := &gaff.Rejection{ID: "rej_" + text, Source: text, Status: 401, Reason: text, Method: text, URL: text,
			RemoteAddr: text, Header: map[string][]string{text: {text}}, Body: []byte(text), ReceivedAt: s.now}
		s.must(s.st.Reject(s.ctx, rj))
	}
	w := s.take()
	s.must(s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
		j := &jobs.Job{ID: "job\x00\xff", Provider: "p\x00", RequestID: "\xff", Error: "\x00", Result: json.RawMessage(`"\u0000 \ud800"`)}
		if err := tx.InsertJob(s.ctx, j); err != nil {
			return err
		}
		_, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: j.ID, Position: "\x00", URL: "\xff", Metadata: json.RawMessage(`{"a":"\u0000"}`)})
		return err
	}))
}

func testClaim(s *suite) {
	var ids []string
	for range 10 {
		ids = append(ids, s.accept(s.event(), to("h")...).ID)
	}
	later := gaff.Delivery{Handler: "h", MaxAttempts: 1, RunAt: s.now.Add(48 * time.Hour)}
	s.accept(s.event(), later)
	var got []string
	for _, w := range append(s.claim(4), s.claim(100)...) {
		got = append(got, w.Event.ID)
		if w.Lease.Attempt != 1 || w.Delivery.Attempts != 0 || w.Event.Request == nil || w.Event.Verification.Scheme == "" {
			s.Errorf("work %+v", w)
		}
	}
	s.equal("claimed, oldest first", got, ids)
	if more := s.claim(100); len(more) != 0 {
		s.Errorf("%d were claimed twice", len(more))
	}
	due, err := s.st.NextDue(s.ctx, "")
	s.must(err)
	if !due.Equal(later.RunAt) {
		s.Errorf("next due %s, want %s", due, later.RunAt)
	}
	// What is taken at its arrival is not claimed.
	w := s.take()
	if more := s.claim(100); len(more) != 0 {
		s.Errorf("%d were claimed that had been taken", len(more))
	}
	s.must(s.finish(w, gaff.StateSucceeded, ""))
	select {
	case <-s.st.Wake(""):
	default:
		s.Error("nobody was told that work came")
	}
}

func testQueues(s *suite) {
	ds := to("a", "slow", "slower")
	ds[1].Queue, ds[2].Queue = "slow", "slower"
	woken := func(lane string) bool {
		select {
		case <-s.st.Wake(lane):
			return true
		default:
			return false
		}
	}
	woken("slow")
	woken("slower")
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(), Deliveries: ds, Take: []bool{true, false, true}})
	s.must(err)
	if len(rc.Work) != 2 || rc.Work[0].Delivery.Handler != "a" || rc.Work[1].Delivery.Queue != "slower" {
		s.Fatalf("handed over %+v", rc.Work)
	}
	if !woken("slow") || woken("slower") || woken("") {
		s.Error("the lanes that were woken are not those in which something waits")
	}
	s.must(s.st.Release(s.ctx, []gaff.Lease{rc.Work[1].Lease}))
	lanes, err := s.st.Queues(s.ctx)
	s.must(err)
	s.equal("lanes", lanes, []string{"slow", "slower"})
	for _, lane := range lanes {
		due, err := s.st.NextDue(s.ctx, lane)
		s.must(err)
		if due.IsZero() {
			s.Errorf("nothing is due in %s", lane)
		}
		work, err := s.st.Claim(s.ctx, gaff.ClaimParams{Queue: lane, Now: time.Now(), Limit: 10})
		s.must(err)
		if len(work) != 1 || work[0].Delivery.Handler != lane || work[0].Delivery.Queue != lane {
			s.Fatalf("claimed from %s: %+v", lane, work)
		}
		s.must(s.finish(work[0], gaff.StateDead, "no"))
	}
	if more := s.claim(10); len(more) != 0 {
		s.Errorf("claimed from the unnamed lane: %+v", more)
	}
	_, _, err = s.st.Retry(s.ctx, gaff.RetryParams{EventID: rc.ID, Tries: 1, Now: s.now})
	s.must(err)
	if !woken("slow") || !woken("slower") {
		s.Error("a retry woke nobody")
	}
}

func testWrite(s *suite) {
	emitted := s.event(func(ev *gaff.Event) { ev.Source, ev.Request = gaff.InternalSource, nil })
	s.must(s.st.Write(s.ctx, func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, &jobs.Job{ID: "job-1", Provider: "fal"}); err != nil {
			return err
		}
		return tx.Emit(s.ctx, emitted, to("h"))
	}))
	if _, err := s.st.Job(s.ctx, "job-1"); err != nil {
		s.Error(err)
	}
	if work := s.claim(10); len(work) != 1 || work[0].Event.ID != emitted.ID {
		s.Errorf("claimed %+v", work)
	}
	failure := errors.New("no")
	s.wants("an error of the function", s.st.Write(s.ctx, func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, &jobs.Job{ID: "job-2", Provider: "fal"}); err != nil {
			return err
		}
		return failure
	}), failure)
	_, err := s.st.Job(s.ctx, "job-2")
	s.wants("what it had written", err, gaff.ErrNotFound)
}

func testFinish(s *suite) {
	w := s.take()
	s.must(s.finish(w, gaff.StateRetrying, "first"))
	s.wants("finishing twice", s.finish(w, gaff.StateSucceeded, ""), gaff.ErrLeaseLost)
	again := s.claim(1)[0]
	if again.Lease.Attempt != 2 || again.Delivery.Attempts != 1 || again.Delivery.State != gaff.StateRetrying {
		s.Errorf("second lease %+v of %+v", again.Lease, again.Delivery)
	}
	s.wants("the first lease", s.finish(w, gaff.StateSucceeded, ""), gaff.ErrLeaseLost)
	s.must(s.finish(again, gaff.StateSucceeded, ""))
	s.wants("a finished one", s.finish(again, gaff.StateDead, "late"), gaff.ErrLeaseLost)
	d := s.detail(w.Event.ID)
	if d.Status != gaff.StatusSuccess || d.Error != "" || d.RetryCount != 1 || len(d.Attempts) != 2 || d.ProcessedAt.IsZero() {
		s.Errorf("log %+v, attempts %+v", d.Log, d.Attempts)
	}
	if a := d.Attempts[0]; a.Outcome != gaff.AttemptFailed || a.Error != "first" || a.Number != 1 || a.Duration != 3*time.Millisecond ||
		!a.StartedAt.Equal(s.now) || a.DeliveryID != w.Delivery.ID {
		s.Errorf("attempt %+v", a)
	}
	if dl := d.Deliveries[0]; dl.State != gaff.StateSucceeded || dl.FinishedAt.IsZero() || dl.Attempts != 2 || dl.Error != "" {
		s.Errorf("delivery %+v", dl)
	}
	// Put off: no try is counted.
	w = s.take()
	s.must(s.st.Finish(s.ctx, w.Lease, gaff.Outcome{State: gaff.StatePending, RunAt: s.now, Attempt: gaff.Attempt{Outcome: gaff.AttemptSnoozed}}))
	if d := s.detail(w.Event.ID); d.Deliveries[0].Attempts != 0 || len(d.Attempts) != 0 || d.Status != gaff.StatusPending {
		s.Errorf("put off: %+v", d.Deliveries[0])
	}
	w = s.claim(1)[0]
	long := strings.Repeat("é", 1<<20)
	s.must(s.finish(w, gaff.StateDead, long))
	if d := s.detail(w.Event.ID); d.Status != gaff.StatusError || len(d.Error) == 0 || len(d.Error) > 8<<10 {
		s.Errorf("%d bytes of error, %s", len(d.Error), d.Status)
	}
}

func testRelease(s *suite) {
	w := s.take()
	s.must(s.st.Release(s.ctx, []gaff.Lease{w.Lease}))
	w = s.claim(1)[0]
	if w.Lease.Attempt != 1 {
		s.Errorf("attempt %d after a release", w.Lease.Attempt)
	}
	s.must(s.st.Release(s.ctx, nil))
	s.reopen()
	work := s.claim(10)
	if len(work) != 1 || work[0].Lease.Attempt != 1 {
		s.Fatalf("after it was opened anew: %+v", work)
	}
	s.must(s.finish(work[0], gaff.StateSucceeded, ""))
}

func testOutcome(s *suite) {
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(), Deliveries: to("a", "b", "c"), Take: takeAll(3)})
	s.must(err)
	steps := []struct {
		state  gaff.State
		err    string
		status gaff.Status
		shown  string
	}{
		{gaff.StateSucceeded, "", gaff.StatusPending, ""},
		{gaff.StateDead, "broken", gaff.StatusError, "broken"},
		{gaff.StateSucceeded, "", gaff.StatusError, "broken"},
	}
	for i, step := range steps {
		s.must(s.finish(rc.Work[i], step.state, step.err))
		if d := s.detail(rc.ID); d.Status != step.status || d.Error != step.shown {
			s.Errorf("step %d: %s %q, want %s %q", i, d.Status, d.Error, step.status, step.shown)
		}
	}
}

func testApply(s *suite) {
	w := s.take()
	broken := errors.New("broken")
	write := func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "p", RequestID: "r"}); err != nil {
			return err
		}
		if added, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: "job_1", Position: "p:/0", URL: "u"}); err != nil || !added {
			return fmt.Errorf("media: %v, %w", added, err)
		}
		return tx.Emit(s.ctx, &gaff.Event{Source: gaff.InternalSource, Type: "t", Data: json.RawMessage(`{}`)}, nil)
	}
	nothing := func(when string) {
		s.Helper()
		if _, err := s.st.Job(s.ctx, "job_1"); !errors.Is(err, gaff.ErrNotFound) {
			s.Errorf("%s: a job is there: %v", when, err)
		}
		media, err := s.st.Media(s.ctx, jobs.MediaFilter{})
		s.must(err)
		inner, err := s.st.Events(s.ctx, gaff.EventFilter{Source: gaff.InternalSource})
		s.must(err)
		if len(media.Items) != 0 || len(inner.Items) != 0 {
			s.Errorf("%s: %d media, %d inner events", when, len(media.Items), len(inner.Items))
		}
		if d := s.detail(w.Event.ID); d.Deliveries[0].State.Done() {
			s.Errorf("%s: the delivery is %s", when, d.Deliveries[0].State)
		}
	}
	s.wants("an error after writing", s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
		s.must(write(tx))
		return broken
	}), broken)
	nothing("after an error")
	if err := s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
		s.must(write(tx))
		panic("at the disco")
	}); err == nil || !strings.Contains(err.Error(), "at the disco") {
		s.Errorf("a panic: %v", err)
	}
	nothing("after a panic")
	old := w.Lease
	old.Attempt++
	s.wants("a lease of nobody", s.st.Apply(s.ctx, old, write), gaff.ErrLeaseLost)
	nothing("after a lost lease")
	if got := s.claim(1); len(got) == 1 {
		w = got[0]
	}
	s.must(s.st.Apply(s.ctx, w.Lease, write))
	s.wants("twice", s.st.Apply(s.ctx, w.Lease, func(jobs.Tx) error { return nil }), gaff.ErrLeaseLost)
	if d := s.detail(w.Event.ID); d.Status != gaff.StatusSuccess || len(d.Attempts) != 1 || d.Deliveries[0].Attempts != 1 {
		s.Errorf("log %+v", d)
	}
	media, err := s.st.Media(s.ctx, jobs.MediaFilter{JobID: "job_1"})
	s.must(err)
	if len(media.Items) != 1 || media.Items[0].ID == "" || media.Items[0].CreatedAt.IsZero() {
		s.Errorf("media %+v", media.Items)
	}
}

func testBadNeighbour(s *suite) {
	var wg sync.WaitGroup
	// Whatever it calls its failure: it is not the store that is unavailable.
	broken := fmt.Errorf("a service of the caller's own: %w", gaff.ErrUnavailable)
	for i := range 60 {
		w := s.take()
		wg.Go(func() {
			err := s.st.Apply(context.WithoutCancel(s.ctx), w.Lease, func(tx jobs.Tx) error {
				if err := tx.InsertJob(s.ctx, &jobs.Job{ID: fmt.Sprint("job_", i), Provider: "p", RequestID: fmt.Sprint(i)}); err != nil {
					return err
				}
				if i%7 == 3 {
					return broken
				}
				return nil
			})
			if i%7 == 3 != errors.Is(err, broken) || i%7 != 3 && err != nil {
				s.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	page, err := s.st.Jobs(s.ctx, jobs.JobFilter{Cursor: gaff.Cursor{Limit: 500}})
	s.must(err)
	if len(page.Items) != 60-9 {
		s.Errorf("%d jobs, want 51", len(page.Items))
	}
}

// Operations that are written together see one another's work on a job, whether they said
// beforehand that they would read it or not: none is lost, and no file is added twice.
func testSharedJobs(s *suite) {
	const jobCount, each, places = 8, 9, 3
	var wg sync.WaitGroup
	var added atomic.Int64
	for i := range jobCount * each {
		w := s.take()
		wg.Go(func() {
			id, request := fmt.Sprint("job_", i%jobCount), fmt.Sprint("r-", i%jobCount)
			ctx := context.WithoutCancel(s.ctx)
			switch i / jobCount % 3 {
			case 0:
				ctx = jobs.ReadsJob(ctx, jobs.JobRef{ID: id})
			case 1:
				ctx = jobs.ReadsJob(ctx, jobs.JobRef{Provider: "p", RequestID: request})
			}
			isNew := false
			write := func(tx jobs.Tx) error {
				j, err := tx.Job(ctx, id)
				if i/jobCount%3 == 1 {
					j, err = tx.JobByRequest(ctx, "p", request)
				}
				switch {
				case errors.Is(err, gaff.ErrNotFound):
					err = tx.InsertJob(ctx, &jobs.Job{ID: id, Provider: "p", RequestID: request})
				case err == nil:
					j.Status = jobs.JobProcessing
					j.Polls++
					err = tx.SaveJob(ctx, j)
				}
				if err != nil {
					return err
				}
				isNew, err = tx.AddMedia(ctx, &jobs.Media{JobID: id, Position: fmt.Sprint(i / jobCount % places)})
				return err
			}
			err := s.st.Apply(ctx, w.Lease, write)
			for errors.Is(err, gaff.ErrConflict) { // another one made the job meanwhile
				err = s.st.Apply(ctx, w.Lease, write)
			}
			if err != nil {
				s.Errorf("%d: %v", i, err)
			} else if isNew {
				added.Add(1)
			}
		})
	}
	wg.Wait()
	for n := range jobCount {
		j, err := s.st.Job(s.ctx, fmt.Sprint("job_", n))
		s.must(err)
		if j.Polls != each-1 || j.Status != jobs.JobProcessing || j.RequestID != fmt.Sprint("r-", n) {
			s.Errorf("%s: %d of %d changes are there, %s, request %q", j.ID, j.Polls, each-1, j.Status, j.RequestID)
		}
	}
	media, err := s.st.Media(s.ctx, jobs.MediaFilter{Cursor: gaff.Cursor{Limit: 500}})
	s.must(err)
	if len(media.Items) != jobCount*places || added.Load() != jobCount*places {
		s.Errorf("%d files, %d told to be new, want %d", len(media.Items), added.Load(), jobCount*places)
	}
}

// apply runs fn as the effects of a new event.
func (s *suite) apply(fn func(tx jobs.Tx) error) error {
	s.Helper()
	w := s.take()
	err := s.st.Apply(s.ctx, w.Lease, fn)
	if err != nil {
		s.must(s.finish(w, gaff.StateDead, err.Error()))
	}
	return err
}

func testJobs(s *suite) {
	j := jobs.Job{
		ID: "job_1", Provider: "fal", Model: "m", Kind: "image", ProjectID: "p", UserID: "u", RequestID: "r1",
		Status: jobs.JobProcessing, Metadata: json.RawMessage(`{"a":17454220438242315174}`), CreatedAt: s.now, SubmittedAt: s.now,
	}
	s.must(s.apply(func(tx jobs.Tx) error { k := j; return tx.InsertJob(s.ctx, &k) }))
	s.wants("another job of the request", s.apply(func(tx jobs.Tx) error {
		return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_2", Provider: "fal", RequestID: "r1"})
	}), gaff.ErrConflict)
	s.must(s.apply(func(tx jobs.Tx) error {
		return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_3", Provider: "other", RequestID: "r1"})
	}))
	s.must(s.apply(func(tx jobs.Tx) error {
		byID, err := tx.Job(s.ctx, "job_1")
		if err != nil {
			return err
		}
		byRequest, err := tx.JobByRequest(s.ctx, "fal", "r1")
		if err != nil {
			return err
		}
		s.equal("by request", byRequest, byID)
		want := j
		want.UpdatedAt = byID.UpdatedAt
		s.equal("as inserted", *byID, want)
		if _, err := tx.Job(s.ctx, "none"); !errors.Is(err, gaff.ErrNotFound) {
			s.Errorf("no job: %v", err)
		}
		if _, err := tx.JobByRequest(s.ctx, "fal", ""); !errors.Is(err, gaff.ErrNotFound) {
			s.Errorf("no request: %v", err)
		}
		byID.Status, byID.Result, byID.SettledBy, byID.SettledAt = jobs.JobCompleted, json.RawMessage(`{"ok":1}`), "webhook", s.now
		return tx.SaveJob(s.ctx, byID)
	}))
	for _, status := range []jobs.JobStatus{jobs.JobQueued, jobs.JobProcessing, jobs.JobFailed, jobs.JobCancelled} {
		s.wants("back to "+status.String(), s.apply(func(tx jobs.Tx) error {
			j, err := tx.Job(s.ctx, "job_1")
			s.must(err)
			j.Status = status
			return tx.SaveJob(s.ctx, j)
		}), gaff.ErrConflict)
	}
	s.must(s.apply(func(tx jobs.Tx) error { // the same status again changes the rest
		j, err := tx.Job(s.ctx, "job_1")
		s.must(err)
		j.Model = "m2"
		return tx.SaveJob(s.ctx, j)
	}))
	got, err := s.st.Job(s.ctx, "job_1")
	s.must(err)
	if got.Status != jobs.JobCompleted || got.Model != "m2" || string(got.Result) != `{"ok":1}` || !got.SettledAt.Equal(s.now) {
		s.Errorf("job %+v", got)
	}
	m := jobs.Media{JobID: "job_1", ProjectID: "p", Position: "fal:/images/0", URL: "u", MediaType: jobs.MediaImage,
		ContentType: "image/png", Size: 7, SHA256: "00", Metadata: json.RawMessage(`{"w":1}`)}
	for i, want := range []bool{true, false} {
		s.must(s.apply(func(tx jobs.Tx) error {
			k := m
			added, err := tx.AddMedia(s.ctx, &k)
			if added != want {
				s.Errorf("media %d: added is %v", i, added)
			}
			return err
		}))
	}
	page, err := s.st.Media(s.ctx, jobs.MediaFilter{})
	s.must(err)
	byID, err := s.st.MediaByID(s.ctx, page.Items[0].ID)
	s.must(err)
	m.ID, m.CreatedAt = byID.ID, byID.CreatedAt
	s.equal("media", *byID, m)

	// What becomes known of the file later.
	s.must(s.st.Write(s.ctx, func(tx jobs.Tx) error {
		k, err := tx.Media(s.ctx, m.ID)
		if err != nil {
			return err
		}
		s.equal("media in a transaction", *k, m)
		k.Storage, k.StorageError, k.StoredKey, k.ThumbnailKey, k.StoredAt = jobs.StorageStored, "e", "k", "t", s.now
		k.Size, k.SHA256, k.ContentType, k.MediaType, k.Metadata = 8, "01", "image/webp", jobs.MediaFile, json.RawMessage(`{"w":2}`)
		m = *k
		m.URL, k.URL = k.URL, "cannot change"
		return tx.SaveMedia(s.ctx, k)
	}))
	byID, err = s.st.MediaByID(s.ctx, m.ID)
	s.must(err)
	s.equal("saved media", *byID, m)
	stored, gone := jobs.StorageStored, jobs.StorageGone
	for _, f := range []jobs.MediaFilter{{Storage: &stored}, {Storage: &gone}} {
		page, err := s.st.Media(s.ctx, f)
		s.must(err)
		if want := map[bool]int{true: 1}[f.Storage == &stored]; len(page.Items) != want {
			s.Errorf("%d media with storage %s, want %d", len(page.Items), *f.Storage, want)
		}
	}
	for what, err := range map[string]error{
		"load": s.st.Write(s.ctx, func(tx jobs.Tx) error { _, err := tx.Media(s.ctx, "med_none"); return err }),
		"save": s.st.Write(s.ctx, func(tx jobs.Tx) error { return tx.SaveMedia(s.ctx, &jobs.Media{ID: "med_none"}) }),
	} {
		s.wants(what+" media that is not there", err, gaff.ErrNotFound)
	}
}

func testEmit(s *suite) {
	parent := s.take()
	s.must(s.st.Apply(s.ctx, parent.Lease, func(tx jobs.Tx) error {
		for range 2 {
			err := tx.Emit(s.ctx, &gaff.Event{Source: gaff.InternalSource, Type: "job.completed", DedupeKey: "once", Data: json.RawMessage(`{"j":1}`),
				ParentID: parent.Event.ID, Hop: 1}, to("next"))
			if err != nil {
				return err
			}
		}
		return nil
	}))
	select {
	case <-s.st.Wake(""):
	default:
		s.Error("nobody was told of the emitted event")
	}
	work := s.claim(10)
	if len(work) != 1 || work[0].Event.ParentID != parent.Event.ID || work[0].Event.Hop != 1 || work[0].Event.Type != "job.completed" {
		s.Fatalf("work %+v", work)
	}
	if d := s.detail(parent.Event.ID); len(d.Children) != 1 || d.Children[0] != work[0].Event.ID {
		s.Errorf("children %v", d.Children)
	}
	if err := s.apply(func(tx jobs.Tx) error {
		return tx.Emit(s.ctx, &gaff.Event{Source: gaff.InternalSource, Type: "t", Data: json.RawMessage(`{}`), Hop: gaff.MaxHops + 1}, nil)
	}); err == nil || !strings.Contains(err.Error(), "loop") {
		s.Errorf("an endless chain: %v", err)
	}
}

func testRetry(s *suite) {
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(), Deliveries: to("a", "b"), Take: takeAll(2)})
	s.must(err)
	retry := func(p gaff.RetryParams) ([]string, []gaff.Work, error) {
		p.Now, p.Tries = s.now, max(p.Tries, 1)
		return s.st.Retry(s.ctx, p)
	}
	_, _, err = retry(gaff.RetryParams{EventID: rc.ID})
	s.wants("none has failed", err, gaff.ErrConflict)
	s.must(s.finish(rc.Work[0], gaff.StateDead, "x"))
	s.must(s.finish(rc.Work[1], gaff.StateSucceeded, ""))
	ids, work, err := retry(gaff.RetryParams{EventID: rc.ID, Take: true})
	s.must(err)
	s.equal("retried", ids, []string{rc.Work[0].Delivery.ID})
	if len(work) != 1 || work[0].Lease.Attempt != 2 || work[0].Delivery.MaxAttempts != 2 {
		s.Fatalf("work %+v", work)
	}
	if more := s.claim(10); len(more) != 0 {
		s.Errorf("claimed %d that were taken", len(more))
	}
	if d := s.detail(rc.ID); d.Status != gaff.StatusPending {
		s.Errorf("status %s while it is tried again", d.Status)
	}
	s.wants("the old lease", s.finish(rc.Work[0], gaff.StateSucceeded, ""), gaff.ErrLeaseLost)
	s.must(s.finish(work[0], gaff.StateDead, "y"))
	ids, _, err = retry(gaff.RetryParams{DeliveryID: rc.Work[0].Delivery.ID, Tries: 5})
	s.must(err)
	if work = s.claim(10); len(ids) != 1 || len(work) != 1 || work[0].Delivery.MaxAttempts != 2+5 {
		s.Fatalf("claimed %+v", work)
	}
	s.must(s.finish(work[0], gaff.StateSucceeded, ""))
	if d := s.detail(rc.ID); d.Status != gaff.StatusSuccess || d.Error != "" || d.RetryCount != 2 || len(d.Attempts) != 4 {
		s.Errorf("log %+v", d.Log)
	}
	_, _, err = retry(gaff.RetryParams{DeliveryID: rc.Work[0].Delivery.ID})
	s.wants("a delivery that succeeded", err, gaff.ErrConflict)
	_, _, err = retry(gaff.RetryParams{DeliveryID: rc.Work[0].Delivery.ID + "7"})
	s.wants("no such delivery", err, gaff.ErrNotFound)
}

func testReplay(s *suite) {
	w := s.take()
	_, err := s.st.Replay(s.ctx, w.Event.ID, to("h"))
	s.wants("while it is worked", err, gaff.ErrConflict)
	_, err = s.st.Replay(s.ctx, w.Event.ID, nil)
	s.wants("without a handler", err, gaff.ErrConflict)
	s.must(s.finish(w, gaff.StateDead, "x"))
	ids, err := s.st.Replay(s.ctx, w.Event.ID, to("h", "new"))
	s.must(err)
	if d := s.detail(w.Event.ID); len(ids) != 2 || len(d.Deliveries) != 3 || d.Status != gaff.StatusPending {
		s.Fatalf("replayed %v: %+v", ids, d)
	}
	for _, w := range s.claim(10) {
		if !slices.Contains(ids, w.Delivery.ID) {
			s.Errorf("claimed %s", w.Delivery.ID)
		}
		s.must(s.finish(w, gaff.StateSucceeded, ""))
	}
	if d := s.detail(w.Event.ID); d.Status != gaff.StatusSuccess || d.Error != "" {
		s.Errorf("a replay that succeeded leaves %s %q", d.Status, d.Error)
	}
	_, _, err = s.st.Retry(s.ctx, gaff.RetryParams{EventID: w.Event.ID, Tries: 1, Now: s.now})
	s.wants("a retry of what was replaced", err, gaff.ErrConflict)
	// An event that nobody handled is handled by its replay.
	rc := s.accept(s.event())
	_, err = s.st.Replay(s.ctx, rc.ID, to("h"))
	s.must(err)
	if d := s.detail(rc.ID); d.Unhandled || d.Status != gaff.StatusPending {
		s.Errorf("log %+v", d.Log)
	}
}

func testCancel(s *suite) {
	w := s.take()
	s.must(s.st.Cancel(s.ctx, w.Delivery.ID))
	s.wants("its worker", s.finish(w, gaff.StateSucceeded, ""), gaff.ErrLeaseLost)
	s.wants("twice", s.st.Cancel(s.ctx, w.Delivery.ID), gaff.ErrConflict)
	d := s.detail(w.Event.ID)
	if d.Status != gaff.StatusError || d.Deliveries[0].State != gaff.StateCanceled || d.Error == "" {
		s.Errorf("log %+v", d)
	}
	if work := s.claim(10); len(work) != 0 {
		s.Errorf("a canceled one was claimed")
	}
	_, work, err := s.st.Retry(s.ctx, gaff.RetryParams{EventID: w.Event.ID, Tries: 1, Now: s.now, Take: true})
	s.must(err)
	s.must(s.finish(work[0], gaff.StateSucceeded, ""))
}

// pages reads a list to its end, a few at a time.
func pages[T any](s *suite, list func(gaff.Cursor) (gaff.Page[T], error)) (all []T) {
	s.Helper()
	c := gaff.Cursor{Limit: 3}
	for range 1000 {
		page, err := list(c)
		s.must(err)
		all = append(all, page.Items...)
		if c.After = page.Next; c.After == "" {
			return all
		}
		if len(page.Items) != 3 {
			s.Fatalf("a page of %d with another after it", len(page.Items))
		}
	}
	s.Fatal("the list has no end")
	return nil
}

func testEventLists(s *suite) {
	type kept struct {
		id, source, typ string
		status          gaff.Status
		received        time.Time
	}
	var all []kept
	for i := range 40 {
		k := kept{source: []string{"a", "b", "c"}[i%3], typ: []string{"x", "y"}[i%2]}
		rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(func(ev *gaff.Event) {
			ev.Source, ev.Type = k.source, k.typ
			ev.ReceivedAt = time.Now().UTC().Truncate(time.Microsecond)
			k.received = ev.ReceivedAt
		}), Deliveries: to("h"), Take: takeAll(1)})
		s.must(err)
		k.id = rc.ID
		switch i % 4 {
		case 1:
			k.status = gaff.StatusSuccess
			s.must(s.finish(rc.Work[0], gaff.StateSucceeded, ""))
		case 2:
			k.status = gaff.StatusError
			s.must(s.finish(rc.Work[0], gaff.StateDead, fmt.Sprint("fault_", i)))
		}
		all = append(all, k)
	}
	s.accept(s.event(func(ev *gaff.Event) { ev.Source = gaff.InternalSource }))
	slices.Reverse(all)
	ids := func(f gaff.EventFilter) (ids []string) {
		s.Helper()
		for _, l := range pages(s, func(c gaff.Cursor) (gaff.Page[gaff.Log], error) {
			f.Cursor = c
			return s.st.Events(s.ctx, f)
		}) {
			ids = append(ids, l.ID)
		}
		return ids
	}
	want := func(keep func(i int, k kept) bool) (ids []string) {
		for i, k := range all {
			if keep(len(all)-1-i, k) {
				ids = append(ids, k.id)
			}
		}
		return ids
	}
	s.equal("all", ids(gaff.EventFilter{}), want(func(int, kept) bool { return true }))
	for _, source := range []string{"", "a", "b", "none"} {
		for _, typ := range []string{"", "y"} {
			for _, status := range []gaff.Status{-1, gaff.StatusPending, gaff.StatusSuccess, gaff.StatusError} {
				f := gaff.EventFilter{Source: source, Type: typ}
				if status >= 0 {
					f.Status = &status
				}
				s.equal(fmt.Sprintf("source %q type %q status %s", source, typ, status), ids(f), want(func(_ int, k kept) bool {
					return (source == "" || k.source == source) && (typ == "" || k.typ == typ) && (status < 0 || k.status == status)
				}))
			}
		}
	}
	s.equal("since and until", ids(gaff.EventFilter{Since: all[29].received, Until: all[19].received, Source: "b"}),
		want(func(i int, k kept) bool {
			return !k.received.Before(all[29].received) && k.received.Before(all[19].received) && k.source == "b"
		}))
	s.equal("by webhook id", ids(gaff.EventFilter{WebhookID: "wh-5"}), want(func(i int, _ kept) bool { return i == 4 }))
	s.equal("text in an error", ids(gaff.EventFilter{Query: "fault_10"}), want(func(i int, _ kept) bool { return i == 10 }))
	s.equal("text that is no pattern", ids(gaff.EventFilter{Query: "fault%"}), []string{})
	s.equal("text in a body", ids(gaff.EventFilter{Query: `"n":7,`}), want(func(i int, _ kept) bool { return i == 6 }))
	s.write(func(tx jobs.Tx) error {
		return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_found", Provider: "a", RequestID: "wh-5"})
	})
	for _, id := range []string{"wh-5", "job_found", all[len(all)-5].id} {
		page, err := s.st.Events(s.ctx, gaff.EventFilter{Query: id})
		s.must(err)
		if len(page.Items) != 1 || page.Items[0].ID != all[len(all)-5].id {
			s.Errorf("the first page for %s has %d events, want the one that it names", id, len(page.Items))
		}
		rest, err := s.st.Events(s.ctx, gaff.EventFilter{Query: id, Cursor: gaff.Cursor{After: page.Next}})
		s.must(err)
		if slices.ContainsFunc(rest.Items, func(l gaff.Log) bool { return l.ID == page.Items[0].ID }) {
			s.Errorf("the second page for %s has the event again", id)
		}
	}
	s.equal("a named event of another source", ids(gaff.EventFilter{Query: all[3].id, Source: "none"}), []string{})
	if got := ids(gaff.EventFilter{Internal: true}); len(got) != 41 {
		s.Errorf("%d with inner events, want 41", len(got))
	}
	if got := ids(gaff.EventFilter{Source: gaff.InternalSource}); len(got) != 1 {
		s.Errorf("%d inner events, want 1", len(got))
	}
	for _, c := range []gaff.Cursor{{Limit: 501}, {Limit: -1}, {After: "?"}, {After: "-1"}, {After: "nonsense"}, {After: "1"}} {
		_, err := s.st.Events(s.ctx, gaff.EventFilter{Cursor: c})
		s.wants(fmt.Sprintf("cursor %+v", c), err, gaff.ErrInvalid)
	}
}

func testLogs(s *suite) {
	var ids []string
	for i := range 12 {
		w := s.take(func(ev *gaff.Event) {
			ev.Type = []string{"x", "y"}[i%2]
			ev.ReceivedAt = s.now.Add(-time.Duration(i) * time.Minute) // they arrive in reverse
		})
		if i < 9 {
			s.must(s.finish(w, gaff.StateSucceeded, ""))
		}
		ids = append(ids, w.Event.ID)
	}
	success := gaff.StatusSuccess
	logs, total, err := s.st.Logs(s.ctx, gaff.LogQuery{Source: "shop", Status: &success, Limit: 4, Offset: 2})
	s.must(err)
	var got []string
	for _, l := range logs {
		got = append(got, l.ID)
	}
	// The last one processed comes first.
	s.equal("by the time of processing", got, []string{ids[6], ids[5], ids[4], ids[3]})
	if total != 9 {
		s.Errorf("total %d, want 9", total)
	}
	for _, ascending := range []bool{false, true} {
		logs, total, err = s.st.Logs(s.ctx, gaff.LogQuery{ByReceived: true, Ascending: ascending, Limit: 50})
		s.must(err)
		if total != 12 || len(logs) != 12 {
			s.Fatalf("%d of %d", len(logs), total)
		}
		for i := 1; i < len(logs); i++ {
			if logs[i].ReceivedAt.After(logs[i-1].ReceivedAt) != ascending {
				s.Errorf("ascending %v: %s after %s", ascending, logs[i].ReceivedAt, logs[i-1].ReceivedAt)
			}
		}
	}
	logs, total, err = s.st.Logs(s.ctx, gaff.LogQuery{Type: "y", Limit: 50, Offset: 100})
	s.must(err)
	if len(logs) != 0 || total != 6 {
		s.Errorf("past the end: %d of %d", len(logs), total)
	}
}

func testDeliveryLists(s *suite) {
	var want []string
	var last gaff.Work
	for i := range 8 {
		rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(func(ev *gaff.Event) {
			ev.Source = []string{"a", "b"}[i%2]
		}), Deliveries: to("h", "k"), Take: takeAll(2)})
		s.must(err)
		s.must(s.finish(rc.Work[0], []gaff.State{gaff.StateDead, gaff.StateSucceeded}[i%2], "x"))
		want = append(want, rc.Work[0].Delivery.ID, rc.Work[1].Delivery.ID)
		last = rc.Work[1]
	}
	list := func(f gaff.DeliveryFilter) (ids []string) {
		for _, d := range pages(s, func(c gaff.Cursor) (gaff.Page[gaff.Delivery], error) {
			f.Cursor = c
			return s.st.Deliveries(s.ctx, f)
		}) {
			ids = append(ids, d.ID)
		}
		return ids
	}
	slices.Reverse(want)
	s.equal("all", list(gaff.DeliveryFilter{}), want)
	dead, pending := gaff.StateDead, gaff.StatePending
	for what, c := range map[string]struct {
		f gaff.DeliveryFilter
		n int
	}{
		"dead": {gaff.DeliveryFilter{State: &dead}, 4}, "of a": {gaff.DeliveryFilter{Source: "a"}, 8},
		"of k": {gaff.DeliveryFilter{Handler: "k"}, 8}, "dead of b": {gaff.DeliveryFilter{State: &dead, Source: "b"}, 0},
	} {
		if got := list(c.f); len(got) != c.n {
			s.Errorf("%s: %d, want %d", what, len(got), c.n)
		}
	}
	running := gaff.StateRunning
	count := func(what string, state *gaff.State, want int) {
		for _, d := range pages(s, func(c gaff.Cursor) (gaff.Page[gaff.Delivery], error) {
			return s.st.Deliveries(s.ctx, gaff.DeliveryFilter{State: state, Cursor: c})
		}) {
			if want--; d.State != *state {
				s.Errorf("%s: %s is shown as %s, want %s", what, d.ID, d.State, *state)
			}
		}
		if want != 0 {
			s.Errorf("%s: %d deliveries are missing", what, want)
		}
	}
	count("claimed ones are running", &running, 8)
	count("claimed ones are not pending", &pending, 0)
	s.must(s.st.Release(s.ctx, []gaff.Lease{last.Lease}))
	count("one was given back", &running, 7)
	count("one was given back", &pending, 1)
	d, attempts, err := s.st.Delivery(s.ctx, want[1])
	s.must(err)
	if d.ID != want[1] || d.Handler != "h" || d.Source != "b" || len(attempts) != 1 || attempts[0].DeliveryID != want[1] {
		s.Errorf("delivery %+v, attempts %+v", d, attempts)
	}
	s.equal("of an event", list(gaff.DeliveryFilter{EventID: d.EventID}), want[:2])
}

func testResultLists(s *suite) {
	var wantJobs, media []string
	for i := range 9 {
		s.must(s.apply(func(tx jobs.Tx) error {
			j := &jobs.Job{ID: fmt.Sprint("job_", i), Provider: []string{"fal", "lf"}[i%2], ProjectID: []string{"", "p1", "p2"}[i%3],
				UserID: "u", RequestID: fmt.Sprint("r", i), Status: jobs.JobStatus(i % 5)}
			wantJobs = append(wantJobs, j.ID)
			if err := tx.InsertJob(s.ctx, j); err != nil {
				return err
			}
			m := &jobs.Media{ID: fmt.Sprint("med_", i), JobID: j.ID, ProjectID: j.ProjectID, Position: "0", MediaType: jobs.MediaVideo}
			media = append(media, m.ID)
			_, err := tx.AddMedia(s.ctx, m)
			return err
		}))
	}
	slices.Reverse(wantJobs)
	slices.Reverse(media)
	listJobs := func(f jobs.JobFilter) (ids []string) {
		for _, j := range pages(s, func(c gaff.Cursor) (gaff.Page[jobs.Job], error) {
			f.Cursor = c
			return s.st.Jobs(s.ctx, f)
		}) {
			ids = append(ids, j.ID)
		}
		return ids
	}
	listMedia := func(f jobs.MediaFilter) (ids []string) {
		for _, m := range pages(s, func(c gaff.Cursor) (gaff.Page[jobs.Media], error) {
			f.Cursor = c
			return s.st.Media(s.ctx, f)
		}) {
			ids = append(ids, m.ID)
		}
		return ids
	}
	failed := jobs.JobFailed
	s.equal("jobs", listJobs(jobs.JobFilter{}), wantJobs)
	s.equal("of a provider", listJobs(jobs.JobFilter{Provider: "lf"}), []string{"job_7", "job_5", "job_3", "job_1"})
	s.equal("of a project", listJobs(jobs.JobFilter{ProjectID: "p1", UserID: "u"}), []string{"job_7", "job_4", "job_1"})
	s.equal("of a request", listJobs(jobs.JobFilter{RequestID: "r6"}), []string{"job_6"})
	s.equal("failed", listJobs(jobs.JobFilter{Status: &failed}), []string{"job_8", "job_3"})
	s.equal("of nobody", listJobs(jobs.JobFilter{UserID: "v"}), []string{})
	s.equal("media", listMedia(jobs.MediaFilter{}), media)
	s.equal("media of a project", listMedia(jobs.MediaFilter{ProjectID: "p2", MediaType: jobs.MediaVideo}), []string{"med_8", "med_5", "med_2"})
	s.equal("media of a job", listMedia(jobs.MediaFilter{JobID: "job_4"}), []string{"med_4"})
	s.equal("images", listMedia(jobs.MediaFilter{MediaType: jobs.MediaImage}), []string{})

	for size, listed := range map[int]int{jobs.MaxListed: jobs.MaxListed, jobs.MaxListed + 1: 0} {
		long := json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`)
		s.write(func(tx jobs.Tx) error {
			j, err := tx.Job(s.ctx, "job_0")
			s.must(err)
			j.Result = long
			return tx.SaveJob(s.ctx, j)
		})
		page, err := s.st.Jobs(s.ctx, jobs.JobFilter{RequestID: "r0"})
		s.must(err)
		j, err := s.st.Job(s.ctx, "job_0")
		s.must(err)
		s.equal("a long result in a list, and alone", []int{len(page.Items[0].Result), len(j.Result)}, []int{listed, size})
		s.equal("its size", []int64{page.Items[0].ResultSize, j.ResultSize}, []int64{int64(size), int64(size)})
	}
}

func testRejections(s *suite) {
	first := &gaff.Rejection{ID: "rej_first", Source: "shop", Status: 401, Reason: "no signature", Method: "POST", URL: "/x?y",
		RemoteAddr: "192.0.2.1", Header: map[string][]string{"A": {"b"}}, Body: []byte("\x00\xff"), BodySize: 1 << 40, ReceivedAt: s.now}
	s.must(s.st.Reject(s.ctx, first))
	got, err := s.st.Rejection(s.ctx, "rej_first")
	s.must(err)
	s.equal("rejection", got, first)
	for i := range 3 * MaxRejections {
		s.must(s.st.Reject(s.ctx, &gaff.Rejection{ID: fmt.Sprint("rej_", i), Source: []string{"a", "b"}[i%2], Status: 404, ReceivedAt: s.now}))
	}
	all := pages(s, func(c gaff.Cursor) (gaff.Page[gaff.Rejection], error) {
		return s.st.Rejections(s.ctx, gaff.RejectionFilter{Cursor: c})
	})
	if len(all) < MaxRejections*9/10 || len(all) > MaxRejections*11/10 || all[0].ID != fmt.Sprint("rej_", 3*MaxRejections-1) {
		s.Errorf("%d are kept, the newest is %s", len(all), all[0].ID)
	}
	if _, err := s.st.Rejection(s.ctx, "rej_first"); err != nil {
		s.Errorf("a flood of unknown sources evicted a known one's rejection: %v", err)
	}
	for i := range 3 * MaxRejections {
		s.must(s.st.Reject(s.ctx, &gaff.Rejection{
			ID: fmt.Sprint("rej_own_", i), Source: "shop", Status: 401, RemoteAddr: "198.51.100.7", ReceivedAt: s.now,
			Whole: &gaff.Request{Method: "POST", URL: "/", Body: make([]byte, 1000), ReceivedAt: s.now},
		}))
	}
	if _, err := s.st.Rejection(s.ctx, "rej_first"); err != nil {
		s.Errorf("a flood of one client evicted another's rejection of the same source: %v", err)
	}
	page, err := s.st.Rejections(s.ctx, gaff.RejectionFilter{Source: "b"})
	s.must(err)
	for _, r := range page.Items {
		if r.Source != "b" {
			s.Errorf("source %s in the list of b", r.Source)
		}
	}
	counts, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	var rejected int64
	for _, sc := range counts.Sources {
		if rejected += sc.Rejected; sc.Source != "" && sc.Source != "shop" {
			s.Errorf("a stranger's invention %q counts as a source", sc.Source)
		}
	}
	if rejected != 6*MaxRejections+1 {
		s.Errorf("%d are counted", rejected)
	}
}

func testBatch(s *suite) {
	event := func(key string) gaff.AcceptParams {
		return gaff.AcceptParams{
			Event:      &gaff.Event{Source: "batch", Type: "t", DedupeKey: key, ReceivedAt: s.now, Data: []byte(`{"a":1}`)},
			Deliveries: []gaff.Delivery{{Handler: "h", MaxAttempts: 3}}, Take: []bool{true},
		}
	}
	rcs, err := s.st.AcceptAll(s.ctx, []gaff.AcceptParams{event("a"), event("b"), event("a")})
	s.must(err)
	if len(rcs) != 3 || rcs[0].Duplicate || rcs[1].Duplicate || !rcs[2].Duplicate || rcs[2].ID != rcs[0].ID || rcs[0].ID == rcs[1].ID {
		s.Fatalf("receipts %+v", rcs)
	}
	for i, rc := range rcs[:2] {
		if len(rc.Work) != 1 || rc.Work[0].Event.ID != rc.ID {
			s.Errorf("work of %d: %+v", i, rc.Work)
		}
	}
	d, err := s.st.Event(s.ctx, rcs[0].ID)
	s.must(err)
	if len(d.Children) != 1 || d.Children[0] != rcs[1].ID || d.Duplicates != 1 {
		s.Errorf("the first one has children %v and %d duplicates", d.Children, d.Duplicates)
	}
	all, err := s.st.AcceptAll(s.ctx, nil)
	s.must(err)
	if len(all) != 0 {
		s.Errorf("nothing became %v", all)
	}
}

func testQuarantine(s *suite) {
	reject := func(id string, size int, at time.Time) {
		s.must(s.st.Reject(s.ctx, &gaff.Rejection{ID: id, Source: "shop", Status: 401, ReceivedAt: at, Whole: &gaff.Request{
			Method: "POST", URL: "https://a.test/api/v1/webhooks/shop/h?x=1", RemoteAddr: "192.0.2.1",
			Header: map[string][]string{"Authorization": {"Bearer s3cret"}, "X": {"a", "\xff"}}, Body: bytes.Repeat([]byte{0xfe}, size), ReceivedAt: at,
		}}))
	}
	now := time.Now().Truncate(time.Microsecond)
	reject("rej_whole", 1000, now)
	r, err := s.st.Quarantined(s.ctx, "rej_whole")
	s.must(err)
	if r.Method != "POST" || r.URL != "https://a.test/api/v1/webhooks/shop/h?x=1" || r.RemoteAddr != "192.0.2.1" || len(r.Body) != 1000 ||
		!r.ReceivedAt.Equal(now) || r.Header["X"][1] != "\xff" || r.Header.Get("Authorization") != "Bearer s3cret" {
		s.Errorf("the request came back as %+v", r)
	}
	rj, err := s.st.Rejection(s.ctx, "rej_whole")
	s.must(err)
	if !rj.Rescuable || rj.RescuedAs != "" || rj.Whole != nil {
		s.Errorf("the rejection says %+v", rj)
	}
	s.must(s.st.Rescued(s.ctx, "rej_whole", "evt_1"))
	rj, err = s.st.Rejection(s.ctx, "rej_whole")
	s.must(err)
	if rj.Rescuable || rj.RescuedAs != "evt_1" {
		s.Errorf("after the rescue: %+v", rj)
	}
	_, err = s.st.Quarantined(s.ctx, "rej_whole")
	s.wants("rescued", err, gaff.ErrNotFound)

	reject("rej_old", 10, now.Add(-8*24*time.Hour))
	_, err = s.st.Quarantined(s.ctx, "rej_old")
	s.wants("too old", err, gaff.ErrNotFound)
	reject("rej_huge", MaxQuarantine/2, now)
	_, err = s.st.Quarantined(s.ctx, "rej_huge")
	s.wants("too large", err, gaff.ErrNotFound)
	const each = 1000
	many := 3 * MaxQuarantine / each
	for i := range many {
		reject(fmt.Sprint("rej_", i), each, now)
	}
	kept := 0
	for i := range many {
		if _, err := s.st.Quarantined(s.ctx, fmt.Sprint("rej_", i)); err == nil {
			kept++
		} else if kept > 0 {
			s.Fatalf("rej_%d is gone, and older ones are kept: %v", i, err)
		}
	}
	if kept*each > MaxQuarantine || kept*each < MaxQuarantine/3 {
		s.Errorf("%d bytes are kept of at most %d", kept*each, MaxQuarantine)
	}
}

func testKeyUses(s *suite) {
	for i, key := range []string{"k1", "k2", "k1", ""} {
		ev := &gaff.Event{Source: "shop", Type: "t", DedupeKey: fmt.Sprint(i), ReceivedAt: s.now, Data: []byte("{}"),
			Request: &gaff.Request{Method: "POST", Body: []byte("{}")}, Verification: gaff.Verification{Scheme: "s", KeyID: key}}
		_, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: ev})
		s.must(err)
	}
	uses, err := s.st.KeyUses(s.ctx, "shop")
	s.must(err)
	var names []string
	for _, u := range uses {
		names = append(names, u.KeyID)
		if time.Since(u.LastUsedAt) > time.Minute || u.FirstUsedAt.After(u.LastUsedAt) {
			s.Errorf("%+v", u)
		}
	}
	slices.Sort(names)
	s.equal("keys", names, []string{"k1", "k2"})
	uses, err = s.st.KeyUses(s.ctx, "other")
	s.must(err)
	s.equal("keys of another source", len(uses), 0)
}

func testKept(s *suite) {
	got, err := s.st.Kept(s.ctx, "a")
	s.must(err)
	s.equal("kept before", got, "")
	for i, value := range []string{"one", "two"} {
		kept, err := s.st.Keep(s.ctx, "a", value)
		s.must(err)
		s.equal("kept "+value, kept, i == 0)
	}
	got, err = s.st.Kept(s.ctx, "a")
	s.must(err)
	s.equal("kept", got, "one")
	s.must(s.st.Unkeep(s.ctx, "a"))
	got, err = s.st.Kept(s.ctx, "a")
	s.must(err)
	s.equal("kept after", got, "")
}

func testChanges(s *suite) {
	_, start, _, err := s.st.Changes(s.ctx, "", 10)
	s.must(err)
	changed := s.st.Changed()
	w := s.take()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		s.Fatal("the change was not told")
	}
	s.must(s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "p", Status: jobs.JobCompleted}); err != nil {
			return err
		}
		_, err := tx.AddMedia(s.ctx, &jobs.Media{ID: "med_1", JobID: "job_1", MediaType: jobs.MediaImage})
		return err
	}))
	want := []string{"event pending " + w.Event.ID, "job completed job_1", "media generated-image med_1", "event success " + w.Event.ID}
	for _, limit := range []int{1, 2, 100} {
		var got []string
		at := start
		// What was committed is told at once, or in a moment where others write too.
		for end := time.Now().Add(10 * time.Second); len(got) < len(want) && time.Now().Before(end); {
			changed := s.st.Changed()
			cs, last, gone, err := s.st.Changes(s.ctx, at, limit)
			s.must(err)
			if gone {
				s.Fatal("gone")
			}
			if len(cs) > limit {
				s.Errorf("%d changes, asked for %d", len(cs), limit)
			}
			for _, c := range cs {
				got = append(got, c.Kind+" "+c.Status+" "+c.Ref)
			}
			if at = last; len(cs) == 0 {
				select {
				case <-changed:
				case <-time.After(2 * time.Second):
				}
			}
		}
		s.equal(fmt.Sprint("by ", limit), got, want)
		if cs, _, _, err := s.st.Changes(s.ctx, at, limit); err != nil || len(cs) != 0 {
			s.Errorf("after the last: %v, %v", cs, err)
		}
	}
	_, end, gone, err := s.st.Changes(s.ctx, "9223372036854775807-0", 10)
	s.must(err)
	if !gone || end == "" {
		s.Errorf("a change of the future: gone %v, then go on from %q", gone, end)
	}
	_, _, _, err = s.st.Changes(s.ctx, "x", 10)
	s.wants("a broken id", err, gaff.ErrInvalid)
}

// testCounts does things at random, and compares what is counted along the way with what
// the lists hold.
func testCounts(s *suite) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	defer func() {
		if s.Failed() {
			s.Logf("seed %d", seed)
		}
	}()
	var held []gaff.Work
	var ids, deliveries []string
	drop := func() gaff.Work {
		i := r.IntN(len(held))
		w := held[i]
		held = slices.Delete(held, i, i+1)
		return w
	}
	for range 400 {
		switch n := r.IntN(10); {
		case n < 3 || len(ids) == 0:
			rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{
				Event:      s.event(func(ev *gaff.Event) { ev.Source = []string{"a", "b"}[r.IntN(2)] }),
				Deliveries: to([]string{"h", "i", "j"}[:r.IntN(4)]...), Take: []bool{r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0},
			})
			s.must(err)
			held, ids = append(held, rc.Work...), append(ids, rc.ID)
		case n == 3:
			held = append(held, s.claim(1+r.IntN(5))...)
		case n < 7 && len(held) > 0:
			w := drop()
			deliveries = append(deliveries, w.Delivery.ID)
			state := []gaff.State{gaff.StateSucceeded, gaff.StateDead, gaff.StateRetrying}[r.IntN(3)]
			failure := ""
			if state != gaff.StateSucceeded {
				failure = "x"
			}
			if err := s.finish(w, state, failure); err != nil && !errors.Is(err, gaff.ErrLeaseLost) {
				s.Fatal(err)
			}
		case n == 7:
			_, work, err := s.st.Retry(s.ctx, gaff.RetryParams{EventID: ids[r.IntN(len(ids))], Tries: 1, Now: s.now, Take: r.IntN(2) == 0})
			if err != nil && !errors.Is(err, gaff.ErrConflict) {
				s.Fatal(err)
			}
			held = append(held, work...)
		case n == 8:
			if _, err := s.st.Replay(s.ctx, ids[r.IntN(len(ids))], to("h", "z")); err != nil && !errors.Is(err, gaff.ErrConflict) {
				s.Fatal(err)
			}
		case n == 9 && len(deliveries) > 0:
			if err := s.st.Cancel(s.ctx, deliveries[r.IntN(len(deliveries))]); err != nil && !errors.Is(err, gaff.ErrConflict) {
				s.Fatal(err)
			}
		}
	}
	want := map[string]*gaff.SourceCount{}
	var waiting int64
	for _, l := range pages(s, func(c gaff.Cursor) (gaff.Page[gaff.Log], error) {
		return s.st.Events(s.ctx, gaff.EventFilter{Cursor: c})
	}) {
		sc := want[l.Source]
		if sc == nil {
			sc = &gaff.SourceCount{Source: l.Source}
			want[l.Source] = sc
		}
		if l.ReceivedAt.After(sc.LastReceivedAt) {
			sc.LastReceivedAt = l.ReceivedAt
		}
		*[]*int64{&sc.Pending, &sc.Success, &sc.Error}[l.Status]++
		// The event's status follows from its deliveries.
		d := s.detail(l.ID)
		var open, dead int
		last := map[string]gaff.State{}
		for _, dl := range d.Deliveries {
			if !dl.State.Done() {
				open++
				waiting++
			}
			last[dl.Handler] = dl.State
		}
		for _, state := range last {
			if state == gaff.StateDead || state == gaff.StateCanceled {
				dead++
			}
		}
		status := gaff.StatusSuccess
		if dead > 0 {
			status = gaff.StatusError
		} else if open > 0 {
			status = gaff.StatusPending
		}
		if d.Status != status {
			s.Errorf("%s is %s with the deliveries %v", d.ID, d.Status, d.Deliveries)
		}
	}
	counts, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	for _, sc := range counts.Sources {
		s.equal("source "+sc.Source, sc, *want[sc.Source])
	}
	if counts.Waiting != waiting {
		s.Errorf("%d waiting are counted, %d are listed", counts.Waiting, waiting)
	}
}

func testUnknown(s *suite) {
	rc := s.accept(s.event(), to("h")...)
	other := rc.ID[:len(rc.ID)-1] + "Z"
	for _, eventID := range []string{"", "evt_", "evt_1", other, "evt_7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "job_" + rc.ID[4:], strings.ToLower(rc.ID), "\x00\xff"} {
		_, err := s.st.Event(s.ctx, eventID)
		s.wants("event "+eventID, err, gaff.ErrNotFound)
		_, _, err = s.st.Retry(s.ctx, gaff.RetryParams{EventID: eventID, Tries: 1, Now: s.now})
		s.wants("retry "+eventID, err, gaff.ErrNotFound)
		_, err = s.st.Replay(s.ctx, eventID, to("h"))
		s.wants("replay "+eventID, err, gaff.ErrNotFound)
		s.wants("cancel", s.st.Cancel(s.ctx, strings.Replace(eventID, "evt_", "dlv_", 1)+"-1"), gaff.ErrNotFound)
		_, _, err = s.st.Delivery(s.ctx, eventID)
		s.wants("delivery "+eventID, err, gaff.ErrNotFound)
		_, err = s.st.Job(s.ctx, eventID)
		s.wants("job "+eventID, err, gaff.ErrNotFound)
		_, err = s.st.MediaByID(s.ctx, eventID)
		s.wants("media "+eventID, err, gaff.ErrNotFound)
		_, err = s.st.Rejection(s.ctx, eventID)
		s.wants("rejection "+eventID, err, gaff.ErrNotFound)
	}
}

func testClosed(s *suite) {
	w := s.take()
	s.must(s.st.Ready(s.ctx))
	s.must(s.st.Close())
	s.must(s.st.Close())
	_, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event()})
	s.wants("accept", err, gaff.ErrStopped)
	s.wants("finish", s.finish(w, gaff.StateSucceeded, ""), gaff.ErrStopped)
	s.wants("apply", s.st.Apply(s.ctx, w.Lease, func(jobs.Tx) error { return nil }), gaff.ErrStopped)
	s.wants("ready", s.st.Ready(s.ctx), gaff.ErrStopped)
	if _, err := s.st.Events(s.ctx, gaff.EventFilter{}); err == nil {
		s.Error("a closed store lists events")
	}
}

func testReopen(s *suite) {
	var before []*gaff.EventDetail
	for i := range 5 {
		w := s.take()
		switch i {
		case 0:
			s.must(s.finish(w, gaff.StateRetrying, "x"))
		case 1:
			s.must(s.finish(w, gaff.StateDead, "x"))
		case 2:
			s.must(s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
				return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "p"})
			}))
		}
		s.must(s.st.Release(s.ctx, []gaff.Lease{w.Lease}))
		before = append(before, s.detail(w.Event.ID))
	}
	counts, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	s.reopen()
	for _, d := range before {
		s.equal(d.ID, s.detail(d.ID), d)
	}
	if _, err := s.st.Job(s.ctx, "job_1"); err != nil {
		s.Error(err)
	}
	after, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	s.equal("counts", after, counts)
	if rc := s.accept(s.event()); slices.ContainsFunc(before, func(d *gaff.EventDetail) bool { return d.ID == rc.ID }) {
		s.Errorf("the id %s was given twice", rc.ID)
	}
}
