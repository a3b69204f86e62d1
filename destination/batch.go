package destination

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"

	"gaff"
	"gaff/internal/redact"
)

// Batch sends several events in one request. The response is the outcome of all of them.
type Batch struct {
	// Size is the most events of a request.
	Size int `json:"size" yaml:"size"`
	// Wait is how long the first event waits for others; zero means 1 s.
	Wait Duration `json:"wait,omitzero" yaml:"wait"`
	// Format is array (the default), a JSON array, or lines, one event a line.
	Format string `json:"format,omitempty" yaml:"format"`
}

// Formats of batches.
const (
	BatchArray = "array"
	BatchLines = "lines"
)

const (
	maxBatchSize = 1000
	maxBatchWait = Duration(time.Minute)
	// maxBatchBytes is the size at which a batch is sent although it has room for more events.
	maxBatchBytes = 4 << 20
	// maxBatchWorkers is how many deliveries of a destination are in batches at most.
	maxBatchWorkers = 4096
)

// withDefaults returns a copy with what the zero values stand for.
func (b *Batch) withDefaults() *Batch {
	if b == nil {
		return nil
	}
	full := *b
	if full.Wait == 0 {
		full.Wait = Duration(time.Second)
	}
	if full.Format == "" {
		full.Format = BatchArray
	}
	return &full
}

func (c *compiled) checkBatch(fault func(string, string, ...any)) {
	b := c.Batch
	if b == nil || c.Kind == KindArchive {
		return
	}
	switch {
	case c.Kind != KindHTTP:
		fault("batch", "is for destinations of kind http and archive")
		return
	case c.Format == FormatOriginal || c.Format == FormatCloudEventsBinary:
		fault("batch", "cannot have the format %s, which is one event with its headers", c.Format)
	}
	if b.Size < 2 || b.Size > maxBatchSize {
		fault("batch.size", "must be 2 to %d", maxBatchSize)
	}
	if b.Wait < Duration(time.Millisecond) || b.Wait > maxBatchWait {
		fault("batch.wait", "must be 1ms to %s", time.Duration(maxBatchWait))
	}
	if b.Format != BatchArray && b.Format != BatchLines {
		fault("batch.format", "unknown %.40q: want array or lines", b.Format)
	}
}

// workers is how many deliveries are processed at once: those of batches wait for one another.
func (c *compiled) workers() int {
	if c.Batch == nil {
		return c.Concurrency
	}
	return min(c.Concurrency*c.Batch.Size, maxBatchWorkers)
}

// errNotSent is the failure of a batch whose sender ended before it sent it.
var errNotSent error = redact.Const("the batch was not sent")

// batches collects the deliveries of a destination.
type batches struct {
	mu   sync.Mutex
	open *batch // that takes more
}

// batch is the deliveries of one request.
type batch struct {
	items  []batchItem
	bytes  int
	timer  *time.Timer
	begun  chan struct{} // closed when it is full or its time is over
	sent   chan struct{} // closed when ex and err are set
	ex     *Exchange
	err    error
	closed bool
}

type batchItem struct {
	delivery gaff.Delivery
	out      *outgoing
}

// join adds a delivery to the open batch, and reports whether it is the first one, which sends it.
func (b *batches) join(item batchItem, size int, wait time.Duration) (of *batch, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != nil && b.open.bytes+len(item.out.body) > maxBatchBytes {
		b.close(b.open)
	}
	if b.open == nil {
		of := &batch{begun: make(chan struct{}), sent: make(chan struct{}), ex: &Exchange{}, err: errNotSent}
		of.timer = time.AfterFunc(wait, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.close(of)
		})
		b.open, first = of, true
	}
	of = b.open
	of.items, of.bytes = append(of.items, item), of.bytes+len(item.out.body)
	if len(of.items) >= size || of.bytes >= maxBatchBytes {
		b.close(of)
	}
	return of, first
}

// close lets a batch be sent; b.mu is held.
func (b *batches) close(of *batch) {
	if of.closed {
		return
	}
	of.closed = true
	of.timer.Stop()
	close(of.begun)
	if b.open == of {
		b.open = nil
	}
}

// inBatch sends an event together with others, and returns when the request has ended.
func (d *Destination) inBatch(ctx context.Context, out *outgoing, delivery gaff.Delivery) error {
	b, first := d.batches.join(batchItem{delivery, out}, d.Batch.Size, time.Duration(d.Batch.Wait))
	if first {
		select {
		case <-b.begun:
		case <-ctx.Done(): // the gateway stops: nobody adds to it any more
			d.batches.mu.Lock()
			d.batches.close(b)
			d.batches.mu.Unlock()
		}
		d.sendBatch(ctx, b)
	}
	<-b.sent // the sender's own timeout bounds it
	ex := *b.ex
	if !first {
		ex.Request.Body = "" // it is with the first one
	}
	ex.note(ctx)
	return b.err
}

// sendBatch makes the request of a batch.
func (d *Destination) sendBatch(ctx context.Context, b *batch) {
	defer close(b.sent)
	batched := gaff.Delivery{ID: batchID(b.items)}
	for _, item := range b.items {
		batched.Attempts = max(batched.Attempts, item.delivery.Attempts)
	}
	out := d.joined(b.items)
	if ctx.Err() != nil {
		b.ex, b.err = d.unsent(out, context.Cause(ctx)), context.Cause(ctx)
		d.health.abstain()
		return
	}
	if err := d.authenticate(out, batched.ID, time.Now()); err != nil {
		b.ex, b.err = d.unsent(out, err), gaff.Discard(err)
		d.health.abstain()
		return
	}
	ctx, cancel := d.withTimeout(ctx)
	defer cancel()
	b.ex = d.send(ctx, cancel, out)
	b.err = d.judge(ctx, b.ex, batched)
}

// batchID returns the id of a request: the same deliveries together have the same one.
func batchID(items []batchItem) string {
	sum := sha256.New()
	for _, item := range items {
		fmt.Fprintln(sum, item.delivery.ID)
	}
	return "bat_" + hex.EncodeToString(sum.Sum(nil)[:16])
}

// joined returns the message of a batch, without signatures.
func (d *Destination) joined(items []batchItem) *outgoing {
	out := &outgoing{method: http.MethodPost, header: http.Header{}}
	var body bytes.Buffer
	start, between, end := "[", ",", "]"
	out.header.Set("Content-Type", "application/json")
	switch {
	case d.Batch.Format == BatchLines:
		start, between, end = "", "\n", "\n"
		out.header.Set("Content-Type", "application/x-ndjson")
	case d.Format == FormatCloudEvents:
		out.header.Set("Content-Type", "application/cloudevents-batch+json")
	}
	body.WriteString(start)
	for i, item := range items {
		if i > 0 {
			body.WriteString(between)
		}
		body.Write(bytes.TrimSpace(item.out.body)) // one line: no form of an event has line breaks
		out.secrets = append(out.secrets, item.out.secrets...)
	}
	body.WriteString(end)
	out.body = body.Bytes()
	return out
}
