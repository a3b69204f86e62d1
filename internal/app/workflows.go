package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/safehttp"
	"gaff/jobs"
	"gaff/provider/all"
	"gaff/workflow"
)

// DefaultWorkflows is the folder that is read where none is configured, if it exists.
const DefaultWorkflows = "workflows"

// ReadWorkflow reads and checks one file. described are the names of described providers.
func ReadWorkflow(file string, described ...string) (*workflow.Compiled, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > workflow.MaxFile {
		return nil, fmt.Errorf("%s: longer than %d KiB", file, workflow.MaxFile>>10)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return workflow.Parse(file, text, slices.Concat(all.Names(), described)...)
}

// providerNames lists the providers that steps of workflows can submit to.
func providerNames(cfg *config.Config) []string {
	return slices.Concat(all.Names(), slices.Sorted(maps.Keys(cfg.Described)))
}

// WorkflowFiles lists the workflow files of a folder: those that end in .yaml or .yml.
func WorkflowFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if ext := filepath.Ext(entry.Name()); !entry.IsDir() && (ext == ".yaml" || ext == ".yml") && entry.Name()[0] != '.' {
			files = append(files, filepath.Join(dir, entry.Name()))
		}
	}
	return files, nil
}

// LoadWorkflows reads the workflow folder. The error joins all that is wrong.
func LoadWorkflows(cfg *config.Config) ([]*workflow.Compiled, error) {
	dir := cfg.WorkflowsDir
	if dir == "" {
		dir = DefaultWorkflows
	}
	files, err := WorkflowFiles(dir)
	if errors.Is(err, fs.ErrNotExist) && cfg.WorkflowsDir == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("workflows: %w; GAFF_WORKFLOWS names the folder", err)
	}
	var cs []*workflow.Compiled
	var faults []error
	byName := map[string]string{}
	for _, file := range files {
		c, err := ReadWorkflow(file, slices.Sorted(maps.Keys(cfg.Described))...)
		switch {
		case err != nil:
			faults = append(faults, err)
		case byName[c.Name] != "":
			faults = append(faults, fmt.Errorf("%s: a workflow named %q is already in %s", file, c.Name, byName[c.Name]))
		default:
			byName[c.Name] = file
			cs = append(cs, c)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("workflows in %s cannot be used; mend them, or name another folder with GAFF_WORKFLOWS:\n%w", dir, err)
	}
	return cs, nil
}

// CopyExamples writes the workflows that come with gaff into a folder, and returns the
// files that it wrote. Existing files stay unchanged.
func CopyExamples(dir string) (wrote, kept []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	for name, text := range workflow.Examples() {
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			kept = append(kept, path)
			continue
		}
		if err == nil {
			_, err = f.Write(text)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return wrote, kept, err
		}
		wrote = append(wrote, path)
	}
	slices.Sort(wrote)
	slices.Sort(kept)
	return wrote, kept, nil
}

// engineStore is what workflows need of a store.
type engineStore = workflow.Store

// newEngine builds what moves the runs of workflows.
func newEngine(cfg *config.Config, st engineStore, gw *gaff.Gateway, service workflow.Jobs, sources []Source, functions func(string) workflow.Function, log *slog.Logger) (*workflow.Engine, error) {
	allow, err := safehttp.Prefixes(cfg.AllowAddresses)
	if err != nil {
		return nil, err
	}
	limits, err := workflowLimits(cfg.WorkflowLimits, cfg.Described)
	if err != nil {
		return nil, err
	}
	secrets := map[string]string{}
	for _, secret := range cfg.WorkflowSecrets {
		name, value, ok := strings.Cut(string(secret), "=")
		if !ok || name == "" {
			return nil, errors.New("GAFF_WORKFLOW_SECRETS: want name=value, several by commas")
		}
		secrets[strings.TrimSpace(name)] = value
	}
	interpreters := map[string]jobs.Interpreter{}
	for _, src := range sources {
		if src.Interpreter != nil {
			interpreters[src.Name] = src.Interpreter
		}
	}
	e := workflow.New(workflow.Options{
		Store: st, Router: gw, Jobs: service, Client: safehttp.New(safehttp.Options{Allow: allow}), Secrets: secrets, Limits: limits,
		Interpreters: interpreters, Functions: functions, Log: log,
	})
	e.Register(gw)
	return e, nil
}

// workflowLimits reads texts such as "provider=2".
func workflowLimits(texts []string, described map[string]config.Provider) (map[string]int, error) {
	limits := map[string]int{}
	for _, text := range texts {
		name, number, _ := strings.Cut(text, "=")
		n, err := strconv.Atoi(strings.TrimSpace(number))
		name = strings.TrimSpace(name)
		_, known := all.Find(name)
		_, is := described[name]
		if err != nil || n < 1 || !known && !is {
			return nil, fmt.Errorf("GAFF_WORKFLOW_LIMITS: %q: want provider=number, such as %s=2, separated by commas; the providers are %s",
				text, all.Default().Name, strings.Join(slices.Concat(all.Names(), slices.Sorted(maps.Keys(described))), ", "))
		}
		limits[name] = n
	}
	return limits, nil
}

// reloadPatience bounds a reload's writing.
const reloadPatience = 10 * time.Second

// serviceJobs has the jobs of workflows submitted and cancelled by the ledger.
type serviceJobs struct{ *jobs.Service }

func (l serviceJobs) Enqueue(ctx context.Context, tx jobs.Tx, s workflow.Submission) (string, error) {
	j, _, err := l.Service.Enqueue(ctx, tx, jobs.Submission{
		Provider: s.Provider, Model: s.Model, Kind: s.Kind, ProjectID: s.ProjectID, UserID: s.UserID, Input: s.Input,
		Metadata: s.Metadata, IdempotencyKey: s.IdempotencyKey, RunID: s.RunID, StepID: s.StepID,
		Fallback: s.Fallback, NoReuse: s.NoReuse, Priority: s.Priority,
	})
	if err != nil {
		return "", err
	}
	return j.ID, nil
}

// Refused emits the event about a budget that had no room.
func (l serviceJobs) Refused(ctx context.Context, tx jobs.Tx, err error) error {
	return l.BudgetReached(ctx, tx, err)
}

// Cancel asks the provider to stop. That the work has ended meanwhile is as good.
func (l serviceJobs) Cancel(ctx context.Context, jobID string) error {
	_, err := l.Service.Cancel(ctx, jobID)
	if errors.Is(err, gaff.ErrConflict) || errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	return err
}
