package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

func (p *program) mediaCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Media]{
		use: "list", short: "List files, newest first", path: "/api/v1/media",
		heads: []string{"ID", "TYPE", "SIZE", "STORAGE", "PROJECT", "JOB", "CREATED", "URL"},
		query: &wire.MediaQuery{},
		cells: func(m wire.Media) []string {
			size, address := "-", string(m.StoredURL)
			if m.Size != nil {
				size = strconv.FormatInt(*m.Size, 10)
			}
			if address == "" {
				address = m.URL
			}
			return []string{
				clean(m.ID), clean(m.MediaType), size, clean(orDash(m.Storage)), cut(orDash(m.ProjectID), 40), clean(orDash(m.JobID)), stamp(m.CreatedAt), cut(address, 300),
			}
		},
	})
	return group("media", "The files that jobs produced", list,
		showCommand(p, showing[wire.Media]{
			use: "show ID", short: "Show a file: its job, URLs and copy", path: "/api/v1/media", others: "gaff media list", print: p.showMedia,
		}),
		p.mediaGetCommand(), p.mediaZipCommand(), p.mediaLinkCommand(), p.mediaRetryCommand(), p.mediaDeleteCommand())
}

func (p *program) showMedia(_ context.Context, _ *client, m *wire.Media) error {
	t := newTable(p.Stdout)
	for _, pair := range [][2]string{
		{"id", m.ID}, {"type", m.MediaType}, {"content type", string(m.ContentType)}, {"job", m.JobID}, {"project", string(m.ProjectID)},
		{"position", m.Position}, {"sha256", string(m.SHA256)}, {"storage", m.Storage}, {"storage error", string(m.StorageError)},
	} {
		t.pair(pair[0], clean(pair[1]))
	}
	if m.Size != nil {
		t.row("size", strconv.FormatInt(*m.Size, 10)+" bytes")
	}
	t.row("created", stamp(m.CreatedAt))
	t.row("stored", stamp(m.StoredAt))
	t.pair("url", cut(m.URL, 300))
	t.pair("stored url", clean(m.StoredURL))
	t.pair("thumbnail url", clean(m.ThumbnailURL))
	t.row("expire", stamp(m.ExpiresAt))
	t.pair("link", clean(m.LinkURL))
	t.pair("thumbnail link", clean(m.LinkSmallURL))
	if err := t.flush(); err != nil {
		return err
	}
	if len(m.Metadata) > 0 {
		fmt.Fprintln(p.Stdout, "\nmetadata:")
		return writeIndented(p.Stdout, m.Metadata)
	}
	return nil
}

