package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"gaff"
)

const (
	maxStreams = 256
	// streamBatch is how many changes are read at once.
	streamBatch = 200
	heartbeat   = 15 * time.Second
	// streamWrite is how long a reader may take to take what is written.
	streamWrite = 10 * time.Second
)

// stream shows every change as it is committed: "event:" is the kind of the resource,
// "data:" the resource as it is now, "id:" what a reader resumes after.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		problem(w, http.StatusServiceUnavailable, fmt.Sprintf("%d streams are open already", maxStreams))
		return
	}
	query := r.URL.Query()
	wanted := filter{source: query.Get("source"), job: query.Get("jobId"), inner: query.Get("inner") == "true"}
	if kinds := query.Get("kinds"); kinds != "" {
		wanted.kinds = strings.Split(kinds, ",")
	}
	after := r.Header.Get("Last-Event-ID")
	if after == "" {
		after = query.Get("lastEventId")
	}
	// The signal is taken before the log is read, so that nothing falls between.
	changed := s.o.Store.Changed()
	resumed := after != ""
	if !resumed {
		_, last, _, err := s.o.Store.Changes(r.Context(), "", 0)
		if err != nil {
			problem(w, http.StatusServiceUnavailable, "the change log cannot be read just now")
			return
		}
		after = last
	} else if _, _, _, err := s.o.Store.Changes(r.Context(), after, 1); errors.Is(err, gaff.ErrInvalid) {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out := &sse{w: w, rc: http.NewResponseController(w)}
	if out.comment("connected") != nil {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
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
			if out.comment("") != nil {
				return
			}
		case <-changed:
		}
		changed = s.o.Store.Changed()
	}
}

type filter struct {
	kinds  []string
	source string
	job    string
	inner  bool
}

func (f filter) wants(c gaff.Change) bool {
	switch {
	case len(f.kinds) > 0 && !slices.Contains(f.kinds, c.Kind):
		return false
	case f.source != "" && c.Source != f.source:
		return false
	case c.Kind == "event" && c.Source == gaff.InnerSource && !f.inner && f.source != gaff.InnerSource:
		return false
	}
	return f.job == "" || c.Kind == "job" && c.Ref == f.job || c.Kind == "media"
}

// send writes what changed after an id, and returns the id to go on from.
func (s *server) send(ctx context.Context, out *sse, after string, wanted filter) (next string, more bool, err error) {
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
	latest := map[string]int{}
	for i, c := range changes {
		latest[c.Kind+" "+c.Ref] = i
	}
	for i, c := range changes {
		if latest[c.Kind+" "+c.Ref] != i || !wanted.wants(c) {
			continue
		}
		doc, err := s.resource(ctx, c, wanted)
		if err != nil {
			return after, false, err
		}
		if doc == nil {
			continue
		}
		data, err := json.Marshal(doc)
		if err != nil {
			return after, false, err
		}
		if err := out.event(c.ID, c.Kind, data); err != nil {
			return after, false, err
		}
	}
	return last, len(changes) == streamBatch, nil
}

// resource reads what changed; nil if it is gone or not wanted after all.
func (s *server) resource(ctx context.Context, c gaff.Change, wanted filter) (doc any, err error) {
	switch c.Kind {
	case "event":
		d, err := s.o.Store.Event(ctx, c.Ref)
		if err == nil {
			return newEventDoc(d.Log), nil
		}
		return nil, ignoreGone(err)
	case "job":
		j, err := s.o.Store.Job(ctx, c.Ref)
		if err == nil {
			return newJobDoc(*j), nil
		}
		return nil, ignoreGone(err)
	case "media":
		m, err := s.o.Store.MediaByID(ctx, c.Ref)
		if err == nil && (wanted.job == "" || m.JobID == wanted.job) {
			return newMediaDoc(*m), nil
		}
		return nil, ignoreGone(err)
	}
	return nil, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	return err
}

// sse writes server-sent events to a reader that must keep up.
type sse struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (o *sse) comment(text string) error { return o.write(": " + text + "\n\n") }

func (o *sse) event(id, kind string, data []byte) error {
	return o.write("id: " + id + "\nevent: " + kind + "\ndata: " + string(data) + "\n\n")
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
