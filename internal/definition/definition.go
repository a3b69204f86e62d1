// Package definition has the workflows of a gateway: those of the files in its folder, and those that
// users write by the API and the console, as records with revisions. A file hides a record of the
// same name.
package definition

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/workflow"
)

const (
	kind = "workflow"
	// maxRecords bounds the workflows that users write.
	maxRecords = 200
	// maxRevisions is how many revisions of a workflow are stored, the current one included.
	maxRevisions = 20
)

// Engine runs the workflows; a *workflow.Engine implements it.
type Engine interface {
	// SetWorkflows replaces the workflows before the engine starts, Reload afterwards.
	SetWorkflows(cs []*workflow.Compiled) error
	Reload(ctx context.Context, cs []*workflow.Compiled) error
}

// Options of a [Service]. All are required.
type Options struct {
	Store  gaff.Records
	Engine Engine
	// Files reads the files of the folder.
	Files func() ([]*workflow.Compiled, error)
	// Parse checks a text as the files are checked. The error is a [workflow.Faults].
	Parse func(file string, text []byte) (*workflow.Compiled, error)
	Log   *slog.Logger
}

// Service has the workflows, and gives them to the engine.
type Service struct {
	o Options

	loading sync.Mutex // of changes, which are applied in their order

	mu       sync.Mutex
	started  bool
	files    map[string]*workflow.Compiled
	live     map[string]record
	revision int64
}

// value is the stored value of a record.
type value struct {
	Text string `json:"text"`
	By   string `json:"by,omitempty"`
}

// record is a workflow that a user wrote.
type record struct {
	Revision
	compiled *workflow.Compiled // nil if it cannot be used
	fault    error              // why
}

// Revision is a stored text of a workflow.
type Revision struct {
	Number int64
	Text   string
	By     string // who wrote it
	At     time.Time
}

// Workflow is a workflow of a file or of a user.
type Workflow struct {
	Name string
	// Compiled is nil if this program cannot use the record.
	Compiled *workflow.Compiled
	// File reports whether it is that of a file.
	File bool
	// Record is the newest revision that a user wrote under the name; nil without one. If File is
	// set, the file hides it.
	Record *Revision
	// Fault says why the record cannot be used.
	Fault error
}

// New returns a service without workflows; Load reads them.
func New(o Options) *Service { return &Service{o: o} }

// Load reads files and records, and gives them to the engine. If a file has a fault, nothing changes.
func (s *Service) Load(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	files, err := s.o.Files()
	if err != nil {
		return err
	}
	return s.apply(ctx, files)
}

// Started has the service give all further changes to the engine as to one that runs.
func (s *Service) Started() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
}

// Refresh applies the changes of other nodes, if there are any.
func (s *Service) Refresh(ctx context.Context) error {
	revision, err := s.o.Store.RecordsRevision(ctx, kind)
	if err != nil {
		return err
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	s.mu.Lock()
	same, files := revision == s.revision, s.files
	s.mu.Unlock()
	if same {
		return nil
	}
	return s.apply(ctx, slices.Collect(maps.Values(files)))
}

// apply gives the engine the workflows of files and records.
func (s *Service) apply(ctx context.Context, files []*workflow.Compiled) error {
	revision, err := s.o.Store.RecordsRevision(ctx, kind)
	if err != nil {
		return err
	}
	records, err := s.o.Store.Records(ctx, kind)
	if err != nil {
		return err
	}
	s.mu.Lock()
	old, started := s.live, s.started
	s.mu.Unlock()
	byName, live := map[string]*workflow.Compiled{}, map[string]record{}
	for _, c := range files {
		byName[c.Name] = c
	}
	list := slices.Clone(files)
	for _, r := range records {
		next, known := old[r.Name]
		if !known || next.Number != r.Revision {
			next = s.read(r)
		}
		live[r.Name] = next
		switch {
		case byName[r.Name] != nil:
			if known && next.Number == old[r.Name].Number {
				continue
			}
			s.o.Log.Warn("a file hides a workflow that a user wrote under the same name", "workflow", r.Name)
		case next.compiled != nil:
			list = append(list, next.compiled)
		case !known || next.Number != old[r.Name].Number:
			s.o.Log.Error("a workflow that a user wrote cannot be used", "workflow", r.Name, "error", next.fault)
		}
	}
	if started {
		err = s.o.Engine.Reload(ctx, list)
	} else {
		err = s.o.Engine.SetWorkflows(list)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files, s.live, s.revision = byName, live, revision
	return nil
}

// read compiles a record.
func (s *Service) read(r gaff.Record) record {
	out := record{Revision: Revision{Number: r.Revision, At: r.UpdatedAt}}
	var v value
	if out.fault = json.Unmarshal(r.Value, &v); out.fault != nil {
		return out
	}
	out.Text, out.By = v.Text, v.By
	out.compiled, out.fault = s.o.Parse("", []byte(v.Text))
	if out.fault == nil && out.compiled.Name != r.Name {
		out.compiled, out.fault = nil, fmt.Errorf("name: %q is stored as %q", out.compiled.Name, r.Name)
	}
	return out
}

// of returns a workflow from memory.
func (s *Service) of(name string) (Workflow, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := s.files[name]
	w := Workflow{Name: name, Compiled: file, File: file != nil}
	r, written := s.live[name]
	if written {
		w.Record, w.Fault = &r.Revision, r.fault
		w.Compiled = cmp.Or(file, r.compiled)
	}
	return w, written || file != nil
}

// List returns all workflows by name.
func (s *Service) List(ctx context.Context) ([]Workflow, error) {
	if err := s.Refresh(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	names := map[string]bool{}
	for name := range s.files {
		names[name] = true
	}
	for name := range s.live {
		names[name] = true
	}
	s.mu.Unlock()
	var all []Workflow
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if w, ok := s.of(name); ok {
			all = append(all, w)
		}
	}
	return all, nil
}

// Get returns a workflow, or gaff.ErrNotFound.
func (s *Service) Get(ctx context.Context, name string) (Workflow, error) {
	if err := s.Refresh(ctx); err != nil {
		return Workflow{}, err
	}
	w, ok := s.of(name)
	if !ok {
		return w, notFound(name)
	}
	return w, nil
}

func notFound(name string) error { return fmt.Errorf("workflow %.80q: %w", name, gaff.ErrNotFound) }

// Check parses a text for a workflow; an empty name takes that of the text. The error is a
// [workflow.Faults].
func (s *Service) Check(name, text string) (*workflow.Compiled, error) {
	c, err := s.o.Parse("", []byte(text))
	if err == nil && name != "" && c.Name != name {
		return nil, workflow.Faults{{Line: lineOfName(text), Column: 1, Path: "name", Problem: fmt.Sprintf("%q: the workflow is %s; its name cannot be changed, because runs are stored under it", c.Name, name)}}
	}
	return c, err
}

// lineOfName returns the line of the member name.
func lineOfName(text string) int {
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "name:") {
			return i + 1
		}
	}
	return 1
}

