package workflow

import (
	"context"
	"encoding/json"
	"fmt"

	"gaff/jobs"
	"gaff/workflow/runs"
)

// values gives what expressions read. It sees the changes that are under way.
type values interface {
	// step is the value of steps.NAME.
	step(name string) (map[string]any, error)
	// items are what a for_each goes over.
	items(name string) ([]any, error)
}

// loader reads values from the store, under the changes that are being made.
type loader struct {
	ctx    context.Context
	e      *Engine
	st     *state
	stored map[string][]runs.Step
	over   map[string][]any
}

func (l *loader) rows(name string) ([]runs.Step, error) {
	if rows, ok := l.stored[name]; ok {
		return rows, nil
	}
	rows, err := l.e.o.Store.StepValues(l.ctx, l.st.run.ID, name)
	if err != nil {
		return nil, err
	}
	if l.stored == nil {
		l.stored = map[string][]runs.Step{}
	}
	l.stored[name] = rows
	return rows, nil
}

// input is what a row was given, in an earlier transaction or this one.
func (l *loader) input(name string, item int) (json.RawMessage, error) {
	if _, u := l.st.find(name, item); u != nil && u.Input != nil {
		return u.Input, nil
	}
	rows, err := l.rows(name)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].Item == item {
			return rows[i].Input, nil
		}
	}
	return nil, fmt.Errorf("step %s: what it was given is gone", name)
}

func (l *loader) items(name string) ([]any, error) {
	if over, ok := l.over[name]; ok {
		return over, nil
	}
	raw, err := l.input(name, runs.WholeStep)
	if err != nil {
		return nil, err
	}
	over, _ := decode(raw).([]any)
	if l.over == nil {
		l.over = map[string][]any{}
	}
	l.over[name] = over
	return over, nil
}

func (l *loader) step(name string) (map[string]any, error) {
	s := l.st.steps[name]
	stored := map[int]json.RawMessage{}
	var media map[int][]jobs.Media
	needed := s.row.Status != runs.StepPending && s.row.Status != runs.StepSkipped
	if needed {
		for _, u := range s.units() {
			if u.Status == runs.StepCompleted && u.Result == nil {
				rows, err := l.rows(name)
				if err != nil {
					return nil, err
				}
				for i := range rows {
					stored[rows[i].Item] = rows[i].Result
				}
				break
			}
		}
		if s.def.Submit != nil {
			var err error
			if media, err = l.e.o.Store.StepMedia(l.ctx, l.st.run.ID, name); err != nil {
				return nil, err
			}
		}
	}
	unit := func(u *runs.Step) map[string]any {
		result := u.Result
		if result == nil {
			result = stored[u.Item]
		}
		files := []any{}
		if u.Status == runs.StepCompleted {
			for _, m := range media[u.Item] {
				link := m.URL
				if whole, ok := jobs.WholeLink(result, link); ok && m.Shortened() {
					link = whole
				}
				files = append(files, map[string]any{
					"id": m.ID, "job": m.JobID, "url": link, "storedUrl": m.StoredURL, "mediaType": m.MediaType,
					"contentType": m.ContentType, "size": m.Size, "sha256": m.SHA256, "metadata": decode(m.Metadata),
				})
			}
		} else {
			result = nil
		}
		return map[string]any{
			"status": u.Status.String(), "result": decode(result), "error": u.Error, "job": u.JobID, "cost": u.Cost, "media": files,
		}
	}
	v := unit(s.row)
	v["items"] = []any{}
	if s.def.forEach == nil {
		return v, nil
	}
	var over []any
	if needed && len(s.items) > 0 {
		var err error
		if over, err = l.items(name); err != nil {
			return nil, err
		}
	}
	items, files, results := []any{}, []any{}, []any{}
	for _, u := range s.items {
		one := unit(u)
		one["index"] = int64(u.Item)
		one["item"] = nil
		if u.Item < len(over) {
			one["item"] = over[u.Item]
		}
		items = append(items, one)
		files = append(files, one["media"].([]any)...)
		results = append(results, one["result"])
	}
	v["items"], v["media"], v["result"] = items, files, results
	return v, nil
}
