package definition_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"gaff"
	"gaff/internal/definition"
	"gaff/internal/sqlstore"
	"gaff/store/sqlite"
	"gaff/workflow"
)

// text is a workflow with one approval.
func text(name, message string) string {
	return "name: " + name + "\nsteps:\n  - name: look\n    approve: {message: \"" + message + "\"}\n"
}

// engine notes the messages of the workflows that it has, by name.
type engine map[string]string

func (e engine) SetWorkflows(cs []*workflow.Compiled) error {
	clear(e)
	for _, c := range cs {
		e[c.Name] = c.Steps[0].Approve.Message
	}
	return nil
}

func (e engine) Reload(_ context.Context, cs []*workflow.Compiled) error { return e.SetWorkflows(cs) }

// node is a gateway on a store, with files that tests change.
type node struct {
	*definition.Service
	engine engine
	files  []string
}

func newNode(t *testing.T, st *sqlstore.Store, files ...string) *node {
	t.Helper()
	n := &node{engine: engine{}, files: files}
	parse := func(file string, text []byte) (*workflow.Compiled, error) { return workflow.Parse(file, text, "fal") }
	n.Service = definition.New(definition.Options{
		Store: st, Engine: n.engine, Log: slog.New(slog.DiscardHandler), Parse: parse,
		Files: func() (cs []*workflow.Compiled, err error) {
			for _, text := range n.files {
				c, err := parse("f.yaml", []byte(text))
				if err != nil {
					return nil, err
				}
				cs = append(cs, c)
			}
			return cs, nil
		},
	})
	if err := n.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func store(t *testing.T) *sqlstore.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func (n *node) create(t *testing.T, text string) definition.Workflow {
	t.Helper()
	w, err := n.Create(t.Context(), text, "ada")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWrittenWorkflowRuns(t *testing.T) {
	t.Parallel()
	n := newNode(t, store(t))
	w := n.create(t, strings.ReplaceAll(text("film", "first"), "\n", "\r\n"))
	if w.File || w.Record == nil || w.Record.By != "ada" || w.Record.Text != text("film", "first") {
		t.Errorf("created: %+v %+v", w, w.Record)
	}
	if n.engine["film"] != "first" {
		t.Errorf("the engine has %v", n.engine)
	}
	if _, err := n.Update(t.Context(), "film", text("film", "second"), w.Record.Number, "ben"); err != nil || n.engine["film"] != "second" {
		t.Errorf("updated: %v, the engine has %v", err, n.engine)
	}
	if err := n.Delete(t.Context(), "film"); err != nil || len(n.engine) != 0 {
		t.Errorf("deleted: %v, the engine has %v", err, n.engine)
	}
	if err := n.Delete(t.Context(), "film"); !errors.Is(err, gaff.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestUpdateComparesRevision(t *testing.T) {
	t.Parallel()
	n := newNode(t, store(t))
	first := n.create(t, text("film", "first")).Record.Number
	second, err := n.Update(t.Context(), "film", text("film", "second"), first, "ben")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Update(t.Context(), "film", text("film", "third"), first, "cleo"); !errors.Is(err, gaff.ErrConflict) {
		t.Errorf("over another's change: %v", err)
	}
	same, err := n.Update(t.Context(), "film", text("film", "second"), 0, "cleo")
	if err != nil || same.Record.Number != second.Record.Number {
		t.Errorf("the same text: %v, revision %d after %d", err, same.Record.Number, second.Record.Number)
	}
	all, err := n.Revisions(t.Context(), "film")
	if err != nil || len(all) != 2 || all[0].By != "ben" || all[1].Text != text("film", "first") {
		t.Errorf("revisions: %+v, %v", all, err)
	}
}

func TestWriteRejectsFaults(t *testing.T) {
	t.Parallel()
	n := newNode(t, store(t), text("kept", "file"))
	n.create(t, text("film", "first"))
	for name, one := range map[string]struct {
		err  error
		want error
		says string
	}{
		"a fault":            {last(n.Create(t.Context(), text("x", "${nobody}"), "")), gaff.ErrInvalid, "undeclared"},
		"an unknown service": {last(n.Create(t.Context(), "name: x\nsteps:\n  - name: a\n    submit: {provider: fall, model: m}\n", "")), gaff.ErrInvalid, "4:24: steps[0].submit.provider: unknown provider \"fall\": want fal; did you mean fal?"},
		"too long":           {last(n.Create(t.Context(), text("x", "m")+strings.Repeat("#", workflow.MaxFile), "")), gaff.ErrInvalid, "longer than 256 KiB"},
		"a taken name":       {last(n.Create(t.Context(), text("film", "again"), "")), gaff.ErrConflict, "exists already"},
		"a file's name":      {last(n.Create(t.Context(), text("kept", "again"), "")), gaff.ErrConflict, "a file in the folder"},
		"a file":             {last(n.Update(t.Context(), "kept", text("kept", "again"), 0, "")), gaff.ErrConflict, "a file in the folder"},
		"another name":       {last(n.Update(t.Context(), "film", text("movie", "again"), 0, "")), gaff.ErrInvalid, "cannot be changed"},
		"a missing one":      {last(n.Update(t.Context(), "none", text("none", "again"), 0, "")), gaff.ErrNotFound, "none"},
		"a file deleted":     {n.Delete(t.Context(), "kept"), gaff.ErrConflict, "a file in the folder"},
	} {
		if !errors.Is(one.err, one.want) || !strings.Contains(fmt.Sprint(one.err), one.says) {
			t.Errorf("%s: %v", name, one.err)
		}
	}
}

func last(_ definition.Workflow, err error) error { return err }

func TestFileHidesRecord(t *testing.T) {
	t.Parallel()
	n := newNode(t, store(t))
	n.create(t, text("film", "written"))
	n.files = []string{text("film", "file")}
	if err := n.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	w, err := n.Get(t.Context(), "film")
	if err != nil || !w.File || w.Record == nil || n.engine["film"] != "file" {
		t.Errorf("with the file: %+v, %v, the engine has %v", w, err, n.engine)
	}
	n.files = nil
	if err := n.Load(t.Context()); err != nil || n.engine["film"] != "written" {
		t.Errorf("without the file again: %v, the engine has %v", err, n.engine)
	}
	n.files = []string{"name: ["}
	if err := n.Load(t.Context()); err == nil || n.engine["film"] != "written" {
		t.Errorf("a faulty file: %v, the engine has %v", err, n.engine)
	}
}

func TestOtherNodeFollows(t *testing.T) {
	t.Parallel()
	st := store(t)
	a, b := newNode(t, st), newNode(t, st)
	a.create(t, text("film", "first"))
	if err := b.Refresh(t.Context()); err != nil || b.engine["film"] != "first" {
		t.Errorf("created: %v, the other engine has %v", err, b.engine)
	}
	if err := a.Delete(t.Context(), "film"); err != nil {
		t.Fatal(err)
	}
	if all, err := b.List(t.Context()); err != nil || len(all) != 0 || len(b.engine) != 0 {
		t.Errorf("deleted: %v %v, the other engine has %v", all, err, b.engine)
	}
}

// A record that another version of the program wrote does not keep the others from being used.
func TestUnusableRecordIsReported(t *testing.T) {
	t.Parallel()
	st := store(t)
	for name, value := range map[string]string{"later": `{"text":"name: later\nrobots: 3\n"}`, "torn": `7`, "renamed": `{"text":"name: other\nsteps: [{name: a, approve: {}}]"}`} {
		if _, err := st.PutRecord(t.Context(), gaff.Record{Kind: "workflow", Name: name, Value: []byte(value), History: 2}); err != nil {
			t.Fatal(err)
		}
	}
	n := newNode(t, st, text("kept", "file"))
	if len(n.engine) != 1 {
		t.Errorf("the engine has %v", n.engine)
	}
	all, err := n.List(t.Context())
	if err != nil || len(all) != 4 {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, w := range all {
		if usable := w.Name == "kept"; usable != (w.Fault == nil) || usable != (w.Compiled != nil) {
			t.Errorf("%s: fault %v", w.Name, w.Fault)
		}
	}
	if _, err := n.Update(t.Context(), "torn", text("torn", "mended"), 0, ""); err != nil || n.engine["torn"] != "mended" {
		t.Errorf("mended: %v, the engine has %v", err, n.engine)
	}
}
