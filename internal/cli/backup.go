package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/app"
	"gaff/internal/wire"
)

func (p *program) backupCommand() *cobra.Command {
	var o app.BackupOptions
	cmd := &cobra.Command{
		Use:   "backup FILE | --to PLACE",
		Short: "Back up database and files while the gateway runs",
		Long: `With --to, copy the SQLite database and the stored files to a folder or a bucket, as they are at one
moment, and verify the copies. Files that an earlier backup copied there are not copied again.
On PostgreSQL only the files are copied: run pg_dump first. "gaff restore" reads such a backup.
The exit code is 1 if a stored file is missing or damaged.

With FILE, copy the SQLite database alone into a new file, and verify it. "gaff restore --from FILE" reads it.

With --recipient, which can be repeated, the backup is encrypted with age to each of the public keys;
"gaff restore --identity" decrypts it with the key of any of them.`,
		Example: `  gaff backup --to /mnt/backup/gaff
  gaff backup --to 's3://backups/gaff?region=eu-central-1'
  gaff backup --to /mnt/backup/gaff --recipient age1…
  gaff backup copy.db`,
		Args: arguments(0, 1, "the FILE to make, or --to"),
		RunE: work(func(ctx context.Context, args []string) error {
			cfg, err := p.loadLocal()
			if err != nil {
				return err
			}
			switch {
			case o.To == "" && len(args) == 1:
				return p.backup(ctx, cfg, args[0], o.Recipients, p.Stdout)
			case o.To == "":
				return usagef("name a new FILE for the database alone, or --to and a folder or bucket for database and files")
			case len(args) == 1:
				return usagef("unexpected argument %q beside --to", args[0])
			}
			o.To = p.place(o.To)
			return app.BackupTo(ctx, cfg, o, p.Stdout, p.Stderr)
		}),
	}
	cmd.Flags().StringVar(&o.To, "to", "", "folder, or URL such as s3://bucket/prefix (as GAFF_MEDIA_URL)")
	cmd.Flags().StringArrayVar(&o.Recipients, "recipient", nil, "encrypt to this recipient age1… (\"gaff secrets recipient\"); repeatable")
	cmd.Flags().BoolVar(&o.NoMedia, "no-media", false, "do not copy files")
	cmd.Flags().BoolVar(&o.Verify, "verify", false, "also read the files that earlier backups copied, and replace damaged ones")
	p.settingFlags(cmd, "GAFF_DATA_DIR", "GAFF_DATABASE_URL", "GAFF_MEDIA_URL")
	return cmd
}

func (p *program) restoreCommand() *cobra.Command {
	var o app.RestoreOptions
	var list bool
	cmd := &cobra.Command{
		Use:   "restore --from PLACE",
		Short: "Restore a backup of database and files into a new data folder",
		Long: `Restore what "gaff backup --to" copied: the SQLite database into the data folder, which must not have one, and
the files into the storage of GAFF_MEDIA_URL. Everything is verified. The database gets its name last, so an
interrupted restore can be repeated. On PostgreSQL, run pg_restore first; the files are restored.
Webhooks that were received after the backup are not in it, unless their senders still retry.

With a FILE that "gaff backup FILE" made, restore the SQLite database alone.`,
		Example: `  gaff restore --from /mnt/backup/gaff --data-dir /var/lib/gaff
  gaff restore --from /mnt/backup/gaff --identity backup.key
  gaff restore --from s3://backups/gaff --list`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			if o.From == "" {
				return usagef("--from: name the folder or the bucket of the backup")
			}
			cfg, err := p.load()
			if err != nil {
				return err
			}
			o.From = p.place(o.From)
			if o.Identity != "" {
				o.Identity = p.path(o.Identity)
			}
			if list {
				return p.listSnapshots(ctx, o.From)
			}
			return app.Restore(ctx, cfg, o, p.Stdout, p.Stderr)
		}),
	}
	cmd.Flags().StringVar(&o.From, "from", "", "folder, URL such as s3://bucket/prefix, or FILE")
	cmd.Flags().StringVar(&o.Identity, "identity", "", "file with the key AGE-SECRET-KEY-1… that decrypts the backup")
	cmd.Flags().StringVar(&o.Snapshot, "snapshot", "", "name of a snapshot (default: the newest)")
	cmd.Flags().BoolVar(&o.NoMedia, "no-media", false, "do not restore files")
	cmd.Flags().BoolVar(&list, "list", false, "list the snapshots instead")
	p.settingFlags(cmd, "GAFF_DATA_DIR", "GAFF_DATABASE_URL", "GAFF_MEDIA_URL")
	return cmd
}

func (p *program) listSnapshots(ctx context.Context, from string) error {
	list, err := app.Snapshots(ctx, from)
	if err != nil {
		return err
	}
	t := newSheet("SNAPSHOT", "CREATED", "EVENTS", "FILES", "ENCRYPTED", "GAFF")
	for _, s := range list {
		events := "-" // on PostgreSQL
		if s.Database != nil {
			events = strconv.FormatInt(s.Database.Events, 10)
		}
		encrypted := "no"
		if len(s.Recipients) > 0 {
			encrypted = "yes"
		}
		t.row(clean(s.Name), stamp(wire.Time{Time: s.Created}), events, strconv.FormatInt(s.Files, 10), encrypted, clean(s.Version))
	}
	if len(list) == 0 {
		fmt.Fprintln(p.Stderr, "no snapshots")
	}
	return p.show(t)
}

// place resolves a folder as paths of the command line are; URLs stay.
func (p *program) place(text string) string {
	if strings.Contains(text, "://") {
		return text
	}
	return p.path(text)
}
