package api

import (
	"context"
	"fmt"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"gaff/destination"
	"gaff/internal/access"
	"gaff/internal/scoped"
)

// A credential that is limited to a part of the gateway (access.Scope) can call only the
// operations that are open to that part. Those read through [server.store], which hides every
// other row (gaff/internal/scoped), so that a handler cannot forget it.

// reachKey is the key of an operation's metadata for the parts that it is open to.
const reachKey = "reach"

// Operations on jobs and files, on runs, and on events.
const (
	reachJobs   = access.ReachProject | access.ReachJob
	reachRuns   = access.ReachProject | access.ReachRun
	reachEvents = access.ReachSource
	reachAll    = access.ReachProject | access.ReachJob | access.ReachRun | access.ReachSource | access.ReachDestination
)

// open lets credentials that are limited to a part call the operations, and documents it.
func open(reach access.Reach, routes ...route) []route {
	for _, r := range routes {
		r.op.Metadata[reachKey] = reach
	}
	return routes
}

// reachOf returns the parts that an operation is open to.
func reachOf(op *huma.Operation) access.Reach {
	reach, _ := op.Metadata[reachKey].(access.Reach)
	return reach
}

func scopeOf(ctx context.Context) access.Scope {
	if n := noteOf(ctx); n != nil {
		return n.who.Scope
	}
	return access.Scope{}
}

// store returns the store as the caller may see it.
func (s *server) store(ctx context.Context) Store {
	return scoped.Limit(s.o.Store, scopeOf(ctx))
}

// reachable returns the error of reading a row with get if the caller is limited: what it cannot
// see it cannot change.
func reachable[T any](ctx context.Context, id string, get func(context.Context, string) (T, error)) error {
	if !scopeOf(ctx).Limited() {
		return nil
	}
	_, err := get(ctx, id)
	return err
}

// ownProject returns the project that a caller submits for: its own if it is limited to one.
func ownProject(ctx context.Context, project string) (string, error) {
	own := scopeOf(ctx).Project
	if own == "" || project == own {
		return project, nil
	}
	if project == "" {
		return own, nil
	}
	return "", huma.Error403Forbidden(fmt.Sprintf("projectId is %.60q: this credential is limited to the project %s", project, own))
}

// ownDestination returns an error for a destination that the caller does not reach.
func ownDestination(ctx context.Context, name string) error {
	if !scopeOf(ctx).HasDestination(name) {
		return scoped.Hidden("destination", name)
	}
	return nil
}

// ownLeases returns an error unless the caller reaches the destinations of all leases. Leases are
// guessable: they contain the id of the delivery.
func ownLeases(ctx context.Context, m *destination.Manager, leases []string) error {
	scope := scopeOf(ctx)
	if !scope.Limited() {
		return nil
	}
	for _, lease := range leases {
		if of, err := m.DestinationOf(ctx, lease); err != nil || !scope.HasDestination(of) {
			return scoped.Hidden("lease", lease)
		}
	}
	return nil
}

// sees reports whether the stream shows a change of a kind to a caller, before the resource is read.
func sees(scope access.Scope, kind string) bool {
	switch {
	case !scope.Limited():
		return true
	case kind == "job" || kind == "media":
		return scope.Reach()&reachJobs != 0
	case kind == "run":
		return scope.Reach()&reachRuns != 0
	case kind == "event":
		return scope.Reach()&reachEvents != 0
	}
	return false
}

// describeReach adds to the description which limited credentials can call the operation.
func describeReach(op *huma.Operation) {
	var names []string
	reach := reachOf(op)
	for _, p := range [...]struct {
		part access.Reach
		name string
	}{{access.ReachProject, "a project"}, {access.ReachJob, "a job"}, {access.ReachRun, "a run"}, {access.ReachSource, "a source"}, {access.ReachDestination, "a destination"}} {
		if reach&p.part != 0 {
			names = append(names, p.name)
		}
	}
	if len(names) > 0 {
		op.Description += " Open to credentials limited to " + strings.Join(names, ", ") + "."
	}
}
