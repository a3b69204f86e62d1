package e2e

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff/internal/s3test"
	"gaff/store/sqlite"
)

// The gateway is killed at random moments while it writes an archive. Afterwards each event is in
// the archive's files once.
func TestArchiveCrash(t *testing.T) {
	t.Parallel()
	s3 := s3test.Start(t, filepath.Join("..", "..", "tools"), "cold")
	folder := t.TempDir()
	for name, to := range map[string]struct{ url, dir string }{
		"folder": {folder, folder}, "S3": {s3.URL("cold", "gaff"), filepath.Join(s3.Dir, "cold")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			archiveCrash(t, to.url, to.dir)
		})
	}
}

func archiveCrash(t *testing.T, url, files string) {
	rounds := 6
	if text := os.Getenv("GAFF_CRASH_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("GAFF_CRASH_ROUNDS: %v", err)
		}
	}
	dir := t.TempDir()
	config := fmt.Sprintf("destinations:\n  cold: {kind: archive, url: %q, events: [\"custom:*\"], batch: {size: 10, wait: 1s}}\n", url)
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	env := environment(dir, addr, append([]string{"GAFF_LOG_LEVEL=error", "GAFF_ALLOW_ADDRESSES=127.0.0.1"}, s3test.Environ...)...)
	sent := &ledger{acknowledged: map[string]webhook{}}
	left := 0 // parts that a kill left unfinished
	for round := range rounds {
		g, err := serve(dir, env, addr)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for sender := range 4 {
			wg.Go(func() { sent.loadCustom(ctx, g.url, fmt.Sprintf("%d-%d", round, sender)) })
		}
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		g.kill()
		cancel()
		wg.Wait()
		if endTurn(t, filepath.Join(dir, "data", "gaff.db")) {
			left++
		}
	}
	g, err := serve(dir, env, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer g.kill()
	stored := map[string]bool{}
	if err := each(g, "/api/v1/events?source=custom", func(e struct{ ID string }) { stored[e.ID] = true }); err != nil {
		t.Fatal(err)
	}
	for id := range sent.acknowledged {
		if !stored[id] {
			t.Errorf("%s was acknowledged and is lost", id)
		}
	}
	var found map[string]int
	err = poll(2*time.Minute, func() error {
		if found = archivedEvents(t, files); len(found) < len(stored) {
			return fmt.Errorf("%d of %d events are archived", len(found), len(stored))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for id, n := range found {
		if n != 1 || !stored[id] {
			t.Errorf("%s is %d times in the files, stored: %v", id, n, stored[id])
		}
	}
	t.Logf("%d rounds: %d events archived, each once; %d kills left a part unfinished", rounds, len(found), left)
	if len(found) < 20*rounds {
		t.Errorf("only %d events were archived: the test did not load the gateway", len(found))
	}
}

// loadCustom sends events until the gateway is gone.
func (l *ledger) loadCustom(ctx context.Context, url, name string) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for n := 2; ctx.Err() == nil; n += 3 { // makeWebhook makes events of custom of these
		w := makeWebhook(fmt.Sprintf("%s-%d", name, n), n)
		id, _, err := send(ctx, client, url, w)
		if err != nil {
			continue
		}
		l.mu.Lock()
		l.acknowledged[id] = w
		l.mu.Unlock()
	}
}

// endTurn lets the time pass in which other processes leave an unfinished part to the one that
// began it. It reports whether there is one.
func endTurn(t *testing.T, path string) bool {
	t.Helper()
	st, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	records, err := st.Records(t.Context(), "archive")
	if err != nil {
		t.Fatal(err)
	}
	unfinished := false
	for _, r := range records {
		var state map[string]json.RawMessage
		if err := json.Unmarshal(r.Value, &state); err != nil {
			t.Fatal(err)
		}
		var part map[string]any
		if state["part"] == nil || json.Unmarshal(state["part"], &part) != nil || part == nil {
			continue
		}
		unfinished = true
		part["until"] = time.Now().Add(-time.Second).UTC()
		if state["part"], err = json.Marshal(part); err != nil {
			t.Fatal(err)
		}
		if r.Value, err = json.Marshal(state); err != nil {
			t.Fatal(err)
		}
		if _, err := st.PutRecord(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return unfinished
}

// archivedEvents counts the events in the files of an archive, by id.
func archivedEvents(t *testing.T, dir string) map[string]int {
	t.Helper()
	found := map[string]int{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".jsonl.gz") {
			return nil //nolint:nilerr // a file that is being written
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		r, err := gzip.NewReader(f)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			var line struct{ Envelope struct{ ID string } }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			found[line.Envelope.ID]++
		}
		return lines.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
