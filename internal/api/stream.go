package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/wire"
)

const (
	// maxStreams is the maximum of open streams, maxStreamsEach that of one credential.
	maxStreams     = 256
	maxStreamsEach = 64
	// streamBatch is the number of changes that are read at once.
	streamBatch = 200
	// streamPace is the minimum interval between reads: on a busy gateway a stream reads many
	// changes at once, and the first change is still sent immediately.
	streamPace = 100 * time.Millisecond
	heartbeat  = 15 * time.Second
	// streamWrite is the timeout of a write to a reader.
	streamWrite = 10 * time.Second
	// streamRetry is the Retry-After of a rejected stream, in seconds.
	streamRetry = 10
)

var changeKinds = []string{"event", "job", "media", "run"}

func describeStream(_ huma.API, op *huma.Operation) {
	text := &huma.Schema{Type: "string"}
	op.Description += " event: names the kind of the change, data: is the resource as it is now, on one line, id: is the position to resume after. " +
		"The event reset means that changes in between are no longer known: load everything again."
	op.Parameters = []*huma.Param{
		queryParam("kinds", "Only these, separated by commas: "+strings.Join(changeKinds, ", ")+".", text),
		queryParam("source", "Only of this source or provider.", text),
		queryParam("jobId", "Only this job and its media.", text),
		queryParam("inner", "Also the events that gaff emitted itself.", &huma.Schema{Type: "boolean"}),
		queryParam("lastEventId", "As the header Last-Event-ID.", text),
		{Name: "Last-Event-ID", In: "header", Description: "The last id: that was read; without it, the stream starts now.", Schema: text},
	}
	op.Responses = map[string]*huma.Response{"200": response("Changes, until either side ends it", "text/event-stream", text)}
	op.Errors = append(op.Errors, http.StatusBadRequest)
}

// wish is the filter of a stream.
type wish struct {
	kinds  []string
	source string
	job    string
	inner  bool
	scope  access.Scope // of the caller
}

// streamQuery reads the parameters. It rejects unknown ones.
func streamQuery(r *http.Request) (wanted wish, after string, err error) {
	after = r.Header.Get("Last-Event-ID")
	for name, values := range r.URL.Query() {
		switch value := values[0]; name {
		case "kinds":
			if value == "" {
				continue
			}
			wanted.kinds = strings.Split(value, ",")
			for _, kind := range wanted.kinds {
				if !slices.Contains(changeKinds, kind) {
					return wanted, "", fmt.Errorf("kinds: unknown kind %.40q; want %s", kind, strings.Join(changeKinds, ", "))
				}
			}
		case "source":
			wanted.source = value
		case "jobId":
			wanted.job = value
		case "inner":
			if wanted.inner, err = strconv.ParseBool(value); err != nil {
				return wanted, "", fmt.Errorf("inner is %.40q; want true or false", value)
			}
		case "lastEventId":
			if after == "" {
				after = value
			}
		default:
			return wanted, "", fmt.Errorf("unknown parameter %.60q; the known ones are kinds, source, jobId, inner and lastEventId", name)
		}
	}
	return wanted, after, nil
}

// stream sends every change after its commit.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	wanted, after, err := streamQuery(r)
	if err != nil {
		rejectWith(w, r, http.StatusBadRequest, err.Error())
		return
	}
	wanted.scope = scopeOf(r.Context())
	release, ok := s.openStream(w, r)
	if !ok {
		return
	}
	defer release()
	// The signal is taken before the log is read, so that no change is missed.
	changed := s.o.Store.Changed()
	_, newest, _, err := s.o.Store.Changes(r.Context(), after, 1)
	switch {
	case errors.Is(err, gaff.ErrInvalid):
		rejectWith(w, r, http.StatusBadRequest, err.Error())
		return
	case err != nil:
		failure := s.failure(err)
		rejectWith(w, r, failure.GetStatus(), failure.Error())
		return
	case after == "":
		after = newest
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies must forward each change at once
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	out := &sse{w: w, rc: http.NewResponseController(w)}
	// The server's read timeout would also end streams.
	if err := out.rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return
	}
	if out.position(after) != nil {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		read := time.Now()
		next, more, err := s.send(r.Context(), out, after, wanted)
		if err != nil {
			return
		}
		if after = next; more {
			continue
		}
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			if status, _ := s.denial(r, "stream-changes", Viewer, reachAll); status != 0 || out.position(after) != nil {
				return
			}
		case <-changed:
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Until(read.Add(streamPace))):
		}
		changed = s.o.Store.Changed()
	}
}

// wants filters by the entry of the change log; the job of a media row is only known from the row.
func (f wish) wants(c gaff.Change) bool {
	switch {
	case !sees(f.scope, c.Kind):
		return false
	case len(f.kinds) > 0 && !slices.Contains(f.kinds, c.Kind):
		return false
	case f.source != "" && c.Source != f.source:
		return false
	case c.Kind == "event" && c.Source == gaff.InternalSource && !f.inner && f.source != gaff.InternalSource:
		return false
	}
	return f.job == "" || c.Kind == "job" && c.Ref == f.job || c.Kind == "media"
}

