package powercut_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gaff"
	"gaff/internal/powercut"
	"gaff/store/sqlite"
)

// TestPowerCutsInProcess cuts the power under the store alone, recorded by a layer around SQLite's
// file access. It needs no file system of its own, so it runs on every machine; the test of
// internal/e2e does the same to the real binary where FUSE is there.
func TestPowerCutsInProcess(t *testing.T) {
	back := t.TempDir()
	record, err := powercut.VFS(back)
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := loadStore(t, record, filepath.Join(back, "data", "gaff.db"))
	ops := record.Ops()
	random := rand.New(rand.NewPCG(1, 1))
	t.Logf("%d operations, %d acknowledged", len(ops), len(acknowledged))
	if err := cutStore(t, ops, 20, acknowledged, random); err != nil {
		t.Error(err)
	}
	if err := cutStore(t, powercut.ForgetSyncs(ops, "gaff.db-wal", 1, random), 20, acknowledged, random); err == nil {
		t.Error("no cut finds that syncs of the log are left out")
	}
}

// loadStore stores webhooks until the log was copied into the database a few times, and opens the
// store a second time in between.
func loadStore(t *testing.T, record *powercut.Record, path string) (acknowledged []powercut.Acknowledged) {
	t.Helper()
	var mu sync.Mutex
	for round := range 2 {
		st, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for sender := range 8 {
			wg.Go(func() {
				for n := range 100 {
					id := fmt.Sprintf("%d-%d-%d", round, sender, n)
					ev := &gaff.Event{
						Source: "test", Type: "t", WebhookID: id, DedupeKey: id, ReceivedAt: time.Now(),
						Data: []byte(`{"n":1}`), Request: &gaff.Request{Method: "POST", Body: make([]byte, 2000), ReceivedAt: time.Now()},
					}
					if _, err := st.Accept(context.Background(), gaff.AcceptParams{Event: ev}); err != nil {
						t.Errorf("accept: %v", err)
						return
					}
					mu.Lock()
					acknowledged = append(acknowledged, powercut.Acknowledged{Source: "test", WebhookID: id, At: record.Len()})
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return acknowledged
}

func cutStore(t *testing.T, ops []powercut.Op, cuts int, acknowledged []powercut.Acknowledged, random *rand.Rand) error {
	t.Helper()
	var disk powercut.Disk
	var faults []error
	done := 0
	for _, cut := range powercut.Points(ops, 0, cuts, random) {
		for ; done < min(cut, len(ops)); done++ {
			disk.Do(ops[done])
		}
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := disk.Leave(dir, powercut.AnyLoss(random), random); err != nil {
			t.Fatal(err)
		}
		if err := powercut.Check(filepath.Join(dir, "data"), cut, acknowledged); err != nil {
			faults = append(faults, fmt.Errorf("cut after %d operations: %w", cut, err))
		}
	}
	return errors.Join(faults...)
}
