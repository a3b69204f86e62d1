package access_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"gaff/internal/access"
)

func (w *world) entries(f access.AuditFilter) []access.Entry {
	w.t.Helper()
	page, err := w.Audit(context.Background(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Items
}

func TestReadsCannotFloodTheAuditLog(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		for i := range 1000 {
			w.NoteRead(context.Background(), access.Entry{
				Actor: "viewer", KeyID: "apk_1", Role: access.Viewer, Via: access.ViaKey, Action: "get-event", Target: fmt.Sprintf("evt_%d", i), Status: 200,
			})
		}
		if all := w.entries(access.AuditFilter{}); len(all) != 1 || all[0].Target != "evt_0" {
			t.Fatalf("at once: %+v, want the first read", all)
		}
		time.Sleep(time.Hour + time.Second)
		all := w.entries(access.AuditFilter{})
		if len(all) != 2 || all[0].Times != 999 || all[0].Target != "" {
			t.Fatalf("after an hour: %+v, want one more entry of 999 reads", all)
		}
		if detail := string(all[0].Detail); !strings.Contains(detail, `"evt_1"`) || strings.Contains(detail, `"evt_21"`) {
			t.Errorf("detail %s, want the first 20 targets", detail)
		}
	})
}

func TestReadsAreCountedByCredentialAndOperation(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		for _, key := range []string{"apk_1", "apk_2"} {
			for _, action := range []string{"get-event", "get-job"} {
				for range 3 {
					w.NoteRead(context.Background(), access.Entry{Actor: "a", KeyID: key, Role: access.Viewer, Action: action, Target: "one", Status: 200})
				}
			}
		}
		w.Flush()
		all := w.entries(access.AuditFilter{})
		if len(all) != 8 {
			t.Fatalf("%d entries, want the first and the rest of four kinds", len(all))
		}
		if e := all[0]; e.Times != 2 || e.Target != "one" {
			t.Errorf("the rest: %+v, want the only target", e)
		}
	})
}

func TestReadsCanBeLeftOut(t *testing.T) {
	t.Parallel()
	runWith(t, access.GuardOptions{NoReads: true}, func(w *world) {
		w.NoteRead(context.Background(), access.Entry{Actor: "a", Role: access.Viewer, Action: "get-event", Status: 200})
		if all := w.entries(access.AuditFilter{}); len(all) != 0 {
			t.Errorf("%+v", all)
		}
	})
}

func TestEntriesAreHandedOn(t *testing.T) {
	t.Parallel()
	var handed []string
	runWith(t, access.GuardOptions{Audited: func(e access.Entry) { handed = append(handed, e.Action) }}, func(w *world) {
		w.Note(context.Background(), access.Entry{Actor: "a", Role: access.Admin, Action: "create-key", Status: 201})
		w.NoteRead(context.Background(), access.Entry{Actor: "a", Role: access.Viewer, Action: "get-event", Status: 200})
		if fmt.Sprint(handed) != "[create-key get-event]" {
			t.Errorf("%v", handed)
		}
	})
}

func TestRefusedCallsAreCountedAndSomeLogged(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		for range 100 {
			w.Refused(access.DeniedRole, access.Identity{Name: "viewer", KeyID: "apk_1"}, "revoke-key")
		}
		if w.denied[access.DeniedRole] != 100 {
			t.Errorf("%v", w.denied)
		}
		if lines := strings.Count(w.log.String(), "access refused"); lines != 1 {
			t.Errorf("%d lines, want one a minute", lines)
		}
	})
}

func TestRateOfKeyIsSharedAndRefills(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		ctx := context.Background()
		key := access.Identity{Name: "k", KeyID: "apk_1", Via: access.ViaKey, Rate: 5}
		browser := key
		browser.Via = access.ViaBrowser
		for range 5 {
			if w.Take(ctx, key) != 0 {
				t.Fatal("a request within the rate was refused")
			}
		}
		if wait := w.Take(ctx, browser); wait <= 0 || wait > 200*time.Millisecond {
			t.Errorf("wait %s, want up to 200ms", wait)
		}
		if w.Take(access.Taken(ctx), key) != 0 {
			t.Error("a call within a counted request was counted")
		}
		time.Sleep(time.Second)
		if w.Take(ctx, browser) != 0 {
			t.Error("nothing was refilled in a second")
		}
		if w.denied[access.DeniedRate] != 1 {
			t.Errorf("denied: %v", w.denied)
		}
	})
}
