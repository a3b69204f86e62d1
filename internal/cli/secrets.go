package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"gaff/internal/secretbox"
	"gaff/internal/wire"
)

func (p *program) secretsCommand() *cobra.Command {
	key := &cobra.Command{
		Use: "key", Short: "Make a key for GAFF_SECRETS_KEY, or an identity for backups",
		Long: `Print a new key, which encrypts the secrets in the database. Store it where backups of the database
are not: without the key they cannot be read.`,
		Example: `  gaff secrets key > /etc/gaff/secrets.key   # then GAFF_SECRETS_KEY_FILE=/etc/gaff/secrets.key`,
		Args:    cobra.NoArgs,
		RunE: work(func(context.Context, []string) error {
			text, err := secretbox.NewKey()
			if err == nil {
				_, err = fmt.Fprintln(p.Stdout, text)
			}
			return err
		}),
	}
	recipient := &cobra.Command{
		Use: "recipient FILE", Short: "Print the recipient of an identity, for gaff backup --recipient",
		Long: `Print the public key age1… of each key in a file that "gaff secrets key" made. Backups are encrypted to
it; only the file decrypts them.`,
		Example: `  gaff secrets key > backup.key
  gaff secrets recipient backup.key`,
		Args: arguments(1, 1, "the FILE with the identity"),
		RunE: work(func(_ context.Context, args []string) error {
			_, recipients, err := secretbox.Identities(p.path(args[0]))
			for _, text := range recipients {
				fmt.Fprintln(p.Stdout, text)
			}
			return err
		}),
	}
	keys := listOwnKeys(p)
	return group("secrets", "Encrypt the secrets in the database, and backups", key, recipient, keys, rotateOwnKey(p),
		p.secretsCall("status", "Count the secrets in the database by the keys that encrypt them", "", http.MethodGet, "/api/v1/secrets"),
		p.secretsCall("rotate", "Encrypt the secrets in the database with the first key",
			`Have the running gateway read GAFF_SECRETS_KEY_FILE (or gaff.yaml) again, and encrypt all secrets in the
database with the first key. The keys behind it can be removed afterwards. If several nodes share
the database, first add the new key behind the old one on all of them.`, http.MethodPost, "/api/v1/secrets/rotate"))
}

func (p *program) secretsCall(use, short, long, method, path string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			doc, raw, err := decodeCall[wire.Secrets](ctx, c, apiCall{method: method, path: path})
			if err != nil {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			if method != http.MethodGet {
				fmt.Fprintf(p.Stdout, "%s encrypted now\n", counted(doc.Encrypted, "secret"))
			}
			if !doc.Enabled {
				fmt.Fprintln(p.Stdout, "GAFF_SECRETS_KEY is not set: new secrets are stored in plain text")
			}
			t := newTable(p.Stdout)
			t.pair("encrypted with the first key", fmt.Sprint(doc.Current))
			t.pair("encrypted with another key", fmt.Sprint(doc.Older))
			t.pair("in plain text", fmt.Sprint(doc.Plain))
			t.pair("encrypted with a missing key", fmt.Sprint(doc.Locked))
			return t.flush()
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func listOwnKeys(p *program) *cobra.Command {
	return callCommand(p, calling[wire.SigningKeys]{
		use: "keys", short: "List gaff's own keys, which sign links, webhook URLs and callbacks",
		args: cobra.NoArgs,
		call: func([]string) (apiCall, error) {
			return apiCall{method: http.MethodGet, path: "/api/v1/signing-keys"}, nil
		},
		print: func(_ context.Context, _ *client, doc *wire.SigningKeys) error {
			t := newTable(p.Stdout, "KEY", "ACCEPTED")
			for _, k := range doc.Docs {
				t.row(clean(k.Name), strconv.Itoa(k.Accepted))
			}
			return t.flush()
		},
	})
}

func rotateOwnKey(p *program) *cobra.Command {
	var rotation wire.KeyRotation
	cmd := callCommand(p, calling[wire.SigningKey]{
		use: "rotate-key links|webhooks|callbacks", short: "Sign with a new key; the former ones are still accepted",
		long: `Make a new key of gaff's own, while the gateway runs. "links" signs links to files, "webhooks" the
webhook URLs of jobs, "callbacks" the requests to jobs' callback URLs (the former secret signs them, too).
Up to four keys are accepted. With --drop, those before the one that signs now no longer are: their links
and webhook URLs stop working. If nodes share the database, the new key signs after half a minute.`,
		args: arguments(1, 1, "one of links, webhooks and callbacks"),
		call: func(args []string) (apiCall, error) {
			return apiCall{method: http.MethodPost, path: "/api/v1/signing-keys/" + url.PathEscape(args[0]) + "/rotate", body: rotation}, nil
		},
		print: func(_ context.Context, _ *client, k *wire.SigningKey) error {
			fmt.Fprintf(p.Stdout, "the new key of %s signs from %s; %s accepted\n", clean(k.Name), stamp(k.SignsFrom), counted(k.Accepted, "key"))
			return nil
		},
	})
	cmd.Flags().BoolVar(&rotation.Drop, "drop", false, "no longer accept the keys before the one that signs now")
	return cmd
}
