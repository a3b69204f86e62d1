package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gaff/internal/powercut"
)

// cutsFromEnvironment returns how many cuts are wanted, and the seed of everything random.
func cutsFromEnvironment(t *testing.T, usual int) (cuts int, seed uint64) {
	t.Helper()
	cuts, seed = usual, 1
	var err error
	if text := os.Getenv("GAFF_CUTS"); text != "" {
		if cuts, err = strconv.Atoi(text); err != nil {
			t.Fatalf("GAFF_CUTS: %v", err)
		}
	}
	if text := os.Getenv("GAFF_CUTS_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("GAFF_CUTS_SEED: %v", err)
		}
	}
	return cuts, seed
}

// TestPowerCuts runs the gateway on a file system that records all file operations, and cuts
// the power at many places: every webhook that was answered before must be there, and every file
// of which a row says that it is stored. The same cuts with syncs forgotten must find losses, so
// that the test is known to see them. Where no file system can be mounted, the test of
// store/sqlite with the same name does the same inside one process.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err == nil {
		f.Close()
	} else {
		t.Logf("no file system can be mounted (%v): store/sqlite.TestPowerCuts alone cuts the power", err)
		return
	}
	cuts, seed := cutsFromEnvironment(t, 20)
	ops, acknowledged := recordedLoad(t, cuts)
	t.Logf("%d operations, %d acknowledged; GAFF_CUTS_SEED=%d", len(ops), len(acknowledged), seed)
	if len(acknowledged) < 100 {
		t.Fatalf("only %d webhooks were acknowledged: the test did not load the gateway", len(acknowledged))
	}
	random := rand.New(rand.NewPCG(seed, 1))
	found := cutAt(t, ops, cuts, acknowledged, random, func(cut int, loss powercut.Loss, err error) {
		t.Errorf("cut after %d operations, loss %d: %v", cut, loss, err)
	})
	if found > 0 {
		t.Errorf("%d of %d cuts lost something", found, cuts)
	}
	for _, part := range []string{"gaff.db-wal", "media"} {
		forgetful := powercut.ForgetSyncs(ops, part, 1, random)
		if found := cutAt(t, forgetful, max(cuts/5, 10), acknowledged, random, nil); found == 0 {
			t.Errorf("no cut finds that syncs of %s are left out", part)
		}
	}
}

// cutAt cuts the power at so many places and returns at how many something was lost.
func cutAt(t *testing.T, ops []powercut.Op, cuts int, acknowledged []powercut.Acknowledged, random *rand.Rand, lost func(int, powercut.Loss, error)) (found int) {
	t.Helper()
	var disk powercut.Disk
	base, done := fastFolder(t), 0
	for number, cut := range powercut.Points(ops, 0, cuts, random) {
		for ; done < min(cut, len(ops)); done++ {
			disk.Do(ops[done])
		}
		dir, err := os.MkdirTemp(base, "cut-")
		if err != nil {
			t.Fatal(err)
		}
		loss := powercut.AnyLoss(random)
		if err := disk.Leave(dir, loss, random); err != nil {
			t.Fatal(err)
		}
		err = powercut.Check(filepath.Join(dir, "data"), cut, acknowledged)
		if lost != nil && number%startsEvery == 0 {
			err = errors.Join(err, startOn(t, dir, cut, acknowledged))
		}
		if err != nil {
			found++
			if lost != nil {
				lost(cut, loss, err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// fastFolder is where the states of cuts are written: in memory, if the system has such a place.
func fastFolder(t *testing.T) string {
	t.Helper()
	const memory = "/dev/shm"
	if dir, err := os.MkdirTemp(memory, "gaff-cuts-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// startsEvery is of how many cuts one is looked at by gaff itself, too.
const startsEvery = 10

// startOn starts a gateway on the files after a cut. It must become ready, finish pending work,
// and leave a sound database.
func startOn(t *testing.T, dir string, cut int, acknowledged []powercut.Acknowledged) error {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	g, err := serve(dir, environment(dir, addr, "GAFF_MEDIA_URL=", "GAFF_ALLOW_ADDRESSES=127.0.0.0/8", "GAFF_LOG_LEVEL=error"), addr)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := errors.Join(idle(g), g.stop()); err != nil {
		return err
	}
	return powercut.Check(filepath.Join(dir, "data"), cut, acknowledged)
}

// recordedLoad loads a gateway on a recording file system, with copies of files, a clean stop and
// a backup in between, and returns its file operations and the acknowledged webhooks.
func recordedLoad(t *testing.T, cuts int) ([]powercut.Op, []powercut.Acknowledged) {
	t.Helper()
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write([]byte("\x89PNG\r\n\x1a\n" + strings.Repeat(r.URL.Path, 100)))
	}))
	t.Cleanup(files.Close)
	point := t.TempDir()
	record, unmount, err := powercut.Mount(t.TempDir(), point)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, "GAFF_DATA_DIR="+filepath.Join(point, "data"), "GAFF_MEDIA_URL=", "GAFF_ALLOW_ADDRESSES=127.0.0.0/8")
	t.Cleanup(func() {
		if p.gateway != nil {
			p.kill()
		}
		if err := unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	var mu sync.Mutex
	var acknowledged []powercut.Acknowledged
	var sent atomic.Int64
	load := func(webhooks int64) {
		p.open(t)
		var wg sync.WaitGroup
		stop := sent.Load() + webhooks
		for range 8 {
			wg.Go(func() {
				for n := sent.Add(1); n <= stop && !t.Failed(); n = sent.Add(1) {
					w := makeWebhook(fmt.Sprint("cut-", n), int(n))
					w.body = []byte(strings.ReplaceAll(string(w.body), "https://example.com", files.URL))
					if _, _, err := send(context.Background(), http.DefaultClient, p.url, w); err != nil {
						t.Errorf("send: %v", err)
						return
					}
					a := powercut.Acknowledged{Source: w.source, WebhookID: fmt.Sprint("r-cut-", n), At: record.Len()}
					if w.source == "custom" {
						a.WebhookID = fmt.Sprint("c-cut-", n)
					}
					mu.Lock()
					acknowledged = append(acknowledged, a)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	}
	// So many that cuts fall into different commits, and the log is copied into the database.
	webhooks := int64(min(500+cuts*3, 4000))
	load(webhooks / 2)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	load(webhooks / 4)
	if out, err := p.gaff("backup", filepath.Join(t.TempDir(), "copy.db")); err != nil {
		t.Fatalf("backup: %v\n%s", err, out)
	}
	p.kill()
	load(webhooks / 4)
	waitForCopies(t, p)
	p.kill()
	return record.Ops(), acknowledged
}

// waitForCopies waits until some files are stored.
func waitForCopies(t *testing.T, p *place) {
	t.Helper()
	err := poll(time.Minute, func() error {
		stored := 0
		if err := each(p.gateway, "/api/v1/media", func(m struct{ Storage string }) {
			if m.Storage == "stored" {
				stored++
			}
		}); err != nil {
			return err
		}
		if stored < 50 {
			return fmt.Errorf("%d files are stored", stored)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