func (p *program) mediaGetCommand() *cobra.Command {
	var output string
	var thumbnail bool
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Download the stored copy of a file",
		Long: `Download the stored copy of a file under its own name into the working folder, or to the file
of --output; "-" is the standard output. An existing file is only overwritten if --output
names it.`,
		Example: `  gaff media get med_01KA… -o lighthouse.png
  gaff media get med_01KA… -o - | mpv -`,
		Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error { return p.getMedia(ctx, args[0], output, thumbnail) }),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write to; - is the standard output (default: the file's own name)")
	cmd.Flags().BoolVar(&thumbnail, "thumbnail", false, "the small picture of an image instead")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) getMedia(ctx context.Context, id, output string, thumbnail bool) error {
	if output == "-" && p.terminal(p.Stdout) {
		return usagef("--output -: the standard output is a terminal; redirect it, or name a file")
	}
	c, err := p.dial()
	if err != nil {
		return err
	}
	what := "/file"
	if thumbnail {
		what = "/thumbnail"
	}
	resp, err := c.send(ctx, http.MethodGet, "/api/v1/media/"+url.PathEscape(id)+what, nil, nil, http.Header{"Accept": {"*/*"}})
	if e, ok := errors.AsType[*apiError](err); ok && e.status == http.StatusNotFound {
		e.next = `"gaff media show ` + clean(id) + `" says whether a copy is stored, and why not`
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if output == "-" {
		_, err := io.Copy(p.Stdout, resp.Body)
		return err
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if output == "" {
		output, flags = downloadName(resp.Header, id), os.O_WRONLY|os.O_CREATE|os.O_EXCL
	}
	return p.saveDownload(resp, id, output, flags&os.O_EXCL == 0)
}

// saveDownload writes a response to a file. Written under another name first: an incomplete file
// must not look complete.
func (p *program) saveDownload(resp *http.Response, what, output string, overwrite bool) error {
	name := p.path(output)
	if !overwrite {
		if _, err := os.Lstat(name); err == nil {
			return fmt.Errorf("%s exists already; name another file with -o, or the same one to overwrite it", output)
		}
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".gaff-*")
	if err != nil {
		return err
	}
	n, err := io.Copy(f, resp.Body)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("download %s: %w", what, err)
	}
	fmt.Fprintf(p.Stdout, "%s  %d bytes  %s\n", clean(output), n, clean(resp.Header.Get("Content-Type")))
	return nil
}

// downloadName returns the file name of the response, without folders.
func downloadName(h http.Header, id string) string {
	_, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	name := filepath.Base(filepath.Clean(strings.ReplaceAll(params["filename"], `\`, "/")))
	if err != nil || name == "." || name == ".." || name == "/" || strings.HasPrefix(name, ".") {
		return filepath.Base(id)
	}
	return clean(name)
}

func (p *program) mediaLinkCommand() *cobra.Command {
	var revoke bool
	cmd := &cobra.Command{
		Use:   "link ID",
		Short: "Give a file a permanent link, or revoke it",
		Long: `Print a permanent link to gaff's copy of a file, for applications that store it: it needs no token
and does not expire. Everyone who has it can read the file until it is revoked. A file has one such
link; after --revoke the next one is another.`,
		Example: `  gaff media link med_01KA…
  gaff media link med_01KA… --revoke`,
		Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error { return p.linkMedia(ctx, args[0], revoke) }),
	}
	cmd.Flags().BoolVar(&revoke, "revoke", false, "revoke the link")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) linkMedia(ctx context.Context, id string, revoke bool) error {
	c, err := p.dial()
	if err != nil {
		return err
	}
	method := http.MethodPost
	if revoke {
		method = http.MethodDelete
	}
	resp, err := c.send(ctx, method, "/api/v1/media/"+url.PathEscape(id)+"/link", nil, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if revoke {
		_, err = fmt.Fprintln(p.Stdout, clean(id)+"  revoked")
		return err
	}
	var m wire.Media
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	_, err = fmt.Fprintln(p.Stdout, clean(m.LinkURL))
	return err
}

func (p *program) mediaRetryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retry ID...",
		Short: "Copy files that have no copy",
		Long:  `Copy files again: those whose copy failed, or that arrived while copies were off.`,
		Args:  arguments(1, -1, "at least one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			var failures []error
			for _, id := range args {
				resp, err := c.send(ctx, http.MethodPost, "/api/v1/media/"+url.PathEscape(id)+"/retry", nil, nil, nil)
				if err != nil {
					failures = append(failures, fmt.Errorf("%s: %w", clean(id), err))
					continue
				}
				_ = resp.Body.Close()
				fmt.Fprintf(p.Stdout, "%s  pending\n", clean(id))
			}
			return errors.Join(failures...)
		}),
	}
	p.clientFlags(cmd)
	return cmd
}

func (p *program) mediaZipCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "zip ID...",
		Short: "Download the copies of several files as one archive",
		Long: `Download the copies of up to 200 files as one archive. MISSING.txt in it names the files without a
copy.`,
		Example: `  gaff media zip med_01KA… med_01KB… -o harbour.zip
  gaff media zip $(gaff media list --project film-1 --json | jq -r .id) -o film-1.zip`,
		Args: arguments(1, -1, "at least one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			resp, err := c.send(ctx, http.MethodGet, "/api/v1/media.zip", url.Values{"id": args}, nil, http.Header{"Accept": {"*/*"}})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return p.saveDownload(resp, "the archive", output, true)
		}),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "media.zip", "file to write to")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) mediaDeleteCommand() *cobra.Command {
	return p.actCommand(acting{
		use: "delete ID", short: "Delete a file and its copy; its job stays", method: http.MethodDelete, path: "/api/v1/media/{id}", done: "deleted", others: "gaff media list",
	})
}
