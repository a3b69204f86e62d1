package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"gaff/internal/pgtest"
)

// outage records what senders see of failovers.
type outage struct {
	mu       sync.Mutex
	last     time.Time     // acknowledgement
	down     time.Duration // the longest time without one
	rejected int
	slowest  time.Duration // response other than an acknowledgement
}

func (o *outage) acknowledged() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if !o.last.IsZero() {
		o.down = max(o.down, now.Sub(o.last))
	}
	o.last = now
}

func (o *outage) refused(took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rejected++
	o.slowest = max(o.slowest, took)
}

// TestFailoverCrash kills the primary under load and promotes its synchronous standby. Everything that was
// answered 200 must be there afterwards, and every effect must have happened once.
func TestFailoverCrash(t *testing.T) {
	rounds, pace := 1, 20*time.Millisecond
	if text := os.Getenv("GAFF_FAILOVERS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("GAFF_FAILOVERS: %v", err)
		}
		pace = 0
	}
	t.Parallel()
	primary, err := pgtest.NewServer(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { primary.Close() })
	if _, err := primary.Database("failover"); err != nil {
		t.Fatal(err)
	}
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { standby.Close() })
	nodes := failoverNodes(t, primary.Hosts(standby, pgtest.Owner, "failover"))
	sent, seen := &ledger{acknowledged: map[string]webhook{}}, &outage{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var senders sync.WaitGroup
	for i := range 8 {
		senders.Go(func() { sent.endure(ctx, t, nodes, i, pace, seen) })
	}
	for round := range rounds {
		time.Sleep(2 * time.Second) // load before
		primary.Kill()
		if err := standby.Promote(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second) // and after
		if round == rounds-1 {
			break
		}
		addr := primary.Addr
		primary.Close()
		primary = standby
		if standby, err = primary.StandbyAt(addr); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	senders.Wait()
	if err := idle(nodes[0].g); err != nil {
		t.Fatal(err)
	}
	lost, doubled := sent.audit(t, nodes[0].g)
	t.Logf("%d failovers: %d acknowledged, %d lost, %d doubled; %d requests rejected; at most %s without an acknowledgement; slowest rejection %s",
		rounds, len(sent.acknowledged), lost, doubled, seen.rejected, seen.down.Round(10*time.Millisecond), seen.slowest.Round(10*time.Millisecond))
	if len(sent.acknowledged) < 50*rounds || seen.rejected == 0 {
		t.Errorf("%d webhooks were acknowledged and %d rejected: the test did not load the gateways", len(sent.acknowledged), seen.rejected)
	}
}

// failoverNodes starts two gateways.
func failoverNodes(t *testing.T, database string) (nodes []*node) {
	t.Helper()
	for range 2 {
		n := &node{dir: t.TempDir()}
		var err error
		if n.addr, err = freeAddr(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(n.dir, "gaff.yaml"), fmt.Appendf(nil, "limits: {lease: %s}\n", clusterLease), 0o600); err != nil {
			t.Fatal(err)
		}
		n.env = environment(n.dir, n.addr, "GAFF_LOG_LEVEL=error", "GAFF_DATABASE_URL="+database)
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.kill)
		nodes = append(nodes, n)
	}
	return nodes
}

// endure sends webhooks, each until it is acknowledged, and records what happens meanwhile.
func (l *ledger) endure(ctx context.Context, t *testing.T, nodes []*node, sender int, pace time.Duration, seen *outage) {
	// A gateway must answer in time even if its database does not.
	client := &http.Client{Timeout: 8 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		time.Sleep(pace)
		w := makeWebhook(fmt.Sprintf("%d-%d", sender, n), n)
		for attempt := 0; ctx.Err() == nil; attempt++ {
			began := time.Now()
			id, _, err := send(context.WithoutCancel(ctx), client, "http://"+nodes[(sender+attempt)%len(nodes)].addr, w)
			if err == nil {
				l.mu.Lock()
				l.acknowledged[id] = w
				l.mu.Unlock()
				seen.acknowledged()
				break
			}
			seen.refused(time.Since(began))
			if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
				t.Errorf("no answer in time: %v", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}
