package gaff_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gaff"
	"gaff/gafftest"
	"gaff/jobs"
	"gaff/provider/fal"
	"gaff/store/sqlite"
)

// openTemporary opens a store that is gone after the example.
func openTemporary() (st *sqlite.Store, remove func()) {
	dir, err := os.MkdirTemp("", "gaff-example-")
	if err != nil {
		panic(err)
	}
	st, err = sqlite.Open(context.Background(), filepath.Join(dir, "gaff.db"), sqlite.Options{})
	if err != nil {
		panic(err)
	}
	return st, func() { st.Close(); os.RemoveAll(dir) }
}

// A gateway in a program of one's own: a store, a source, a handler, and an address.
func Example() {
	ctx := context.Background()
	st, remove := openTemporary()
	defer remove()

	gw, err := gaff.New(gaff.Options{Store: st})
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := fal.Source(fal.Options{Secrets: []string{"a secret"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	gw.AddSource(source)
	done := make(chan struct{})
	gw.Handle("fal", "generation.completed", gaff.HandlerFunc(func(_ context.Context, ev *gaff.Event) error {
		fmt.Println("processed:", ev.Source, ev.Type, ev.WebhookID)
		close(done)
		return nil
	}))
	if err := gw.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Stop(ctx)

	mux := http.NewServeMux()
	mux.Handle(gaff.PathPrefix, gw.IngestHandler())
	server := httptest.NewServer(mux)
	defer server.Close()

	// What fal's part is in production.
	body := `{"request_id":"r-1","status":"completed","metadata":{"job_id":"j-1"}}`
	req, err := gafftest.SignedRequest(ctx, server.URL+"/api/v1/webhooks/fal", "fal", "a secret", []byte(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println("answered:", resp.Status)
	<-done
	// Unordered output:
	// answered: 200 OK
	// processed: fal generation.completed r-1
}

// The application's registerHandler and processWebhook: a handler by source and type, and
// an event that comes from the program itself. Emit returns when the event is on disk; it
// is processed like any other, with retries.
func ExampleGateway_Emit() {
	ctx := context.Background()
	st, remove := openTemporary()
	defer remove()
	gw, err := gaff.New(gaff.Options{Store: st})
	if err != nil {
		fmt.Println(err)
		return
	}
	type order struct {
		Number int
		Total  json.Number
	}
	done := make(chan struct{})
	gw.Handle("shop", "order.paid", gaff.JSON(func(_ context.Context, ev *gaff.Event, o order) error {
		fmt.Printf("%s: order %d over %s\n", ev.WebhookID, o.Number, o.Total)
		close(done)
		return nil
	}))
	if err := gw.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Stop(ctx)

	_, err = gw.Emit(ctx, gaff.Event{
		Source: "shop", Type: "order.paid", WebhookID: "w-1", DedupeKey: "w-1",
		Data: json.RawMessage(`{"number":7,"total":12345678901234567890.10}`),
	}, time.Time{})
	fmt.Println("kept:", err == nil)
	<-done
	// Unordered output:
	// kept: true
	// w-1: order 7 over 12345678901234567890.10
}

// The application's retryFailedWebhook: an event whose handler failed permanently is tried
// again, now, and the caller hears how it went.
func ExampleGateway_RetryNow() {
	ctx := context.Background()
	st, remove := openTemporary()
	defer remove()
	gw, err := gaff.New(gaff.Options{Store: st, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	broken, tried := true, make(chan struct{}, 10)
	gw.Handle("shop", "order.paid", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
		defer func() { tried <- struct{}{} }()
		if broken {
			return gaff.Discard(errors.New("the bookkeeping is closed"))
		}
		return nil
	}))
	if err := gw.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Stop(ctx)
	id, err := gw.Emit(ctx, gaff.Event{Source: "shop", Type: "order.paid", Data: json.RawMessage(`{}`)}, time.Time{})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-tried
	for status(st, id) == gaff.StatusPending { // until the failure is on disk
		time.Sleep(time.Millisecond)
	}
	fmt.Println("first:", status(st, id))
	fmt.Println("again:", gw.RetryNow(ctx, id))

	broken = false
	fmt.Println("mended:", gw.RetryNow(ctx, id), status(st, id))
	fmt.Println("once more:", errors.Is(gw.RetryNow(ctx, id), gaff.ErrConflict))
	// Output:
	// first: error
	// again: the bookkeeping is closed
	// mended: <nil> success
	// once more: true
}

func status(st gaff.Store, id string) gaff.Status {
	d, err := st.Event(context.Background(), id)
	if err != nil {
		panic(err)
	}
	return d.Status
}

// What a handler returns decides what becomes of the delivery.
func ExampleHandlerFunc() {
	_ = gaff.HandlerFunc(func(_ context.Context, ev *gaff.Event) error {
		switch {
		case strings.HasPrefix(ev.Type, "test."):
			return gaff.Discard(errors.New("no test events here")) // never again
		case time.Now().Hour() < 6:
			return gaff.Snooze(time.Hour) // later, and no attempt is counted
		}
		if err := callSomeone(ev); err != nil {
			return gaff.RetryAfter(time.Minute, err) // in a minute; a plain error backs off by itself
		}
		return nil
	})
}

func callSomeone(*gaff.Event) error { return nil }

// The handler that gaff's own program has for fal: job status and media, in one
// transaction with the delivery's success, and an inner event for the next step.
func ExampleGateway_HandleWith() {
	ctx := context.Background()
	st, remove := openTemporary()
	defer remove()
	gw, err := gaff.New(gaff.Options{Store: st})
	if err != nil {
		fmt.Println(err)
		return
	}
	gw.HandleWith("fal", "*", jobs.NewHandler(jobs.Options{Store: st, Router: gw, Interpreter: fal.Interpreter{}}),
		gaff.HandleOptions{Name: "effects/fal"})
	next := make(chan jobs.JobSettled)
	// A slow handler has a queue of its own, and holds up nobody.
	gw.HandleWith(gaff.InternalSource, "job.completed", gaff.JSON(func(_ context.Context, _ *gaff.Event, j jobs.JobSettled) error {
		next <- j
		return nil
	}), gaff.HandleOptions{Name: "next-step", Workers: 2})
	if err := gw.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Stop(ctx)

	_, err = gw.Emit(ctx, gaff.Event{
		Source: "fal", Type: fal.Completed, Verification: gaff.Verification{Dialect: fal.DialectHMAC},
		Data: json.RawMessage(`{"request_id":"r-1","status":"completed","result":{"images":[{"url":"https://example.com/a.png"}]},
			"metadata":{"job_id":"j-1","project_id":"film-1","generation_type":"image"}}`),
	}, time.Time{})
	if err != nil {
		fmt.Println(err)
		return
	}
	settled := <-next
	fmt.Println(settled.JobID, settled.Status, settled.ProjectID)
	files, err := st.Media(ctx, jobs.MediaFilter{ProjectID: "film-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(files.Items[0].MediaType, files.Items[0].URL)
	// Output:
	// j-1 completed film-1
	// generated-image https://example.com/a.png
}
