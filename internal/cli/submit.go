package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/jsonscan"
	"gaff/internal/wire"
	"gaff/provider/all"
)

// jobInput reads a JSON object of a flag: the JSON itself, @FILE, or - for the standard input. An
// empty text is nil.
func (p *program) jobInput(flag, text string) (wire.Object, error) {
	if text == "" {
		return nil, nil
	}
	raw := []byte(text)
	if name, ok := strings.CutPrefix(text, "@"); ok || text == "-" {
		var err error
		if raw, err = p.readInput(name); err != nil {
			return nil, err
		}
	}
	if !json.Valid(raw) {
		return nil, usagef("--%s is not JSON; write it as '{\"prompt\":\"a dog\"}', as @FILE, or as - for the standard input", flag)
	}
	return raw, nil
}

// candidates reads the values of --fallback.
func candidates(texts []string) (list []wire.Candidate, err error) {
	for _, text := range texts {
		var c wire.Candidate
		var ok bool
		if strings.HasPrefix(text, "{") {
			if err := jsonscan.Strict([]byte(text), &c); err != nil {
				return nil, usagef("--fallback %q: %v", text, err)
			}
		} else if c.Provider, c.Model, ok = strings.Cut(text, ":"); !ok {
			return nil, usagef("--fallback %q: want provider:model, such as replicate:black-forest-labs/flux-schnell", text)
		}
		list = append(list, c)
	}
	return list, nil
}

// submitInput returns the input of --input, with the prompt of --prompt. Neither is an error: a job
// without input is a mistake that may cost money.
func (p *program) submitInput(input, prompt string) (wire.Object, error) {
	if input == "" && prompt == "" {
		return nil, usagef("the job has no input: add --prompt \"a dog\", or --input with the model's input as JSON ('{}' if it takes none)")
	}
	raw, err := p.jobInput("input", input)
	if err != nil || prompt == "" {
		return raw, err
	}
	members := map[string]json.RawMessage{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, usagef("--prompt needs an --input that is a JSON object, or none")
		}
	}
	if _, ok := members["prompt"]; ok {
		return nil, usagef("--prompt and --input both have a prompt: leave one of them out")
	}
	if members["prompt"], err = json.Marshal(prompt); err != nil {
		return nil, fmt.Errorf("write the input: %w", err)
	}
	return json.Marshal(members)
}

