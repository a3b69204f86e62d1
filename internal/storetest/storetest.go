// Package storetest is the conformance suite of the stores.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/alert"
	"gaff/internal/erase"
	"gaff/internal/issue"
	"gaff/internal/media"
	"gaff/internal/secretbox"
	"gaff/internal/sqlstore"
	"gaff/internal/stats"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// Store has all interfaces of a store.
type Store interface {
	gaff.Store
	jobs.Store
	jobs.Reader
	Prune(ctx context.Context, r sqlstore.Retention) (sqlstore.Pruned, error)
	runs.Store
	runs.Reader
	gaff.Records
	gaff.Follower
	gaff.Replayer
	gaff.Importer
	QueueCounts(ctx context.Context, queue string) (gaff.QueueCounts, error)
	HandlerQueues(ctx context.Context, now time.Time) ([]sqlstore.HandlerQueue, error)
	access.Store
	PruneAudit(ctx context.Context, before time.Time, most int64) (removed int64, err error)
	stats.Store
	issue.Store
	alert.Store
	alert.OverdueStore
	CheckBodies(ctx context.Context) (sqlstore.BodyReport, error)
	DamagedBodies() int64
	erase.Store
	media.ErasedStore
	UseSecretKeys(ctx context.Context, b *secretbox.Box) (int, error)
	CountSecrets(ctx context.Context, b *secretbox.Box) (sqlstore.SecretCounts, error)
	RedactProcessed(ctx context.Context, source string, failedBefore time.Time, redact func(*gaff.Event) bool) (int, error)
	RowsNaming(ctx context.Context, text string) (map[string]int, error)
	QueuedProviders(ctx context.Context) (names []string, rows bool, err error)
	LimitUse(ctx context.Context) ([]jobs.LimitUse, error)
}

// MaxRejections is the limit of rejections with which Open must open a store.
const MaxRejections = 100

// MaxQuarantine is the limit of quarantined bytes with which Open must open a store.
const MaxQuarantine = 16 << 10

// Open opens the test's database, which is empty at first. After a Close it opens the same
// database again. The suite closes it.
type Open func(t *testing.T) Store

// Exec runs one statement as another program would, while a store has the database open.
type Exec func(t *testing.T, text string, args ...any)

