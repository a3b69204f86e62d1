package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

// showKeys prints when each configured key was last used, to find those that can be removed.
func (p *program) showKeys(s *wire.Source) error {
	used := map[string]wire.KeyUse{}
	for _, u := range s.Keys {
		used[u.KeyID] = u
	}
	t := newTable(p.Stdout)
	for i := 1; ; i++ {
		id, ok := s.About[fmt.Sprintf("key %d", i)]
		if !ok {
			break
		}
		when := "never used"
		if u, ok := used[id]; ok {
			when = "last used " + stamp(u.LastUsedAt)
		}
		if i > 1 {
			when += " (accepted; the first one signs)"
		}
		t.row(fmt.Sprintf("key %d", i), clean(id)+", "+when)
		delete(used, id)
	}
	for _, u := range s.Keys {
		if _, left := used[u.KeyID]; left {
			t.row("key", clean(u.KeyID)+", last used "+stamp(u.LastUsedAt)+" (fetched, or no longer configured)")
		}
	}
	return t.flush()
}

// sourceKeyOptions are the flags of "gaff sources key".
type sourceKeyOptions struct {
	forget, asJSON bool
	open           time.Duration
}

func (p *program) sourceKeyCommand() *cobra.Command {
	var o sourceKeyOptions
	cmd := &cobra.Command{
		Use:   "key NAME",
		Short: "Accept, print or remove the key that a sender hands over",
		Long: `Print the key that the source's sender handed over in its handshake (Notion, Asana): some
senders ask for it in a dialog. The handshake is not signed, so the source accepts a key
only while it is open: run --open 10m, then register the URL at the sender. --forget removes
the key; until it accepts another, the source rejects every request.`,
		Args: arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error { return p.sourceKey(ctx, args[0], o) }),
	}
	cmd.Flags().BoolVar(&o.forget, "forget", false, "remove the key")
	cmd.Flags().DurationVar(&o.open, "open", 0, "accept the key of the next handshake, for this long, at most 1h")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print JSON: {key}, with --open {until}")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) sourceKey(ctx context.Context, source string, o sourceKeyOptions) error {
	c, err := p.dial()
	if err != nil {
		return err
	}
	path := "/api/v1/sources/" + url.PathEscape(source) + "/key"
	if o.forget {
		res, err := c.send(ctx, http.MethodDelete, path, nil, nil, nil)
		if err != nil {
			return err
		}
		if err := res.Body.Close(); err != nil || o.open == 0 {
			return err
		}
	}
	if o.open != 0 {
		request := wire.SourceKeyRequest{Seconds: int64(o.open / time.Second)}
		doc, raw, err := decodeCall[wire.SourceKeyOpened](ctx, c, apiCall{method: http.MethodPost, path: path, body: request})
		if err != nil || o.asJSON {
			return orRaw(p, raw, err)
		}
		_, err = fmt.Fprintf(p.Stdout, "The source accepts the first key that is handed over until %s. Register its URL at the sender now.\n", clean(doc.Until))
		return err
	}
	doc, raw, err := decodeCall[wire.SourceKey](ctx, c, apiCall{method: http.MethodGet, path: path})
	if err != nil || o.asJSON {
		return orRaw(p, raw, err)
	}
	_, err = fmt.Fprintln(p.Stdout, clean(doc.Key))
	return err
}
