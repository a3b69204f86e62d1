package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/replay"
	"gaff/internal/wire"
)

// Replays sends stored events again; a *replay.Service does.
type Replays interface {
	Start(ctx context.Context, q replay.Request) (*replay.Replay, error)
	Count(ctx context.Context, q replay.Request) (n int, more bool, err error)
	List(ctx context.Context) ([]*replay.Replay, error)
	Get(ctx context.Context, id string) (*replay.Replay, error)
	Cancel(ctx context.Context, id string) (*replay.Replay, error)
}

// maxReplayBody bounds the request of a replay: an edited body, escaped in JSON.
const maxReplayBody = 2*replay.MaxBody + maxBody

// replayRoutes are for credentials without a limit: a replay reads and queues events of all sources.
func (s *server) replayRoutes() []route {
	bad := fails(http.StatusBadRequest)
	return []route{
		post("/api/v1/replays", "start-replay", Operator, "Send stored events again, to a destination or a URL, or count them first", s.startReplay, answers(http.StatusAccepted), accepts(maxReplayBody), bad, fails(http.StatusNotFound)),
		get("/api/v1/replays", "list-replays", Viewer, "List replays, newest first", s.listReplays),
		get("/api/v1/replays/{id}", "get-replay", Viewer, "Get a replay and its progress", s.getReplay),
		end("/api/v1/replays/{id}", "cancel-replay", Operator, "Cancel a replay: no more events are queued", s.cancelReplay),
	}
}

func (s *server) replays() (Replays, error) {
	if s.o.Replays == nil {
		return nil, huma.Error404NotFound("this gateway forwards nothing, so it replays nothing to a destination")
	}
	return s.o.Replays, nil
}

type replayInput struct{ Body wire.ReplayRequest }

func (s *server) startReplay(ctx context.Context, in *replayInput) (none wire.Replay, err error) {
	rs, err := s.replays()
	if err != nil {
		return none, err
	}
	who := noteOf(ctx).who
	if in.Body.URL != "" && who.Role < Admin {
		return none, huma.Error403Forbidden(fmt.Sprintf("url: a replay to a URL needs the role %s; %s is %s", Admin, who.Name, who.Role))
	}
	q, err := in.Body.Request(who.String())
	if err != nil {
		return none, err
	}
	if in.Body.DryRun {
		unaudited(ctx)
		n, more, err := rs.Count(ctx, q)
		return wire.NewReplayCount(q, n, more), err
	}
	r, err := rs.Start(ctx, q)
	if err != nil {
		return none, err
	}
	doc := wire.NewReplay(r, true) // without the URL's path
	remark(ctx, r.ID, map[string]any{
		"destination": doc.Destination, "url": doc.URL, "eventId": doc.EventID, "edited": in.Body.Body != nil, "source": doc.Source, "type": doc.Type,
		"status": doc.Status, "since": doc.Since, "until": doc.Until, "missing": doc.Missing, "rate": doc.Rate,
	})
	return wire.NewReplay(r, false), nil
}

func (s *server) listReplays(ctx context.Context, in *wire.Page) (none wire.List[wire.Replay], err error) {
	rs, err := s.replays()
	if err != nil {
		return none, err
	}
	all, err := rs.List(ctx)
	return cutList(*in, all, err, func(r *replay.Replay) string { return r.ID }, func(r *replay.Replay) wire.Replay {
		return wire.NewReplay(r, isViewer(ctx))
	})
}

func (s *server) getReplay(ctx context.Context, in *idInput) (none wire.Replay, err error) {
	return s.withReplay(ctx, in.ID, Replays.Get)
}

func (s *server) cancelReplay(ctx context.Context, in *idInput) (none wire.Replay, err error) {
	return s.withReplay(ctx, in.ID, Replays.Cancel)
}

func (s *server) withReplay(ctx context.Context, id string, call func(Replays, context.Context, string) (*replay.Replay, error)) (none wire.Replay, err error) {
	rs, err := s.replays()
	if err != nil {
		return none, err
	}
	r, err := call(rs, ctx, id)
	if err != nil {
		return none, err
	}
	return wire.NewReplay(r, isViewer(ctx)), nil
}