// tests are all tests of the suite.
var tests = map[string]func(*suite){
	"AcceptKeepsAll":                 testAccept,
	"AcceptWithEffects":              testAcceptWithEffects,
	"EffectsOfAnotherStore":          testEventTx,
	"EffectsOfOneDelivery":           testEffectsOfOneDelivery,
	"EffectsThatFail":                testEffectsThatFail,
	"EffectsOfManyEvents":            testEffectsTogether,
	"KnownKeyAddsNothing":            testDuplicate,
	"SignedContentIsOneEvent":        testSignedKey,
	"ConcurrentArrivalsOfOneKey":     testRace,
	"HostileText":                    testHostileText,
	"Violations":                     testViolations,
	"Publish":                        testPublish,
	"Schedule":                       testSchedule,
	"ScheduleCanceled":               testScheduleCanceled,
	"ErasePublished":                 testErasePublished,
	"ScheduleUnderRace":              testScheduleUnderRace,
	"ClaimHandsOutOnce":              testClaim,
	"ClaimOfMany":                    testClaimMany,
	"BackgroundFinish":               testBackgroundFinish,
	"ClaimFindsWhatIsDueEarlier":     testClaimEarlier,
	"LanesAreApart":                  testQueues,
	"OrderByKey":                     testOrderByKey,
	"OrderHoldsDead":                 testOrderHoldsDead,
	"OrderLatest":                    testOrderLatest,
	"OrderPerKey":                    testOrderPerKey,
	"OrderUnderRace":                 testOrderUnderRace,
	"CancelLane":                     testCancelQueue,
	"Records":                        testRecords,
	"RecordHistory":                  testRecordHistory,
	"Follow":                         testFollow,
	"FinishIsFenced":                 testFinish,
	"ReleaseAndReopenCostNoAttempt":  testRelease,
	"OutcomeOverSeveralDeliveries":   testOutcome,
	"ApplyIsAllOrNothing":            testApply,
	"OneBadEffectHoldsNobodyUp":      testBadNeighbour,
	"OperationsOfOneCommitShareAJob": testSharedJobs,
	"CostsAreSummedExactly":          testCosts,
	"CostsSayIfTheyAreNotAll":        testCostLimit,
	"BudgetsAreKept":                 testBudgets,
	"BudgetsAdmitNoMoreThanTheLimit": testBudgetLock,
	"AttemptsFollowEachOther":        testAttempts,
	"ReusableJobsHaveAllTheirFiles":  testReusable,
	"QueuedJobsTakeTurns":            testQueueOrder,
	"UsersOfAProjectShareItsTurns":   testQueueUsers,
	"QueueForgetsEndedJobs":          testQueueClean,
	"QueueAdmitsNoMoreThanTheLimit":  testQueueLock,
	"FreeJobBehindFullOnesIsFound":   testLongQueue,
	"BudgetSumsFollowCharges":        testBudgetSums,
	"BudgetIsSavedUnderLoad":         testBudgetSavedUnderLoad,
	"WriteIsAllOrNothing":            testWrite,
	"JobsMoveForwardOnly":            testJobs,
	"MediaAreAddedOnce":              testMedia,
	"CopiesOfAJobEnd":                testJobMedia,
	"ProjectIsPublic":                testPublicProject,
	"Ledger":                         testJobService,
	"NotesAreBounded":                testNotes,
	"IdempotencyKeysAreTheCallers":   testIdempotencyKeys,
	"RemovedJobLeavesNothing":        testRemovedJob,
	"AsksAreHandedOutOnce":           testPolls,
	"Settings":                       testSettings,
	"Waits":                          testWaits,
	"EmitOnce":                       testEmit,
	"Projects":                       testProjects,
	"RunsAreInsertedOnce":            testRuns,
	"RunLists":                       testRunLists,
	"StepsKeepTheirValues":           testSteps,
	"StepsAreFound":                  testStepLookups,
	"LimitsAreKept":                  testSlots,
	"RetryOfTheDead":                 testRetry,
	"ReplayReplaces":                 testReplay,
	"ImportLogs":                     testImportLogs,
	"ReplayPage":                     testReplayPage,
	"ReplayBatch":                    testReplayBatch,
	"ReplayUnderRace":                testReplayUnderRace,
	"Cancel":                         testCancel,
	"RetentionOfPayloads":            testPayloadRetention,
	"RetentionOfEvents":              testEventRetention,
	"RetentionOfJobsAndRuns":         testJobRetention,
	"EventLists":                     testEventLists,
	"EventSearch":                    testEventSearch,
	"LogsByNumber":                   testLogs,
	"LogsByConditions":               testLogSearch,
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
	"Keys":                           testKeys,
	"Sessions":                       testSessions,
	"SessionsArePruned":              testPruneSessions,
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
	"OverdueJobsAndRuns":             testOverdue,
	"Alerts":                         testAlerts,
	"EraseUser":                      testEraseUser,
	"EraseKeepsTotals":               testEraseTotals,
	"EraseJob":                       testEraseJob,
	"EraseJobThatWasReused":          testEraseReused,
	"EraseFile":                      testEraseFile,
	"EraseEvent":                     testEraseEvent,
	"EraseProject":                   testEraseProject,
	"EraseUnfinished":                testEraseUnfinished,
	"SecretsAreEncrypted":            testSecrets,
	"RedactProcessed":                testRedactProcessed,
	"RedactFailed":                   testRedactFailed,
	"EraseRequestOfBatch":            testEraseBatch,
}

// Run runs the suite. fresh makes a new empty database and returns how to open it.
func Run(t *testing.T, fresh func(t *testing.T) (Open, Exec)) {
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

// equal reports a difference. Nil and empty are equal.
func (s *suite) equal(what string, got, want any) {
	s.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		s.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// event returns an event with new ids.
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

// takeAll takes all of n deliveries.
func takeAll(n int) []bool { return slices.Repeat([]bool{true}, n) }

func (s *suite) accept(ev *gaff.Event, ds ...gaff.Delivery) gaff.Receipt {
	s.Helper()
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: ev, Deliveries: ds})
	s.must(err)
	return rc
}

// take accepts an event for one handler, and takes its delivery.
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
