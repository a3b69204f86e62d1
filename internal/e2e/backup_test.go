package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gaff/internal/eventually"
	"gaff/internal/pgtest"
)

// place is a gateway with a folder and an address of its own.
type place struct {
	*gateway
	dir, addr string
	env       []string
}

func newPlace(t *testing.T, extra ...string) *place {
	t.Helper()
	p := &place{dir: t.TempDir()}
	var err error
	if p.addr, err = freeAddr(); err != nil {
		t.Fatal(err)
	}
	p.env = environment(p.dir, p.addr, append(extra, "GAFF_LOG_LEVEL=error")...)
	return p
}

func (p *place) open(t *testing.T) {
	t.Helper()
	g, err := serve(p.dir, p.env, p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.gateway = g
	t.Cleanup(g.kill)
}

// gaff runs the binary in the place.
func (p *place) gaff(args ...string) (string, error) {
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// busyWith is how many webhooks of a busy gateway are acknowledged before it is copied.
const busyWith = 20

// busy sends webhooks until done is called, which returns those that were acknowledged: at least
// busyWith.
func busy(t *testing.T, g *gateway, name string) (done func() *ledger) {
	t.Helper()
	l := &ledger{acknowledged: map[string]webhook{}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { l.load(ctx, g.url, fmt.Sprint(name, "-", i)) })
	}
	return func() *ledger {
		t.Helper()
		eventually.True(t, "enough webhooks are acknowledged", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.acknowledged) >= busyWith
		})
		cancel()
		wg.Wait()
		return l
	}
}

func idle(g *gateway) error {
	return poll(eventually.Limit, func() error {
		var stats struct {
			Deliveries struct{ Waiting int } `json:"deliveries"`
		}
		if err := g.get("/api/v1/stats", &stats); err != nil {
			return err
		}
		if stats.Deliveries.Waiting > 0 {
			return fmt.Errorf("%d deliveries wait", stats.Deliveries.Waiting)
		}
		return nil
	})
}

// restored checks that all acknowledged before the copy are there and processed, and that the
// gateway goes on: known ones are known, and new ones are new.
func restored(t *testing.T, p *place, before *ledger) {
	t.Helper()
	p.open(t)
	if err := idle(p.gateway); err != nil {
		t.Fatal(err)
	}
	before.audit(t, p.gateway)
	before.resend(t, p.gateway)
	id, duplicate, err := send(context.Background(), http.DefaultClient, p.url, makeWebhook("after-restore", 0))
	if err != nil || duplicate || before.acknowledged[id].source != "" {
		t.Errorf("a new webhook: %s, %v, %v", id, duplicate, err)
	}
}

func TestBackupOfSQLite(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.open(t)
	before := busy(t, p.gateway, "before")
	first := before()
	meanwhile := busy(t, p.gateway, "meanwhile")
	file := filepath.Join(t.TempDir(), "copy.db")
	out, err := p.gaff("backup", file)
	if err != nil || !strings.Contains(out, "checked") {
		t.Fatalf("backup: %v\n%s", err, out)
	}
	if late := meanwhile(); len(late.acknowledged) == 0 {
		t.Error("nothing was received during the backup")
	}
	if out, err := p.gaff("backup", file); err == nil || !strings.Contains(out, "exists already") {
		t.Errorf("over a file that is there: %v\n%s", err, out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info, err)
	}
	r := newPlace(t)
	data := filepath.Join(r.dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "gaff.db"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	restored(t, r, first)
}

// pgTool runs a program of PostgreSQL.
func pgTool(t *testing.T, name string, args ...string) {
	t.Helper()
	bin, err := pgtest.Bin()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(bin, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func TestBackupOfPostgreSQL(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	p := newPlace(t, "GAFF_DATABASE_URL="+url)
	p.open(t)
	if out, err := p.gaff("backup", "x"); err == nil || !strings.Contains(out, "pg_dump") {
		t.Errorf("gaff backup: %v\n%s", err, out)
	}
	before := busy(t, p.gateway, "before")
	first := before()
	meanwhile := busy(t, p.gateway, "meanwhile")
	file := filepath.Join(t.TempDir(), "gaff.dump")
	pgTool(t, "pg_dump", "--format=custom", "--file="+file, url)
	meanwhile()
	empty := pgtest.Empty(t)
	pgTool(t, "pg_restore", "--no-owner", "--exit-on-error", "--dbname="+empty, file)
	r := newPlace(t, "GAFF_DATABASE_URL="+empty)
	// Deliveries in progress at the time of the copy wait for their lease, as after a node died.
	if err := os.WriteFile(filepath.Join(r.dir, "gaff.yaml"), []byte("limits: {lease: 2s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	restored(t, r, first)
}

// TestMigrateToPostgreSQL moves a running installation's data over.
func TestMigrateToPostgreSQL(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.open(t)
	before := busy(t, p.gateway, "before")
	first := before()
	to := pgtest.Empty(t)
	if out, err := p.gaff("migrate", "--to", to); err == nil || !strings.Contains(out, "another gaff process") {
		t.Errorf("while the gateway runs: %v\n%s", err, out)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	out, err := p.gaff("migrate", "--from", "sqlite://"+filepath.Join(p.dir, "data", "gaff.db"), "--to", to)
	if err != nil || !strings.Contains(out, "event: ") {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	for args, want := range map[string]string{"--from=/x": "sqlite://", "--from=sqlite:///none.db": "--to", "--to=mysql://x": "postgres://"} {
		if out, err := p.gaff("migrate", args); err == nil || !strings.Contains(out, want) {
			t.Errorf("migrate %s: %v\n%s", args, err, out)
		}
	}
	r := newPlace(t, "GAFF_DATABASE_URL="+to)
	restored(t, r, first)
}
