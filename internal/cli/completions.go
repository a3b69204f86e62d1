package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gaff/internal/standin"
	"gaff/provider/all"
)

const (
	// completionTime bounds the call that completes a word: a shell waits for it.
	completionTime = 2 * time.Second
	// completions is how many words are offered at most.
	completions = 100
)

// enumAnnotation has the values that a flag takes.
const enumAnnotation = "gaff_enum"

// idsOf has the list of the API with what the argument of a command names. The key is the command,
// or the group of commands.
var idsOf = map[string]string{
	"jobs": "/api/v1/jobs", "events": "/api/v1/events", "runs": "/api/v1/runs", "media": "/api/v1/media", "deliveries": "/api/v1/deliveries",
	"rejections": "/api/v1/rejections", "issues": "/api/v1/issues", "projects": "/api/v1/projects", "workflows": "/api/v1/workflows",
	"destinations": "/api/v1/destinations", "sources": "/api/v1/sources", "keys": "/api/v1/keys", "sessions": "/api/v1/sessions",
	"scheduled": "/api/v1/scheduled-events",
	"send":      "/api/v1/sources", "sign": "/api/v1/sources", "runs start": "/api/v1/workflows", "events rescue": "/api/v1/rejections",
}

// namesOf has the list of the API with the values of a flag.
var namesOf = map[string]string{
	"source": "/api/v1/sources", "destination": "/api/v1/destinations", "handler": "/api/v1/destinations", "project": "/api/v1/projects",
	"workflow": "/api/v1/workflows", "job": "/api/v1/jobs", "event": "/api/v1/events",
}

// choices are the values of flags that are known without a gateway.
func choices() map[string][]string {
	var providers []string
	for _, p := range all.Providers() {
		providers = append(providers, p.Name)
	}
	return map[string][]string{
		"role": {"viewer", "operator", "admin"}, "provider": providers, "fault": strings.Split(standin.FaultNames(), ", "),
		"log-format": {"text", "json"}, "log-level": {"debug", "info", "warn", "error"},
	}
}

// addCompletions lets shells complete ids, names and the values of flags in all commands below cmd.
func (p *program) addCompletions(cmd *cobra.Command) {
	fixed := choices()
	for _, sub := range cmd.Commands() {
		p.addCompletions(sub)
		name := strings.TrimPrefix(sub.CommandPath(), "gaff ")
		group, _, _ := strings.Cut(name, " ")
		_, argument, _ := strings.Cut(sub.Use, " ")
		path := idsOf[name]
		if path == "" && takesID(argument) && !slices.Contains([]string{"create", "add", "register"}, sub.Name()) {
			path = idsOf[group]
		}
		if path != "" {
			sub.ValidArgsFunction = p.complete(path, !strings.HasSuffix(argument, "...") && !strings.HasSuffix(argument, "...]"))
		}
		sub.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			switch values, list := f.Annotations[enumAnnotation], namesOf[f.Name]; {
			case values == nil && fixed[f.Name] == nil && list != "":
				_ = sub.RegisterFlagCompletionFunc(f.Name, p.complete(list, false))
			case values != nil || fixed[f.Name] != nil:
				_ = sub.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(slices.Concat(values, fixed[f.Name]), cobra.ShellCompDirectiveNoFileComp))
			}
		})
	}
}

// takesID reports whether an argument of a command's use is the id or the name of something that exists.
func takesID(argument string) bool {
	word := strings.Trim(argument, "[].…")
	return word == "ID" || word == "NAME" || word == "SOURCE" || word == "WORKFLOW"
}

// complete offers the newest ids of a list of the API, or nothing if no gateway answers. once is for
// commands with one argument.
func (p *program) complete(path string, once bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) (words []cobra.Completion, _ cobra.ShellCompDirective) {
		const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		if once && len(args) > 0 {
			return nil, directive
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionTime)
		defer cancel()
		if cmd.PreRunE != nil && cmd.PreRunE(cmd, args) != nil { // reads the flags that name the gateway
			return nil, directive
		}
		c, err := p.dial()
		if err != nil {
			return nil, directive
		}
		_, _ = c.list(ctx, path, url.Values{}, completions, func(doc json.RawMessage) error {
			var d completed
			if json.Unmarshal(doc, &d) == nil && strings.HasPrefix(d.word(), begun) && !slices.Contains(args, d.word()) {
				words = append(words, cobra.CompletionWithDesc(clean(d.word()), clean(d.description())))
			}
			return nil
		})
		return words, directive
	}
}

// completed has the members by which people recognize a document of the API.
type completed struct {
	ID, Name, Source, Model, Type, Workflow, Handler, Status, State, Title, Reason string
}

func (d completed) word() string {
	if d.ID != "" {
		return d.ID
	}
	return d.Name
}

func (d completed) description() string {
	parts := []string{d.Source, d.Model, d.Workflow, d.Handler, d.Type, d.Title, d.Status, d.State, d.Reason}
	if d.ID != "" {
		parts = append([]string{d.Name}, parts...)
	}
	parts = slices.DeleteFunc(parts, func(text string) bool { return text == "" })
	return cut(strings.Join(parts, ", "), 60)
}

// annotateEnum notes the values that a flag takes, for completions.
func annotateEnum(flags *pflag.FlagSet, name string, values ...string) {
	_ = flags.SetAnnotation(name, enumAnnotation, values)
}
