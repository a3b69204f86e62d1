package cli

import (
	"context"
	"errors"
	"net/http"

	"github.com/spf13/cobra"

	"gaff/internal/app"
	"gaff/internal/wire"
)

func (p *program) compactCommand() *cobra.Command {
	var full, asJSON bool
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Give the free space of the database back, and remove deleted rows from it",
		Long: `Rewrite the database without its free space. Afterwards nothing that was deleted is in the database
file or its write-ahead log.

The command uses the running gateway, or opens the SQLite database if none runs. No webhook is
stored while SQLite rewrites the file: senders wait, or get 503 and retry. A running gateway
rewrites more than 128 MiB only with --full. The disk needs as much free space as the database has.

On PostgreSQL the command runs VACUUM, and with --full VACUUM FULL, which locks each table
while it is rewritten.`,
		Args: cobra.NoArgs,
		RunE: work(func(ctx context.Context, _ []string) error { return p.compact(ctx, full, asJSON) }),
	}
	cmd.Flags().BoolVar(&full, "full", false, "also compact a large database; webhooks are answered 503 meanwhile")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	p.settingFlags(cmd, "GAFF_DATABASE_URL")
	return cmd
}

func (p *program) compact(ctx context.Context, full, asJSON bool) error {
	c, err := p.dialPatiently()
	if errors.Is(err, errNoGateway) {
		cfg, err := p.load()
		if err != nil {
			return err
		}
		return app.Compact(ctx, cfg, full, p.Stdout)
	}
	if err != nil {
		return err
	}
	done, raw, err := decodeCall[wire.Compacted](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/compact", body: map[string]bool{"full": full}})
	if err != nil {
		return err
	}
	if asJSON {
		return writeRawJSON(p.Stdout, raw)
	}
	return app.PrintCompacted(p.Stdout, done.Before, done.After, string(done.Note))
}
