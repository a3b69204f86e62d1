package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gaff/internal/pgtest"
	"gaff/internal/storetest"
	"gaff/store/postgres"
	"gaff/store/sqlite"
)

// logDays is over how many days the filled log is spread.
const logDays = 10

// runLogs fills both stores with old events and measures what people ask for, while
// webhooks come in.
func runLogs(binary string, events int, d time.Duration) error {
	describeMachine()
	for _, store := range []string{"sqlite", "postgres"} {
		if err := measureLogs(binary, store, events, d); err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
	}
	return nil
}

func measureLogs(binary, store string, events int, d time.Duration) error {
	dir, err := os.MkdirTemp("", "gaff-bench-logs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var extra []string
	began := time.Now()
	progress := func(done int) {
		if done%1_000_000 == 0 || done == events {
			fmt.Printf("%s: filled %d in %s\n", store, done, time.Since(began).Round(time.Second))
		}
	}
	ctx := context.Background()
	// A gateway that ran all these days has summed up each hour when it was over.
	over := logDays * 24 * time.Hour
	if store == "sqlite" {
		st, err := sqlite.Open(ctx, filepath.Join(dir, "data", "gaff.db"), sqlite.Options{})
		if err != nil {
			return err
		}
		if err := st.Between(func(c *sql.Conn) error { return storetest.Fill(ctx, store, c, events, over, progress) }); err != nil {
			return err
		}
		if err := st.RollUp(ctx, time.Now()); err != nil {
			return err
		}
		if err := st.Close(); err != nil {
			return err
		}
	} else {
		server, err := pgtest.NewServer(true, "shared_buffers=2GB", "max_wal_size=8GB")
		if err != nil {
			return err
		}
		defer server.Close()
		address, err := server.Database("logs")
		if err != nil {
			return err
		}
		st, err := postgres.Open(ctx, address, postgres.Options{})
		if err != nil {
			return err
		}
		if err := st.Close(); err != nil {
			return err
		}
		db, err := sql.Open("pgx", address)
		if err != nil {
			return err
		}
		defer db.Close()
		c, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		if err := storetest.Fill(ctx, store, c, events, over, progress); err != nil {
			return err
		}
		c.Close()
		if st, err = postgres.Open(ctx, address, postgres.Options{}); err != nil {
			return err
		}
		if err := errors.Join(st.RollUp(ctx, time.Now()), st.Close()); err != nil {
			return err
		}
		extra = append(extra, "GAFF_DATABASE_URL="+address)
	}
	gw, addr, err := serve(binary, dir, extra...)
	if err != nil {
		return err
	}
	defer gw.stop()
	return askLogs(gw, addr, store, events, d)
}

// askLogs asks in turn, on one connection, while 500 events a second come in.
func askLogs(gw *process, addr, store string, events int, d time.Duration) error {
	l := load{addr: addr, path: "/api/v1/webhooks/fal", header: "X-Fal-Signature", body: falBody, every: 8 * time.Second / 500}
	loaded := make(chan result, 1)
	failed := make(chan error, 1)
	go func() {
		r, err := measure(target{nodes: []*process{gw}, addrs: []string{addr}}, l, 8, d, nil)
		loaded <- r
		failed <- err
	}()
	// Cursors and ids from everywhere in the log.
	var cursors, ids []string
	for range 20 {
		until := time.Now().Add(-time.Duration(rand.Int64N(int64(logDays * 24 * time.Hour))))
		var page struct {
			Docs []struct{ ID string } `json:"docs"`
			Next *string               `json:"nextCursor"`
		}
		if err := get(addr, "/api/v1/events?limit=50&until="+url.QueryEscape(until.UTC().Format(time.RFC3339)), &page); err != nil {
			return err
		}
		if page.Next != nil {
			cursors = append(cursors, *page.Next)
		}
		for _, doc := range page.Docs {
			ids = append(ids, doc.ID)
		}
	}
	pick := func(list []string) string { return list[rand.IntN(len(list))] }
	status := func() string { return pick([]string{"success", "error", "pending"}) }
	day := func() string {
		until := time.Now().Add(-time.Duration(rand.Int64N(int64((logDays - 1) * 24 * time.Hour))))
		return "since=" + url.QueryEscape(until.Add(-24*time.Hour).UTC().Format(time.RFC3339)) + "&until=" + url.QueryEscape(until.UTC().Format(time.RFC3339))
	}
	source := storetest.FillSource
	questions := []struct {
		name string
		path func() string
	}{
		{"manage?source=&status=", func() string { return "/api/v1/webhooks/manage?source=" + source + "&status=" + status() }},
		{"manage, page 20", func() string { return "/api/v1/webhooks/manage?source=" + source + "&status=success&page=20" }},
		{"events", func() string { return "/api/v1/events" }},
		{"events?source=&status=&type=", func() string { return "/api/v1/events?source=" + source + "&type=type-1&status=" + status() }},
		{"events?status=error", func() string { return "/api/v1/events?status=error" }},
		{"events?source=&since=&until=", func() string { return "/api/v1/events?source=" + source + "&" + day() }},
		{"events?cursor= anywhere", func() string { return "/api/v1/events?cursor=" + pick(cursors) }},
		{"events?source=&cursor= anywhere", func() string { return "/api/v1/events?source=" + source + "&cursor=" + pick(cursors) }},
		{"events/{id}", func() string { return "/api/v1/events/" + pick(ids) }},
		{"deliveries?state=dead", func() string { return "/api/v1/deliveries?state=dead" }},
		{"events?q= in a day, found", func() string { return "/api/v1/events?q=order.paid&" + day() }},
		{"events?q= in a day, nothing found", func() string { return "/api/v1/events?q=no+such+text&" + day() }},
	}
	waits := make([][]time.Duration, len(questions))
	for end := time.Now().Add(d * 9 / 10); time.Now().Before(end); {
		for i, q := range questions {
			asked := time.Now()
			if err := fetch(addr, q.path()); err != nil {
				return err
			}
			waits[i] = append(waits[i], time.Since(asked))
		}
	}
	r := <-loaded
	if err := <-failed; err != nil {
		return err
	}
	fmt.Printf("%s, %d events, %.0f coming in a second (reply p99 %.1f ms)\n", store, events, r.rate, ms(r.p99))
	for i, q := range questions {
		slices.Sort(waits[i])
		n := len(waits[i])
		fmt.Printf("  %-36s p50 %7.1f ms  p99 %7.1f ms  max %7.1f ms  (%d)\n", q.name, ms(waits[i][n/2]), ms(waits[i][n*99/100]), ms(waits[i][n-1]), n)
	}
	return nil
}

func fetch(addr, path string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return nil
}