func (p *program) jobsSubmitCommand() *cobra.Command {
	var job wire.JobSubmission
	var input, prompt, metadata string
	var fallback []string
	var alias, fresh, watch, asJSON bool
	cmd := &cobra.Command{
		Use:   "submit MODEL",
		Short: "Submit a job to a provider, with gaff's webhook URL",
		Long: `Submit a job. MODEL is ` + models() + `.
Other providers are set up by providers: in gaff.yaml, from a catalogue (Replicate, OpenAI, Gemini and
others; "gaff providers list") or a description of your own; MODEL is then their name of a model.
Prints the job's id; with --watch, follows the job to its end and prints its files.

The gateway stores the job before it sends anything, and sends it once. With --key, the
command can be repeated without a second job.

With --alias, MODEL is a name of models: in gaff.yaml. With --fallback, the next provider gets the
job if the former one rejects it, or it fails there: never after a submit whose outcome is unknown.`,
		Example: submitExamples(),
		Args:    arguments(1, 1, "one MODEL"),
		RunE: work(func(ctx context.Context, args []string) (err error) {
			job.Model = args[0]
			if alias {
				job.Provider = ""
			}
			if job.Fallback, err = candidates(fallback); err != nil {
				return err
			}
			if job.Input, err = p.submitInput(input, prompt); err != nil {
				return err
			}
			if job.Metadata, err = p.jobInput("metadata", metadata); err != nil {
				return err
			}
			if fresh {
				job.Reuse = new(bool)
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			j, raw, err := decodeCall[wire.JobDetail](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/jobs", body: job})
			switch {
			case err != nil:
				return err
			case watch:
				return p.watchJob(ctx, c, j.ID, asJSON)
			case asJSON:
				return writeRawJSON(p.Stdout, raw)
			}
			_, err = fmt.Fprintln(p.Stdout, clean(j.ID))
			return err
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&job.Provider, "provider", all.Default().Name, all.Choice()+", or a name of providers: in gaff.yaml (gaff providers list has a catalogue)")
	flags.BoolVar(&alias, "alias", false, "MODEL is an alias (models: in gaff.yaml)")
	flags.StringArrayVar(&fallback, "fallback", nil, "provider:model that is used next, or JSON with provider, model, input and result; may be repeated")
	flags.IntVar(&job.Priority, "priority", 0, "-100 to 100: of the provider's jobs that wait, the highest is submitted first; above 10 for admins")
	flags.BoolVar(&fresh, "no-reuse", false, "have the provider do the work even if an earlier job has the result")
	flags.StringVar(&job.ID, "id", "", "an id of your own for the job")
	flags.StringVar(&job.ProjectID, "project", "", "the job's project")
	flags.StringVar(&job.UserID, "user", "", "the job's user")
	flags.StringVar(&job.Kind, "kind", "", "image, video, audio or a name of your own")
	flags.StringVar(&job.IdempotencyKey, "key", "", "idempotency key: a second submit with it returns the first job")
	flags.StringVar(&job.CallbackURL, "callback", "", "a URL that the provider's webhook is passed on to")
	flags.StringVar(&input, "input", "", "the model's input: JSON, @FILE, or -")
	flags.StringVar(&prompt, "prompt", "", "the input's prompt, as text")
	flags.StringVar(&metadata, "metadata", "", "a JSON object of your own, returned with the job: JSON, @FILE, or -")
	flags.BoolVar(&watch, "watch", false, "follow the job to its end; exit code 1 if it fails")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) jobsRegisterCommand() *cobra.Command {
	var job wire.JobRegistration
	cmd := callCommand(p, calling[wire.JobDetail]{
		use: "register ID", short: "Register a job that your application submits itself",
		long: `Register a job that your application submits, under an ID of your own: before the submit,
to get the webhook URL for it, which is printed; or after the submit, to store the
provider's id of the job (--request-id).`,
		example: `  gaff jobs register scene-7 --project film-1
  gaff jobs register scene-7 --request-id 764cabcf-b745-4b3e-ae38-1200304cf45b --model ` + all.Default().Example,
		args: arguments(1, 1, "one ID"),
		call: func(args []string) (apiCall, error) {
			return apiCall{method: http.MethodPut, path: "/api/v1/jobs/" + url.PathEscape(args[0]), body: job}, nil
		},
		print: func(_ context.Context, _ *client, j *wire.JobDetail) (err error) {
			if j.WebhookURL == "" {
				_, err = fmt.Fprintf(p.Stderr, "%s is registered, but has no webhook URL: set WEBHOOK_BASE_URL at the gateway\n", clean(j.ID))
			} else {
				_, err = fmt.Fprintln(p.Stdout, clean(j.WebhookURL))
			}
			return err
		},
	})
	flags := cmd.Flags()
	flags.StringVar(&job.Provider, "provider", all.Default().Name, all.Choice()+", or a name of providers: in gaff.yaml (gaff providers list has a catalogue)")
	flags.StringVar(&job.RequestID, "request-id", "", "the provider's id of the job")
	flags.StringVar(&job.Model, "model", "", "the model; it is needed to poll the job")
	flags.StringVar(&job.ProjectID, "project", "", "the job's project")
	flags.StringVar(&job.UserID, "user", "", "the job's user")
	flags.StringVar(&job.Kind, "kind", "", "image, video, audio or a name of your own")
	return cmd
}

// jobActionCommand posts an action of a job and prints the job's status after it.
func (p *program) jobActionCommand(action, short, long string) *cobra.Command {
	return callCommand(p, calling[wire.JobDetail]{
		use: action + " ID", short: short, long: long, args: arguments(1, 1, "one ID"),
		call: func(args []string) (apiCall, error) {
			return apiCall{method: http.MethodPost, path: "/api/v1/jobs/" + url.PathEscape(args[0]) + "/" + action, others: listJobs}, nil
		},
		print: func(_ context.Context, _ *client, j *wire.JobDetail) error {
			_, err := fmt.Fprintf(p.Stdout, "%s  %s  %s\n", clean(j.ID), clean(j.Status), cut(j.Error, 200))
			return err
		},
	})
}

// holdCommand decides about a job that a budget holds.
func (p *program) holdCommand(action, short string) *cobra.Command {
	var body wire.HoldBody
	cmd := callCommand(p, calling[wire.JobDetail]{
		use: action + " ID", short: short, args: arguments(1, 1, "one ID"),
		long: short + `. gaff jobs list --submit held lists such jobs.
The command needs the role admin.`,
		call: func(args []string) (apiCall, error) {
			return apiCall{method: http.MethodPost, path: "/api/v1/jobs/" + url.PathEscape(args[0]) + "/" + action, body: body, others: listJobs}, nil
		},
		print: func(_ context.Context, _ *client, j *wire.JobDetail) error {
			_, err := fmt.Fprintf(p.Stdout, "%s  %s  %s\n", clean(j.ID), clean(j.Status), cut(j.Error, 200))
			return err
		},
	})
	cmd.Flags().StringVar(&body.Comment, "comment", "", "for the job's log")
	return cmd
}

// callbackSecretsCommand prints the secrets that verify callbacks.
func (p *program) callbackSecretsCommand() *cobra.Command {
	return callCommand(p, calling[wire.CallbackSecrets]{
		use: "callback-secrets", short: "Print the secrets that sign callbacks", args: arguments(0, 0, ""),
		long: `Print the secrets that sign the requests to jobs' callback URLs (Standard Webhooks), one a
line. Each of them signs; a receiver needs one. The command needs the role admin.`,
		call: func([]string) (apiCall, error) {
			return apiCall{method: http.MethodGet, path: "/api/v1/callback-secrets"}, nil
		},
		print: func(_ context.Context, _ *client, doc *wire.CallbackSecrets) error {
			for _, secret := range doc.Secrets {
				fmt.Fprintln(p.Stdout, clean(secret))
			}
			return nil
		},
	})
}

// models says for each provider what MODEL is, with an example.
func models() string {
	var list []string
	for _, p := range all.Providers() {
		list = append(list, fmt.Sprintf("the %s at %s, such as %s", p.Model, p.Title, p.Example))
	}
	return strings.Join(list, ", or ")
}

// submitExamples has a command for each provider.
func submitExamples() string {
	var list []string
	for i, p := range all.Providers() {
		if i == 0 {
			list = append(list, fmt.Sprintf("  gaff jobs submit %s --input '%s' --project film-1 --watch", p.Example, p.Input))
		} else {
			list = append(list, fmt.Sprintf("  gaff jobs submit %s --provider %s --input '%s'", p.Example, p.Name, p.Input))
		}
	}
	return strings.Join(list, "\n")
}
