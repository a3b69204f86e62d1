package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"gaff/jobs"
	"gaff/workflow/runs"
)

// values returns what expressions read, including uncommitted changes of the advance.
type values interface {
	// step returns the value of steps.NAME.
	step(name string) (map[string]any, error)
	// items returns the items of a for_each.
	items(name string) ([]any, error)
	// input returns the evaluated input of a step or item.
	input(name string, item int) (json.RawMessage, error)
}

// loader reads values from the store, except those that the advance changed.
type loader struct {
	ctx    context.Context
	store  Store
	st     *state
	stored map[string][]runs.Step
	over   map[string][]any
}

func (l *loader) rows(name string) ([]runs.Step, error) {
	if rows, ok := l.stored[name]; ok {
		return rows, nil
	}
	rows, err := l.store.StepValues(l.ctx, l.st.run.ID, name)
	if err != nil {
		return nil, err
	}
	if l.stored == nil {
		l.stored = map[string][]runs.Step{}
	}
	l.stored[name] = rows
	return rows, nil
}

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
	return nil, fmt.Errorf("the input of step %s is gone", name)
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
	v := stepValues{}
	var over []any
	if s.row.Status != runs.StepPending && s.row.Status != runs.StepSkipped {
		var err error
		if v, err = l.values(s); err != nil {
			return nil, err
		}
		if s.def.forEach != nil && len(s.items) > 0 {
			if over, err = l.items(name); err != nil {
				return nil, err
			}
		}
	}
	whole := v.unit(s.row)
	whole["items"] = []any{}
	if s.def.forEach == nil {
		return whole, nil
	}
	items, files, results := []any{}, []any{}, []any{}
	for _, u := range s.items {
		one := v.unit(u)
		one["index"], one["item"] = int64(u.Item), nil
		if u.Item < len(over) {
			one["item"] = over[u.Item]
		}
		items = append(items, one)
		files = append(files, one["media"].([]any)...)
		results = append(results, one["result"])
	}
	whole["items"], whole["media"], whole["result"] = items, files, results
	return whole, nil
}

// stepValues are the stored results and files of a step, by item.
type stepValues struct {
	results map[int]json.RawMessage
	media   map[int][]jobs.Media
}

func (l *loader) values(s *stepState) (v stepValues, err error) {
	unread := func(u *runs.Step) bool { return u.Status == runs.StepCompleted && u.Result == nil }
	if slices.ContainsFunc(s.units(), unread) {
		rows, err := l.rows(s.def.Name)
		if err != nil {
			return v, err
		}
		v.results = make(map[int]json.RawMessage, len(rows))
		for i := range rows {
			v.results[rows[i].Item] = rows[i].Result
		}
	}
	if s.def.Submit != nil {
		v.media, err = l.store.StepMedia(l.ctx, l.st.run.ID, s.def.Name)
	}
	return v, err
}

// unit returns the value of a step or item in expressions.
func (v stepValues) unit(u *runs.Step) map[string]any {
	var result json.RawMessage
	files := []any{}
	if u.Status == runs.StepCompleted {
		if result = u.Result; result == nil {
			result = v.results[u.Item]
		}
		for _, m := range v.media[u.Item] {
			link := m.URL
			if whole, ok := jobs.WholeLink(result, link); ok && m.Shortened() {
				link = whole
			}
			files = append(files, map[string]any{
				"id": m.ID, "job": m.JobID, "url": link, "storedUrl": m.Links.StoredURL, "mediaType": m.MediaType,
				"contentType": m.ContentType, "size": m.Size, "sha256": m.SHA256, "metadata": decode(m.Metadata),
			})
		}
	}
	return map[string]any{
		"status": u.Status.String(), "result": decode(result), "error": u.Error, "job": u.JobID, "cost": u.Cost, "media": files,
	}
}
