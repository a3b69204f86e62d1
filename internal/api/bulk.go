package api

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/id"
	"gaff/internal/wire"
)

const (
	// maxBulk is the maximum number of events of one bulk action.
	maxBulk = 100_000
	// bulkAtOnce is the number of events that a bulk action processes at once: enough to share
	// commits, few enough not to delay webhooks.
	bulkAtOnce = 32
	bulkPage   = 500
	// maxRunning is the maximum of running bulk actions, maxBulksKept that of remembered ones.
	maxRunning   = 4
	maxBulksKept = 50
)

// bulk is one bulk action. It runs in the process that started it and ends with it; remaining events
// still match the filter.
type bulk struct {
	id, by                string
	ask                   wire.BulkRequest
	ids                   []string
	more                  bool
	started               time.Time
	stop                  context.CancelFunc
	done, skipped, failed atomic.Int64

	mu    sync.Mutex
	ended time.Time
	state string
	last  error
}

func (b *bulk) doc() wire.Bulk {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := wire.Bulk{
		ID: b.id, State: b.state, Action: b.ask.Action, Filter: b.ask, Matches: len(b.ids), Total: len(b.ids), More: b.more, Done: int(b.done.Load()),
		Skipped: int(b.skipped.Load()), Failed: int(b.failed.Load()), By: b.by, StartedAt: wire.Time{Time: b.started}, EndedAt: wire.Time{Time: b.ended},
	}
	if b.last != nil {
		d.LastError = wire.Text(b.last.Error())
	}
	return d
}

// bulks are the bulk actions of this process.
type bulks struct {
	mu      sync.Mutex
	all     map[string]*bulk
	order   []string
	running int
}

func (bs *bulks) add(b *bulk) bool {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if bs.running >= maxRunning {
		return false
	}
	if bs.all == nil {
		bs.all = map[string]*bulk{}
	}
	bs.running++
	bs.all[b.id] = b
	if bs.order = append(bs.order, b.id); len(bs.order) > maxBulksKept {
		delete(bs.all, bs.order[0])
		bs.order = bs.order[1:]
	}
	return true
}

func (bs *bulks) get(id string) *bulk {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	return bs.all[id]
}

func (bs *bulks) ended() {
	bs.mu.Lock()
	bs.running--
	bs.mu.Unlock()
}

// matching lists the events of a bulk action, newest first.
func (s *server) matching(ctx context.Context, ask wire.BulkRequest) (ids []string, more bool, err error) {
	f := gaff.EventFilter{Source: ask.Source, Type: ask.Type, Query: ask.Query}
	if ask.Issue != "" {
		return s.ofIssue(ctx, ask)
	}
	switch ask.Action {
	case "rescue":
		return s.rescuable(ctx, ask, nil)
	case "retry":
		ask.Status = gaff.StatusError.String()
	}
	if status, ok := gaff.ParseStatus(ask.Status); ok {
		f.Status = &status
	}
	if f.Since, err = wire.Since("since", ask.Since); err != nil {
		return nil, false, err
	}
	if f.Until, err = wire.Since("until", ask.Until); err != nil {
		return nil, false, err
	}
	f.Limit = bulkPage
	for {
		page, err := s.o.Store.Events(ctx, f)
		if err != nil {
			return nil, false, err
		}
		for _, l := range page.Items {
			if len(ids) == maxBulk {
				return ids, true, nil
			}
			ids = append(ids, l.ID)
		}
		if page.Next == "" {
			return ids, false, nil
		}
		f.After = page.Next
	}
}

// counted returns the number of matching events for a dry run. It uses the totals if they suffice:
// reading a hundred thousand events takes a second.
func (s *server) counted(ctx context.Context, ask wire.BulkRequest) (n int, more bool, err error) {
	if ask.Action == "rescue" || ask.Issue != "" || ask.Source == gaff.InternalSource || ask.Type+ask.Query+ask.Since+ask.Until != "" {
		ids, more, err := s.matching(ctx, ask)
		return len(ids), more, err
	}
	if ask.Action == "retry" {
		ask.Status = gaff.StatusError.String()
	}
	counts, err := s.o.Store.Counts(ctx, time.Time{})
	if err != nil {
		return 0, false, err
	}
	var all int64
	for _, c := range counts.Sources {
		if c.Source == gaff.InternalSource || ask.Source != "" && ask.Source != c.Source {
			continue
		}
		for status, of := range map[gaff.Status]int64{gaff.StatusPending: c.Pending, gaff.StatusSuccess: c.Success, gaff.StatusError: c.Error} {
			if ask.Status == "" || ask.Status == status.String() {
				all += of
			}
		}
	}
	return int(min(all, maxBulk)), all > maxBulk, nil
}

