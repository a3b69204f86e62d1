package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"gaff/internal/wire"
	"gaff/provider/all"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// jobInput reads what a job gets: JSON itself, @FILE, or - for the standard input.
func (p *program) jobInput(flag, text string) (json.RawMessage, error) {
	raw := []byte(text)
	if name, ok := strings.CutPrefix(text, "@"); ok || text == "-" {
		var err error
		if raw, err = p.readInput(name); err != nil {
			return nil, err
		}
	}
	if !json.Valid(raw) {
		return nil, usagef("--%s is no JSON; write it as '{\"prompt\":\"a dog\"}', as @FILE, or as - for the standard input", flag)
	}
	return raw, nil
}

func (p *program) jobsSubmitCommand() *cobra.Command {
	var input, metadata string
	var watch, asJSON bool
	body := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "submit MODEL",
		Short: "Submit work to a provider, with the webhook address filled in",
		Long: `Submit work. MODEL is the model at fal, such as fal-ai/flux/dev, or the service at Last
Frame, such as video-stitch. Prints the job's id; with --watch, follows it to its end.

The gateway writes the job down before it sends anything, and sends it once. Give --key to
make a repetition of this very command harmless too.`,
		Example: `  gaff jobs submit fal-ai/flux/dev --input '{"prompt":"a dog"}' --project film-1 --watch
  gaff jobs submit video-stitch --provider lastframe --input @clips.json`,
		Args: arguments(1, 1, "one MODEL"),
		RunE: work(func(ctx context.Context, args []string) error {
			request := map[string]any{"model": args[0]}
			for name, value := range body {
				if *value != "" {
					request[name] = *value
				}
			}
			for _, field := range [...]struct{ name, text string }{{"input", input}, {"metadata", metadata}} {
				if field.text == "" {
					continue
				}
				raw, err := p.jobInput(field.name, field.text)
				if err != nil {
					return err
				}
				request[field.name] = raw
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodPost, "/api/v1/jobs", nil, request)
			if err != nil {
				return err
			}
			var j wire.JobDetail
			if err := json.Unmarshal(raw, &j); err != nil {
				return fmt.Errorf("read the job: %w", err)
			}
			if watch {
				return p.watchJob(ctx, c, j.ID, asJSON)
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			_, err = fmt.Fprintln(p.Stdout, clean(j.ID))
			return err
		}),
	}
	flag := func(field, name, value, usage string) {
		body[field] = new(string)
		cmd.Flags().StringVar(body[field], name, value, usage)
	}
	flag("provider", "provider", all.Default().Name, all.Choice())
	flag("id", "id", "", "the job's id, if it is to be one of your own")
	flag("projectId", "project", "", "the project that the job is for")
	flag("userId", "user", "", "the user that the job is for")
	flag("kind", "kind", "", "image, video, audio or what you call it")
	flag("idempotencyKey", "key", "", "idempotency key: the same one again returns the first job")
	flag("callbackUrl", "callback", "", "an address to which the provider's webhook is passed on")
	cmd.Flags().StringVar(&input, "input", "", "what the model gets: JSON, @FILE, or -")
	cmd.Flags().StringVar(&metadata, "metadata", "", "your own JSON object, which comes back with the job: JSON, @FILE, or -")
	cmd.Flags().BoolVar(&watch, "watch", false, "follow the job to its end; exit code 1 if it fails")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) jobsRegisterCommand() *cobra.Command {
	var asJSON bool
	body := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "register ID",
		Short: "Tell of a job that your application submits by itself",
		Long: `Tell the gateway of a job that your application submits, under an ID of your own: before it
does so, to get the webhook address to submit it with, which is printed; or after, to tell
the provider's name for it (--request-id).`,
		Example: `  gaff jobs register scene-7 --project film-1
  gaff jobs register scene-7 --request-id 764cabcf-b745-4b3e-ae38-1200304cf45b --model fal-ai/flux/dev`,
		Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			request := map[string]any{}
			for name, value := range body {
				if *value != "" {
					request[name] = *value
				}
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodPut, "/api/v1/jobs/"+url.PathEscape(args[0]), nil, request)
			if err != nil {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			var j wire.JobDetail
			if err := json.Unmarshal(raw, &j); err != nil {
				return fmt.Errorf("read the job: %w", err)
			}
			if j.WebhookURL == "" {
				_, err = fmt.Fprintf(p.Stderr, "%s is known; there is no webhook address to give: set WEBHOOK_BASE_URL at the gateway\n", clean(j.ID))
				return err
			}
			_, err = fmt.Fprintln(p.Stdout, clean(j.WebhookURL))
			return err
		}),
	}
	flag := func(field, name, value, usage string) {
		body[field] = new(string)
		cmd.Flags().StringVar(body[field], name, value, usage)
	}
	flag("provider", "provider", all.Default().Name, all.Choice())
	flag("requestId", "request-id", "", "the provider's name for the work")
	flag("model", "model", "", "the model; it is needed to ask after the job")
	flag("projectId", "project", "", "the project that the job is for")
	flag("userId", "user", "", "the user that the job is for")
	flag("kind", "kind", "", "image, video, audio or what you call it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

// jobActionCommand posts to a job's address and prints how it stands then.
func (p *program) jobActionCommand(action, short, long string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: action + " ID", Short: short, Long: long, Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodPost, "/api/v1/jobs/"+url.PathEscape(args[0])+"/"+action, nil, nil)
			if e, ok := errors.AsType[*apiError](err); ok && e.status == http.StatusNotFound {
				e.next = `"gaff jobs list" shows those it knows`
			}
			if err != nil {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			var j wire.JobDetail
			if err := json.Unmarshal(raw, &j); err != nil {
				return fmt.Errorf("read the job: %w", err)
			}
			_, err = fmt.Fprintf(p.Stdout, "%s  %s  %s\n", clean(j.ID), clean(j.Status), cut(j.Error, 200))
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

// callbackSecretsCommand prints what an application needs to verify callbacks.
func (p *program) callbackSecretsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "callback-secrets", Short: "Print the secrets that sign callbacks", Args: arguments(0, 0, ""),
		Long: "Print the secrets that sign what is posted to jobs' callback URLs (Standard Webhooks), one a line. Each of them signs; a receiver needs one. It takes the role admin.",
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodGet, "/api/v1/callback-secrets", nil, nil)
			if err != nil {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			var answer struct{ Secrets []string }
			if err := json.Unmarshal(raw, &answer); err != nil {
				return err
			}
			for _, secret := range answer.Secrets {
				fmt.Fprintln(p.Stdout, clean(secret))
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}