// send writes the changes after an id, and returns the id to continue from.
func (s *server) send(ctx context.Context, out *sse, after string, wanted wish) (next string, more bool, err error) {
	changes, last, gone, err := s.o.Store.Changes(ctx, after, streamBatch)
	if err != nil {
		if ctx.Err() == nil {
			s.o.Log.Warn("stream interrupted", "error", err)
		}
		return after, false, err
	}
	if gone {
		// The changes in between were removed from the log: the reader must load everything again.
		return last, false, out.event(last, "reset", []byte(`{}`))
	}
	// A resource that changed several times in a batch is sent once, as it is now.
	latest := map[[2]string]int{}
	for i, c := range changes {
		latest[[2]string{c.Kind, c.Ref}] = i
	}
	for i, c := range changes {
		if latest[[2]string{c.Kind, c.Ref}] != i || !wanted.wants(c) {
			continue
		}
		shown, err := s.changes.get(c, func() (any, owner, error) { return s.resource(context.WithoutCancel(ctx), c) })
		if err != nil {
			return after, false, fmt.Errorf("read %s %s: %w", c.Kind, c.Ref, err)
		}
		if len(shown.data) == 0 || wanted.job != "" && shown.job != wanted.job || !shown.seenBy(wanted.scope, c) {
			continue
		}
		if err := out.event(c.ID, c.Kind, shown.data); err != nil {
			return after, false, err
		}
	}
	return last, len(changes) == streamBatch, nil
}

// resource reads a changed resource and its owner. doc is nil if the resource was deleted.
func (s *server) resource(ctx context.Context, c gaff.Change) (doc any, of owner, err error) {
	switch c.Kind {
	case "event":
		d, err := s.o.Store.Event(ctx, c.Ref)
		if err == nil {
			return wire.NewEvent(d.Log), owner{source: d.Source}, nil
		}
		return nil, owner{}, ignoreGone(err)
	case "job":
		j, err := s.o.Store.Job(ctx, c.Ref)
		if err == nil {
			return s.job(*j), owner{job: j.ID, project: j.ProjectID}, nil
		}
		return nil, owner{}, ignoreGone(err)
	case "media":
		m, err := s.o.Store.MediaByID(ctx, c.Ref)
		if err == nil {
			return s.media(*m), owner{job: m.JobID, project: m.ProjectID}, nil
		}
		return nil, owner{}, ignoreGone(err)
	case "run":
		r, err := s.o.Store.Run(ctx, c.Ref)
		if err == nil {
			return wire.NewRun(*r), owner{project: r.ProjectID}, nil
		}
		return nil, owner{}, ignoreGone(err)
	}
	return nil, owner{}, nil
}

// owner says what a resource belongs to; empty where it belongs to none.
type owner struct{ job, project, source string }

// seenBy reports whether a scope reaches the resource that changed.
func (o owner) seenBy(scope access.Scope, c gaff.Change) bool {
	switch c.Kind {
	case "event":
		return scope.HasSource(o.source)
	case "run":
		return scope.HasRun(c.Ref, o.project)
	}
	return scope.HasJob(o.job, o.project)
}

func ignoreGone(err error) error {
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	return err
}

// changeCache has the documents of the newest changes, so that each is read from the database once,
// not once for each stream. The zero value is empty.
type changeCache struct {
	mu            sync.Mutex
	newer, former map[string]*shownChange
	size          int // bytes in newer
}

// The size of a generation of the cache, in changes and bytes. A full one replaces the previous one.
const (
	cachedChanges = 1024
	cachedBytes   = 4 << 20
)

type shownChange struct {
	once sync.Once
	data []byte // one line of JSON; empty if the resource was deleted
	owner
	err error
}

// get returns the document of a change, and reads it if no stream did before.
func (cc *changeCache) get(c gaff.Change, read func() (doc any, of owner, err error)) (*shownChange, error) {
	cc.mu.Lock()
	shown := cc.newer[c.ID]
	if shown == nil {
		if shown = cc.former[c.ID]; shown == nil {
			shown = &shownChange{}
		}
		cc.add(c.ID, shown, len(shown.data))
	}
	cc.mu.Unlock()
	shown.once.Do(func() {
		doc, of, err := read()
		var line bytes.Buffer
		if err == nil && doc != nil {
			err = wire.Write(&line, doc)
		}
		cc.mu.Lock()
		defer cc.mu.Unlock()
		shown.data, shown.owner, shown.err = bytes.TrimSpace(line.Bytes()), of, err
		if cc.size += len(shown.data); err != nil {
			// The next stream reads it again.
			delete(cc.newer, c.ID)
			delete(cc.former, c.ID)
		}
	})
	return shown, shown.err
}

func (cc *changeCache) add(id string, shown *shownChange, size int) {
	if cc.newer == nil || len(cc.newer) >= cachedChanges || cc.size >= cachedBytes {
		cc.newer, cc.former, cc.size = map[string]*shownChange{}, cc.newer, 0
	}
	cc.newer[id] = shown
	cc.size += size
}

// sse writes server-sent events; a reader that is too slow is disconnected.
type sse struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// position sends the current position without a change. It shows that the stream is alive, and keeps
// the position of a reader with a narrow filter current.
func (o *sse) position(id string) error { return o.write(": alive\nid: " + id + "\n\n") }

func (o *sse) event(id, kind string, data []byte) error {
	return o.write("id: " + id + "\nevent: " + kind + "\ndata: " + string(data) + "\n\n")
}

// document sends an event with a document on one line.
func (o *sse) document(id, kind string, doc any) error {
	var line bytes.Buffer
	if err := wire.Write(&line, doc); err != nil {
		return err
	}
	return o.event(id, kind, bytes.TrimSpace(line.Bytes()))
}

func (o *sse) write(text string) error {
	// A recorder in a test has no deadlines; a connection has.
	if err := o.rc.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := o.w.Write([]byte(text)); err != nil {
		return err
	}
	return o.rc.Flush()
}
