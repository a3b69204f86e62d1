package sqlite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gaff"
	"gaff/internal/erase"
	"gaff/jobs"
	"gaff/store/sqlite"
)

// TestCompactLeavesNothingErased greps the raw files, as someone who has them would.
func TestCompactLeavesNothingErased(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx := t.Context()
	insert := func(n int, user string) {
		body := json.RawMessage(`{"n":` + fmt.Sprint(n) + `,"userId":"` + user + `","text":"` + strings.Repeat("x", n*40) + `"}`)
		ev := &gaff.Event{Source: "shop", Type: "t", DedupeKey: fmt.Sprint(n, user), Data: body, Request: &gaff.Request{Method: "POST", URL: "/" + user, Body: body}}
		if _, err := st.Accept(ctx, gaff.AcceptParams{Event: ev}); err != nil {
			t.Error(err)
		}
		err := st.Write(ctx, func(tx jobs.Tx) error {
			j := &jobs.Job{ID: fmt.Sprint("job_", user, n), Provider: "p", UserID: user, Status: jobs.JobQueued}
			if err := tx.InsertJob(ctx, j); err != nil {
				return err
			}
			// An update moves the row, and leaves the old one behind in the page.
			j.Status, j.Result = jobs.JobCompleted, json.RawMessage(`{"text":"`+user+strings.Repeat("y", n*30)+`"}`)
			return tx.SaveJob(ctx, j)
		})
		if err != nil {
			t.Error(err)
		}
	}
	const marker = "user-ERASED-7"
	for n := range 200 {
		insert(n, marker)
		insert(n, "user-KEPT-7")
	}
	if _, err := st.Erase(ctx, erase.Target{Kind: erase.User, ID: marker}); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { // webhooks come meanwhile
		for n := range 50 {
			insert(1000+n, "user-NEW-7")
		}
	})
	c, err := st.Compact(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	running.Wait()
	if c.After >= c.Before {
		t.Errorf("compacted from %d to %d bytes", c.Before, c.After)
	}
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(marker)) {
			t.Errorf("gaff.db%s has the marker of the erased user", suffix)
		}
	}
	counts, err := st.RowsNaming(context.Background(), "user-KEPT-7")
	if err != nil || counts["job"] != 200 || counts["payload"] != 200 {
		t.Errorf("rows of another user: %v %v", counts, err)
	}
	if counts, err := st.RowsNaming(context.Background(), "user-NEW-7"); err != nil || counts["job"] != 50 {
		t.Errorf("rows that came meanwhile: %v %v", counts, err)
	}
}