// checked is Check for a text that is to be stored.
func (s *Service) checked(name, text string) (*workflow.Compiled, error) {
	c, err := s.Check(name, text)
	if faults, ok := errors.AsType[workflow.Faults](err); ok {
		return nil, fmt.Errorf("%w: %w", gaff.ErrInvalid, faults)
	}
	return c, err
}

// normal is a text as it is stored: with line feeds, and one at its end.
func normal(text string) string {
	return strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n") + "\n"
}

// hidden returns the error for a change of a workflow that a file defines.
func (s *Service) hidden(name string) error {
	if w, _ := s.of(name); w.File {
		return fmt.Errorf("%w: a file in the folder of workflows defines %s; change it there", gaff.ErrConflict, name)
	}
	return nil
}

// Create stores a new workflow under the name in its text.
func (s *Service) Create(ctx context.Context, text, by string) (Workflow, error) {
	text = normal(text)
	c, err := s.checked("", text)
	if err != nil {
		return Workflow{}, err
	}
	if err := s.Refresh(ctx); err != nil {
		return Workflow{}, err
	}
	if err := s.hidden(c.Name); err != nil {
		return Workflow{}, err
	}
	s.mu.Lock()
	full := len(s.live) >= maxRecords
	s.mu.Unlock()
	if full {
		return Workflow{}, fmt.Errorf("%w: there are %d workflows already; delete one, or write a file", gaff.ErrConflict, maxRecords)
	}
	return s.write(ctx, c.Name, value{text, by}, gaff.NewRecord)
}

// Update replaces the text of a workflow. If revision is not 0, it must be the stored one.
func (s *Service) Update(ctx context.Context, name, text string, revision int64, by string) (Workflow, error) {
	stored, err := s.o.Store.Record(ctx, kind, name)
	if errors.Is(err, gaff.ErrNotFound) {
		if err := s.hidden(name); err != nil {
			return Workflow{}, err
		}
		return Workflow{}, notFound(name)
	}
	if err != nil {
		return Workflow{}, err
	}
	if err := s.hidden(name); err != nil {
		return Workflow{}, err
	}
	text = normal(text)
	if _, err := s.checked(name, text); err != nil {
		return Workflow{}, err
	}
	if revision != 0 && revision != stored.Revision {
		return Workflow{}, fmt.Errorf("%w: workflow %s has revision %d now, not %d: someone changed it meanwhile; read it again", gaff.ErrConflict, name, stored.Revision, revision)
	}
	var v value
	if json.Unmarshal(stored.Value, &v) == nil && v.Text == text {
		if err := s.Refresh(ctx); err != nil {
			return Workflow{}, err
		}
		w, _ := s.of(name)
		return w, nil // no new revision
	}
	return s.write(ctx, name, value{text, by}, stored.Revision)
}

func (s *Service) write(ctx context.Context, name string, v value, revision int64) (Workflow, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return Workflow{}, err
	}
	if _, err := s.o.Store.PutRecord(ctx, gaff.Record{Kind: kind, Name: name, Value: raw, Revision: revision, History: maxRevisions}); err != nil {
		return Workflow{}, err
	}
	return s.Get(ctx, name)
}

// Delete removes a workflow that a user wrote, with its revisions. Its runs go on.
func (s *Service) Delete(ctx context.Context, name string) error {
	err := s.o.Store.DeleteRecord(ctx, kind, name)
	if errors.Is(err, gaff.ErrNotFound) {
		return cmp.Or(s.hidden(name), notFound(name))
	}
	if err != nil {
		return err
	}
	return s.Refresh(ctx)
}

// Revisions returns the stored revisions of a workflow that a user wrote, newest first.
func (s *Service) Revisions(ctx context.Context, name string) ([]Revision, error) {
	history, err := s.o.Store.RecordHistory(ctx, kind, name)
	if err != nil {
		return nil, err
	}
	var all []Revision
	for _, r := range history {
		var v value
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return nil, fmt.Errorf("revision %d of workflow %s: %w", r.Revision, name, err)
		}
		all = append(all, Revision{r.Revision, v.Text, v.By, r.UpdatedAt})
	}
	if len(all) > 0 {
		return all, nil
	}
	if _, err := s.Get(ctx, name); err != nil {
		return nil, err
	}
	return all, nil // a file has none
}
