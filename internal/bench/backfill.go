package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

var (
	backfill     = flag.Int("backfill", 0, "measure only a replay of so many events to a new destination, beside webhooks that come in")
	backfillRate = flag.Int("backfill-rate", 2000, "how many events a second the replay queues at most")
)

// backfillLoad is the webhooks that come in meanwhile: 500 a second.
const (
	backfillConns  = 10
	backfillSecond = 500
)

// runBackfill measures the replies to paced webhooks, alone and while a replay sends the stored events
// to a new destination, in one run.
func runBackfill(binary string, events int, alone time.Duration) error {
	s := newSink()
	defer s.Close()
	// New events are not for the destination: only the replay differs between the two measurements.
	gw, addr, end, err := forwardGateway(binary, fmt.Sprintf(
		"destinations:\n  crm: {url: %q, secrets: [%q], events: [\"custom:none\"], concurrency: %d}\n", s.URL, forwardSecret, atOnce))
	if err != nil {
		return err
	}
	defer end()
	describeMachine()
	fmt.Printf("a backfill of %d events at up to %d a second, while %d webhooks a second come in\n\n", events, *backfillRate, backfillSecond)
	if err := fill(addr, customBody, events); err != nil {
		return err
	}
	t := target{nodes: []*process{gw}, addrs: []string{addr}}
	paced := customLoad
	paced.every = backfillConns * time.Second / backfillSecond
	if _, err := measure(t, paced, backfillConns, 5*time.Second, nil); err != nil { // warm-up
		return err
	}
	printHeader()
	before, err := measure(t, paced, backfillConns, alone, nil)
	if err != nil {
		return err
	}
	before.print("without a backfill, before", backfillConns, 1)
	with, took, err := duringBackfill(t, paced, s, events)
	if err != nil {
		return err
	}
	with.print("during the backfill", backfillConns, ms(with.p99)/ms(before.p99))
	after, err := measure(t, paced, backfillConns, alone, nil)
	if err != nil {
		return err
	}
	after.print("without a backfill, after", backfillConns, ms(after.p99)/ms(before.p99))
	without := (before.p99 + after.p99) / 2
	fmt.Printf("\nthe backfill took %s, %.0f events a second\n", took.Round(time.Second), float64(events)/took.Seconds())
	fmt.Printf("reply p99: %.2f ms without, %.2f ms with the backfill, ratio %.2f\n", ms(without), ms(with.p99), ms(with.p99)/ms(without))
	return nil
}

// duringBackfill measures a load from the start of a replay until all events were received.
func duringBackfill(t target, l load, s *sink, events int) (r result, took time.Duration, err error) {
	addr := t.addrs[0]
	began := time.Now()
	id, err := startBackfill(addr)
	if err != nil {
		return r, 0, err
	}
	var done atomic.Bool
	failed := make(chan error, 1)
	go func() {
		failed <- backfilled(addr, id, s, events)
		took = time.Since(began)
		done.Store(true)
	}()
	l.more = func() bool { return !done.Load() }
	r, err = measure(t, l, backfillConns, time.Hour, func() error { return <-failed })
	return r, took, err
}

func startBackfill(addr string) (id string, err error) {
	body, err := json.Marshal(map[string]any{"destination": "crm", "source": "custom", "since": "1d", "ignoreFilter": true, "missing": true, "rate": *backfillRate})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+addr+"/api/v1/replays", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var made struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&made); err != nil || res.StatusCode/100 != 2 {
		return "", fmt.Errorf("the replay: %s: %w", res.Status, err)
	}
	return made.ID, nil
}

// backfilled waits until a replay is done and all its events were received.
func backfilled(addr, id string, s *sink, events int) error {
	for began := time.Now(); time.Since(began) < 30*time.Minute; time.Sleep(250 * time.Millisecond) {
		var replay struct {
			State, Error string
			Queued       int
		}
		if err := get(addr, "/api/v1/replays/"+id, &replay); err != nil {
			return err
		}
		switch {
		case replay.State == "failed" || replay.State == "canceled":
			return fmt.Errorf("the replay is %s: %s", replay.State, replay.Error)
		case replay.State == "done" && replay.Queued < events:
			return fmt.Errorf("the replay queued %d of %d events", replay.Queued, events)
		case replay.State == "done" && s.count.Load() >= int64(replay.Queued):
			return nil
		}
	}
	return errors.New("the replay is not done after 30 minutes")
}