// rescuable lists the rejected requests of a bulk rescue, oldest first. wanted chooses among
// them; nil chooses all.
func (s *server) rescuable(ctx context.Context, ask wire.BulkRequest, wanted func(gaff.Rejection) bool) (ids []string, more bool, err error) {
	if _, ok := s.o.Gateway.(Rescuer); !ok {
		return nil, false, errNoRescue
	}
	if ask.Type+ask.Status+ask.Query+ask.Since+ask.Until != "" {
		return nil, false, huma.Error400BadRequest("action rescue: rejected requests are chosen by source only")
	}
	f := gaff.RejectionFilter{Source: ask.Source, Cursor: gaff.Cursor{Limit: bulkPage}}
	for {
		page, err := s.o.Store.Rejections(ctx, f)
		if err != nil {
			return nil, false, err
		}
		for _, r := range page.Items {
			if r.Rescuable && r.RescuedAs == "" && (wanted == nil || wanted(r)) {
				ids = append(ids, r.ID)
			}
		}
		if f.After = page.Next; f.After == "" || len(ids) > maxBulk {
			slices.Reverse(ids)
			return ids[:min(len(ids), maxBulk)], len(ids) > maxBulk, nil
		}
	}
}

// one runs the action for one event. A panic becomes its error: no request of a client fails here, and
// the gateway must continue.
func (s *server) one(ctx context.Context, action, id string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.o.Log.Error("bulk action panicked", "action", action, "id", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("%s of %s panicked: %v", action, id, p)
		}
	}()
	switch action {
	case "retry":
		_, err = s.o.Gateway.Retry(ctx, id)
	case "replay":
		_, err = s.o.Gateway.Replay(ctx, id)
	case "rescue":
		_, err = s.o.Gateway.(Rescuer).Rescue(ctx, id)
	}
	return err
}

// run runs a bulk action to its end.
func (s *server) run(ctx context.Context, b *bulk) {
	defer s.bulks.ended()
	next := make(chan string)
	var workers sync.WaitGroup
	for range bulkAtOnce {
		workers.Go(func() {
			for id := range next {
				err := s.one(ctx, b.ask.Action, id)
				switch {
				case err == nil:
					b.done.Add(1)
				case b.ask.Action != "rescue" && (errors.Is(err, gaff.ErrConflict) || errors.Is(err, gaff.ErrNotFound)):
					b.skipped.Add(1)
				default: // also a request that is still rejected: its error says why
					b.failed.Add(1)
					b.mu.Lock()
					b.last = err
					b.mu.Unlock()
				}
			}
		})
	}
	state := "done"
feed:
	for _, id := range b.ids {
		select {
		case next <- id:
		case <-ctx.Done():
			state = "stopped"
			break feed
		}
	}
	close(next)
	workers.Wait()
	b.mu.Lock()
	b.state, b.ended = state, time.Now()
	b.mu.Unlock()
}

type bulkInput struct{ Body wire.BulkRequest }

func (s *server) startBulk(ctx context.Context, in *bulkInput) (wire.Bulk, error) {
	b := &bulk{id: id.New(id.Bulk, time.Now()), by: noteOf(ctx).who.String(), ask: in.Body, state: "running", started: time.Now()}
	var err error
	if in.Body.DryRun {
		unaudited(ctx)
		b.id, b.state, b.started = "", "counted", time.Time{}
		doc := b.doc()
		doc.Matches, doc.More, err = s.counted(ctx, in.Body)
		doc.Total = doc.Matches
		return doc, err
	}
	if b.ids, b.more, err = s.matching(ctx, in.Body); err != nil {
		return wire.Bulk{}, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	if !s.bulks.add(b) {
		stop()
		return wire.Bulk{}, huma.Error409Conflict(fmt.Sprintf("%d bulk actions are running; wait for one, or stop it", maxRunning))
	}
	remark(ctx, b.id, map[string]any{"filter": in.Body, "events": len(b.ids)})
	s.o.Background(func(ctx context.Context) {
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		s.run(run, b)
	})
	return b.doc(), nil
}

func (s *server) findBulk(id string) (*bulk, error) {
	if b := s.bulks.get(id); b != nil {
		return b, nil
	}
	return nil, huma.Error404NotFound("bulk action " + id + ": not found; a restart forgets bulk actions")
}

func (s *server) getBulk(_ context.Context, in *idInput) (none wire.Bulk, err error) {
	b, err := s.findBulk(in.ID)
	if err != nil {
		return none, err
	}
	return b.doc(), nil
}

func (s *server) stopBulk(_ context.Context, in *idInput) (none wire.Bulk, err error) {
	b, err := s.findBulk(in.ID)
	if err != nil {
		return none, err
	}
	b.stop()
	return b.doc(), nil
}
