package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/storetest"
	"gaff/jobs"
	"gaff/store/sqlite"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) (storetest.Open, storetest.Exec) {
		path := filepath.Join(t.TempDir(), "gaff.db")
		exec := func(t *testing.T, text string, args ...any) { foreign(t, path, text, args...) }
		return func(t *testing.T) storetest.Store {
			st, err := sqlite.Open(t.Context(), path, sqlite.Options{
				MaxRejections: storetest.MaxRejections, MaxQuarantine: storetest.MaxQuarantine,
			})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}, exec
	})
}

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// accept stores the n-th webhook of a kind for one handler.
func accept(st *sqlite.Store, n int, take bool) (gaff.Receipt, error) {
	body := fmt.Appendf(nil, `{"n":%d,"pad":%q}`, n, strings.Repeat("x", 2000))
	return st.Accept(context.Background(), gaff.AcceptParams{
		Event: &gaff.Event{
			Source: "shop", Type: "paid", DedupeKey: fmt.Sprint(n), ReceivedAt: time.Now(), Data: body,
			Request: &gaff.Request{Method: "POST", URL: "/", Body: body},
		},
		Deliveries: []gaff.Delivery{{Handler: "h", MaxAttempts: 1}}, Take: []bool{take},
	})
}

// A webhook that is still queued when its sender gets 503 is not written: the sender sends it
// again.
func TestQueuedWebhookOfALeftSenderIsNotWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := open(t, filepath.Join(t.TempDir(), "gaff.db"))
		defer st.Close()
		stall(st, 7*time.Second)
		began := time.Now()
		_, err := accept(st, 1, true)
		if !errors.Is(err, gaff.ErrUnavailable) {
			t.Fatalf("while the disk hangs: %v, want ErrUnavailable", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("answered after %s, want five seconds at most", took)
		}
		time.Sleep(3 * time.Second)
		rc, err := accept(st, 1, true)
		if err != nil || rc.Duplicate {
			t.Errorf("sent again: %+v, %v; want a new event", rc, err)
		}
	})
}

// stall blocks the writer, as a hanging disk does.
func stall(st *sqlite.Store, d time.Duration) {
	go func() {
		_ = st.Between(func(*sql.Conn) error {
			time.Sleep(d)
			return nil
		})
	}()
	synctest.Wait()
}

// If the disk hangs in a commit, the sender gets 503, sends the webhook again and gets 200. Then
// the webhook must be processed.
func TestSlowCommitIsProcessed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := open(t, filepath.Join(t.TempDir(), "gaff.db"))
		defer st.Close()
		stall(st, time.Second)
		go func() {
			_ = st.Write(context.Background(), func(jobs.Tx) error {
				time.Sleep(7 * time.Second)
				return nil
			})
		}()
		if _, err := accept(st, 1, true); !errors.Is(err, gaff.ErrUnavailable) {
			t.Fatalf("while the commit hangs: %v, want ErrUnavailable", err)
		}
		time.Sleep(5 * time.Second)
		rc, err := accept(st, 1, true)
		if err != nil || !rc.Duplicate {
			t.Fatalf("it comes again: %+v, %v", rc, err)
		}
		select {
		case <-st.Wake(""):
		default:
			t.Error("no worker was woken")
		}
		work, err := st.Claim(context.Background(), gaff.ClaimParams{Now: time.Now(), Limit: 10})
		if err != nil || len(work) != 1 {
			t.Errorf("%d claimed deliveries, %v", len(work), err)
		}
	})
}

// Frequent probes do not fill the writer's queue while the disk hangs.
func TestReadyAnswersInTimeWhileTheDiskHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := open(t, filepath.Join(t.TempDir(), "gaff.db"))
		defer st.Close()
		stall(st, 3*time.Hour)
		for range 5000 { // more than the queue holds
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			began := time.Now()
			err := st.Ready(ctx)
			cancel()
			if !errors.Is(err, gaff.ErrUnavailable) || time.Since(began) != time.Second {
				t.Fatalf("after %s: %v, want ErrUnavailable after a second", time.Since(began), err)
			}
		}
		time.Sleep(3 * time.Hour)
		if err := st.Ready(context.Background()); err != nil {
			t.Errorf("the disk works again: %v", err)
		}
	})
}

