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
	// maxStreams may be open at once, maxStreamsEach of them with one credential.
	maxStreams     = 256
	maxStreamsEach = 64
	// streamBatch is how many changes are read at once.
	streamBatch = 200
	// streamPace is how often a stream reads at most, so that many streams on a busy
	// gateway take what came together, and the first change still shows at once.
	streamPace = 100 * time.Millisecond
	heartbeat  = 15 * time.Second
	// streamWrite is how long a reader may take to take what is written.
	streamWrite = 10 * time.Second
	// streamRetry is when a refused stream should be tried again, in seconds.
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

// wish is what a reader of the stream wants to see.
type wish struct {
	kinds  []string
	source string
	job    string
	inner  bool
	scope  access.Scope // of the caller
}

// streamQuery reads the parameters. What it does not know it refuses.
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
					return wanted, "", fmt.Errorf("kinds: %.40q is none; %s are", kind, strings.Join(changeKinds, ", "))
				}
			}
		case "source":
			wanted.source = value
		case "jobId":
			wanted.job = value
		case "inner":
			if wanted.inner, err = strconv.ParseBool(value); err != nil {
				return wanted, "", fmt.Errorf("inner is %.40q: true or false is wanted", value)
			}
		case "lastEventId":
			if after == "" {
				after = value
			}
		default:
			return wanted, "", fmt.Errorf("parameter %.60q is not known: kinds, source, jobId, inner and lastEventId are", name)
		}
	}
	return wanted, after, nil
}

// stream shows every change as it is committed.
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
	// The signal is taken before the log is read, so that nothing falls between.
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
	w.Header().Set("X-Accel-Buffering", "no") // proxies must pass each change on
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	out := &sse{w: w, rc: http.NewResponseController(w)}
	// The server's time for reading a request ends streams too, where it is not lifted.
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

// wants judges by what the change log tells; the job of a media row is known later.
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

// send writes what changed after an id, and returns the id to go on from.
func (s *server) send(ctx context.Context, out *sse, after string, wanted wish) (next string, more bool, err error) {
	changes, last, gone, err := s.o.Store.Changes(ctx, after, streamBatch)
	if err != nil {
		if ctx.Err() == nil {
			s.o.Log.Warn("stream interrupted", "error", err)
		}
		return after, false, err
	}
	if gone {
		// What lies between is no longer kept: the reader has to load everything anew.
		return last, false, out.event(last, "reset", []byte(`{}`))
	}
	// A resource that changed several times in a batch is shown as it is now, once.
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

// resource reads what changed, and which job it belongs to; nil if it is gone.
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

// changeCache holds the newest changes as they are shown, so that the database is asked
// once for each, not once for each stream. The zero value is empty.
type changeCache struct {
	mu            sync.Mutex
	newer, former map[string]*shownChange
	size          int // bytes in newer
}

// A generation of the cache is full at so many changes or bytes, and takes the place of
// the former one.
const (
	cachedChanges = 1024
	cachedBytes   = 4 << 20
)

type shownChange struct {
	once sync.Once
	data []byte // one line of JSON; empty: it is gone
	owner
	err error
}

// get returns a change as it is shown, and reads what it is about if nobody did before.
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
			// Whoever comes next asks again.
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

// sse writes server-sent events to a reader that must keep up.
type sse struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// position tells what to resume after when there is nothing else to tell. It shows that
// the stream is alive, and a reader that wants little does not fall behind the log.
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
	// A recorder in a test has no deadlines; a connection always has.
	if err := o.rc.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := o.w.Write([]byte(text)); err != nil {
		return err
	}
	return o.rc.Flush()
}
