package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
	"gaff/workflow"
)

const listWorkflows = "gaff workflows list"

// workflowPath is the path of a workflow in the API, with what follows its name.
func workflowPath(name, more string) string {
	return "/api/v1/workflows/" + url.PathEscape(name) + more
}

func (p *program) workflowsApplyCommand() *cobra.Command {
	var revision int64
	var asJSON bool
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Write a workflow to a running gateway, as a new one or a new revision",
		Long: `Write the workflow of a file to a running gateway, which all nodes use at once: a new workflow, or
a new revision of the one with its name. The gateway checks it first; all faults are printed.
With --revision, it is only written if that revision is the stored one. A workflow in the
gateway's own folder of workflows cannot be written: change its file.`,
		Example: "  gaff workflows apply film.yaml",
		Args:    arguments(1, 1, "one FILE, or - for the standard input"),
		RunE: work(func(ctx context.Context, args []string) error {
			text, err := p.readInput(args[0])
			if err != nil {
				return err
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			name, err := p.remoteCheck(ctx, c, args[0], string(text))
			if err != nil {
				return err
			}
			doc, raw, err := writeWorkflow(ctx, c, name, string(text), revision)
			if err != nil {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			_, err = fmt.Fprintf(p.Stdout, "%s: revision %d\n", clean(doc.Name), doc.Revision)
			return err
		}),
	}
	cmd.Flags().Int64Var(&revision, "revision", 0, "the stored revision that is replaced; fails if another one is stored")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

// writeWorkflow writes a revision, or a workflow that is not there yet.
func writeWorkflow(ctx context.Context, c *client, name, text string, revision int64) (*wire.WorkflowDetail, json.RawMessage, error) {
	doc, raw, err := decodeCall[wire.WorkflowDetail](ctx, c, apiCall{
		method: http.MethodPut, path: workflowPath(name, ""), body: wire.WorkflowUpdate{WorkflowText: wire.WorkflowText{Text: text}, Revision: revision},
	})
	if e, ok := errors.AsType[*apiError](err); ok && e.status == http.StatusNotFound && revision == 0 {
		return decodeCall[wire.WorkflowDetail](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/workflows", body: wire.WorkflowText{Text: text}})
	}
	return doc, raw, err
}

// remoteCheck has a gateway check a text, prints its faults, and returns its name.
func (p *program) remoteCheck(ctx context.Context, c *client, file, text string) (name string, err error) {
	doc, _, err := decodeCall[wire.WorkflowChecked](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/workflows/check", body: wire.WorkflowCheck{Text: text}})
	if err != nil || doc.Valid {
		if doc != nil {
			name = string(doc.Name)
		}
		return name, err
	}
	for _, f := range doc.Faults {
		problem := string(f.Problem)
		if f.Hint != "" {
			problem += "; " + string(f.Hint)
		}
		fault := workflow.Fault{File: file, Line: f.Line, Column: f.Column, Path: string(f.Path), Problem: problem}
		fmt.Fprintln(p.Stderr, clean(fault.String()))
	}
	return "", errReported
}

func (p *program) workflowsRevisionsCommand() *cobra.Command {
	return callCommand(p, calling[wire.List[wire.WorkflowRevision]]{
		use: "revisions NAME", short: "List the revisions of a workflow that was written by API or console", args: arguments(1, 1, "one NAME"),
		call: func(args []string) (apiCall, error) {
			return apiCall{method: http.MethodGet, path: workflowPath(args[0], "/revisions"), others: listWorkflows}, nil
		},
		print: func(_ context.Context, _ *client, list *wire.List[wire.WorkflowRevision]) error {
			t := newTable(p.Stdout)
			t.row("REVISION", "WRITTEN", "BY")
			for _, r := range list.Docs {
				t.row(strconv.FormatInt(r.Revision, 10), when(r.At), cut(string(r.By), 60))
			}
			return t.flush()
		},
	})
}

func (p *program) workflowsRevertCommand() *cobra.Command {
	return callCommand(p, calling[wire.WorkflowDetail]{
		use: "revert NAME REVISION", short: "Write the text of an older revision of a workflow as a new one", args: arguments(2, 2, "a NAME and a REVISION"),
		call: func(args []string) (apiCall, error) {
			to, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil || to < 1 {
				return apiCall{}, usagef(`revision %q: want a number of "gaff workflows revisions %s"`, args[1], args[0])
			}
			return apiCall{method: http.MethodPost, path: workflowPath(args[0], "/revert"), body: wire.WorkflowRevert{To: to}, others: "gaff workflows revisions " + args[0]}, nil
		},
		print: func(_ context.Context, _ *client, doc *wire.WorkflowDetail) error {
			_, err := fmt.Fprintf(p.Stdout, "%s: revision %d\n", clean(doc.Name), doc.Revision)
			return err
		},
	})
}

func (p *program) workflowsDeleteCommand() *cobra.Command {
	return p.actCommand(acting{
		use: "delete NAME", short: "Delete a workflow that was written by API or console; its runs go on", method: http.MethodDelete,
		path: "/api/v1/workflows/{id}", done: "deleted", others: listWorkflows,
	})
}

// fileName is what the names of workflows are like; the gateway is not trusted with paths.
var fileName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// writeWorkflowFiles writes the workflows of a configuration document as files into a folder, and
// returns the document without them.
func (p *program) writeWorkflowFiles(dir string, raw []byte) ([]byte, error) {
	var doc map[string]json.RawMessage
	var workflows map[string]struct{ Text string }
	err := json.Unmarshal(raw, &doc)
	if err == nil && doc["workflows"] != nil {
		err = json.Unmarshal(doc["workflows"], &workflows)
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if err := os.MkdirAll(p.path(dir), 0o755); err != nil {
		return nil, err
	}
	for name, w := range workflows {
		if !fileName.MatchString(name) {
			return nil, fmt.Errorf("workflow %.80q: not a name for a file", name)
		}
		file := filepath.Join(dir, name+".yaml")
		switch old, err := os.ReadFile(p.path(file)); {
		case err == nil && bytes.Equal(old, []byte(w.Text)):
			continue
		case err == nil:
			return nil, fmt.Errorf("%s exists with another text; move it away first", file)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		if err := os.WriteFile(p.path(file), []byte(w.Text), 0o644); err != nil {
			return nil, err
		}
		fmt.Fprintln(p.Stderr, "wrote", clean(file))
	}
	delete(doc, "workflows")
	return json.Marshal(doc)
}