// A power cut leaves the two files as they were at one moment.
func TestFilesOfARunningStoreHoldAllThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	st := open(t, filepath.Join(dir, "gaff.db"))
	for round := range 3 {
		var ids []string
		for n := range 50 {
			rc, err := accept(st, round*1000+n, false)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, rc.ID)
		}
		image := filepath.Join(t.TempDir(), "gaff.db")
		// The log is not copied into the database file meanwhile.
		err := st.Between(func(*sql.Conn) error {
			for _, suffix := range []string{"", "-wal"} {
				text, err := os.ReadFile(filepath.Join(dir, "gaff.db") + suffix)
				if err != nil {
					return err
				}
				if suffix != "" {
					text = append(text, text[:min(len(text), 5000)]...) // a torn write after the last commit
				}
				if err := os.WriteFile(image+suffix, text, 0o600); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		revived := open(t, image)
		for _, id := range ids {
			if _, err := revived.Event(context.Background(), id); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st := open(t, path)
	limit := func(pages int) {
		t.Helper()
		if err := st.Between(func(c *sql.Conn) error {
			_, err := c.ExecContext(context.Background(), fmt.Sprint(`pragma max_page_count = `, pages))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	limit(60)
	var kept []string
	var full error
	for n := range 1000 {
		rc, err := accept(st, n, false)
		if err != nil {
			full = err
			break
		}
		kept = append(kept, rc.ID)
	}
	if !errors.Is(full, gaff.ErrUnavailable) || !strings.Contains(full.Error(), "free some space") {
		t.Fatalf("a full disk after %d: %v", len(kept), full)
	}
	limit(100_000)
	if rc, err := accept(st, len(kept), false); err != nil || rc.Duplicate {
		t.Errorf("with space again: %+v, %v", rc, err)
	}
	if err := st.Ready(context.Background()); err != nil {
		t.Errorf("ready: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(t, path)
	for _, id := range kept {
		if _, err := st.Event(context.Background(), id); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenExplainsWhatIsWrong(t *testing.T) {
	t.Parallel()
	write := func(name string, text []byte) func(t *testing.T, dir string) string {
		return func(t *testing.T, dir string) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	damaged := func(t *testing.T, dir string) string {
		path := filepath.Join(dir, "gaff.db")
		st := open(t, path)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		copy(text[4096:], make([]byte, 4096))
		copy(text[20000:], strings.Repeat("garbage", 2000))
		return write("gaff.db", text[:len(text)/2])(t, dir)
	}
	tests := map[string]struct {
		prepare func(t *testing.T, dir string) string
		want    string
	}{
		"garbage": {write("gaff.db", []byte(strings.Repeat("no database at all ", 1000))), "restore a backup"},
		"damaged": {damaged, "restore a backup"},
		"a file where the folder should be": {func(t *testing.T, dir string) string {
			return filepath.Join(write("data", nil)(t, dir), "gaff.db")
		}, "data folder"},
		"a folder where the file should be": {func(t *testing.T, dir string) string { return dir }, "cannot be written"},
		"a newer schema": {func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "gaff.db")
			st := open(t, path)
			if err := st.Between(func(c *sql.Conn) error {
				_, err := c.ExecContext(context.Background(), `insert into schema_version values (999, 'later')`)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			return path
		}, "or a newer one"},
		"a second process": {func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "gaff.db")
			open(t, path)
			return path
		}, "another gaff process"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := tt.prepare(t, t.TempDir())
			st, err := sqlite.Open(context.Background(), path, sqlite.Options{})
			if err == nil {
				_ = st.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v\nlacks %q or the path", err, tt.want)
			}
		})
	}
}

// Only the owner may read the files: they have data of customers.
func TestFilesAreReadableByTheOwnerAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	st := open(t, filepath.Join(dir, "gaff.db"))
	if _, err := accept(st, 1, false); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %s", path, info.Mode())
		}
		seen++
		return err
	})
	if err != nil || seen < 4 {
		t.Errorf("%d files, %v", seen, err)
	}
}

// The log is copied into the database file while webhooks arrive, and is reused.
func TestLogStaysSmallUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st := open(t, path)
	big := []byte(`"` + strings.Repeat("x", 256<<10) + `"`)
	for n := range 800 { // 200 MiB
		_, err := st.Accept(context.Background(), gaff.AcceptParams{Event: &gaff.Event{
			Source: "shop", Type: "paid", DedupeKey: fmt.Sprint(n), ReceivedAt: time.Now(), Data: big,
			Request: &gaff.Request{Method: "POST", URL: "/", Body: big},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 120<<20 {
		t.Errorf("the log has %d MiB", info.Size()>>20)
	}
}

// A text without an index is searched in parts, each with a cursor to the next: no event is
// missed, and no page costs the whole log.
func TestSieveGoesOn(t *testing.T) {
	t.Parallel()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	err = st.Between(func(c *sql.Conn) error {
		return storetest.Fill(t.Context(), "sqlite", c, gaff.SearchWindow+2000, 24*time.Hour, func(int) {})
	})
	if err != nil {
		t.Fatal(err)
	}
	old, err := st.Events(t.Context(), gaff.EventFilter{WebhookID: "wh-5"})
	if err != nil || len(old.Items) != 1 {
		t.Fatalf("wh-5: %+v, %v", old, err)
	}
	for _, name := range []string{"wh-5", old.Items[0].ID} {
		page, err := st.Events(t.Context(), gaff.EventFilter{Query: name})
		if err != nil || len(page.Items) != 1 {
			t.Errorf("the first page for %s, which is older than one page searches: %d events, %v; want one", name, len(page.Items), err)
		}
	}
	failed := gaff.StatusError
	for name, test := range map[string]struct {
		filter       gaff.EventFilter
		pages, found int
	}{
		"an old text":           {gaff.EventFilter{Query: `"id":"wh-5"`}, 2, 1},
		"no such text":          {gaff.EventFilter{Query: "no such text"}, 2, 0},
		"no such type":          {gaff.EventFilter{Type: "none"}, 2, 0},
		"no such type, failed":  {gaff.EventFilter{Type: "none", Status: &failed}, 1, 0},
		"a text of few":         {gaff.EventFilter{Query: `"id":"wh-50"`, Status: &failed}, 1, 1},
		"no conflict, a source": {gaff.EventFilter{Conflict: true, Source: storetest.FillSource}, 1, 0},
	} {
		pages, found := 0, 0
		for f := test.filter; ; pages++ {
			page, err := st.Events(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			found += len(page.Items)
			if f.After = page.Next; f.After == "" {
				pages++
				break
			}
		}
		if pages != test.pages || found != test.found {
			t.Errorf("%s: %d found on %d pages, want %d on %d", name, found, pages, test.found, test.pages)
		}
	}
}
