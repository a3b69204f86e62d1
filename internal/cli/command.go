package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// listing is a command that prints a list of the API, of documents D.
type listing[D any] struct {
	use, short, path string
	heads            []string
	cells            func(D) []string
	// query is a pointer to a query of package wire; its fields with a flag tag become flags.
	query any
	// values returns the query of commands with flags of their own; it replaces query.
	values func() (url.Values, error)
	whole  bool // a short list: all of it is shown without --limit
}

func listCommand[D any](p *program, l listing[D]) *cobra.Command {
	var asJSON bool
	var limit int
	cmd := &cobra.Command{Use: l.use, Short: l.short, Args: arguments(0, 0, "")}
	if l.values == nil {
		l.values = queryFlags(cmd.Flags(), l.query)
	}
	cmd.RunE = work(func(ctx context.Context, _ []string) error {
		query, err := l.values()
		if err != nil {
			return err
		}
		if limit < 0 {
			return usagef("--limit %d is negative; 0 is for all", limit)
		}
		c, err := p.dial()
		if err != nil {
			return err
		}
		if asJSON {
			_, err := c.list(ctx, l.path, query, limit, func(doc json.RawMessage) error { return writeRawJSON(p.Stdout, doc) })
			return err
		}
		return printList(ctx, p, c, l, query, limit)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	most := 50
	if l.whole {
		most = 0
	}
	cmd.Flags().IntVar(&limit, "limit", most, "how many to show; 0 for all")
	p.clientFlags(cmd)
	return cmd
}

func printList[D any](ctx context.Context, p *program, c *client, l listing[D], query url.Values, limit int) error {
	t := newTable(p.Stdout, l.heads...)
	rows := 0
	more, err := c.list(ctx, l.path, query, limit, func(doc json.RawMessage) error {
		var d D
		if err := json.Unmarshal(doc, &d); err != nil {
			return fmt.Errorf("read %s: %w", l.path, err)
		}
		rows++
		t.row(l.cells(d)...)
		return nil
	})
	if rows > 0 {
		if err := t.flush(); err != nil {
			return err
		}
	} else if err == nil {
		fmt.Fprintln(p.Stderr, "none found")
	}
	if more {
		fmt.Fprintf(p.Stderr, "the newest %d are shown; --limit 0 shows all\n", rows)
	}
	return err
}

// queryFlags adds a flag for each field of a query that has a flag tag, and returns the function
// that makes the API's query of them. query is a pointer to a struct, or nil.
func queryFlags(flags *pflag.FlagSet, query any) func() (url.Values, error) {
	if query == nil {
		return func() (url.Values, error) { return nil, nil }
	}
	v := reflect.ValueOf(query).Elem()
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag; tag.Get("flag") != "" {
			flags.StringVar(v.Field(i).Addr().Interface().(*string), tag.Get("flag"), "", flagHelp(tag.Get("doc")))
		}
	}
	return func() (url.Values, error) {
		values := url.Values{}
		for i := range v.NumField() {
			tag, text := v.Type().Field(i).Tag, v.Field(i).String()
			if tag.Get("flag") == "" || text == "" {
				continue
			}
			if allowed := tag.Get("enum"); allowed != "" && !slices.Contains(strings.Split(allowed, ","), text) {
				return nil, usagef("unknown --%s %q: want %s", tag.Get("flag"), text, alternatives(strings.Split(allowed, ",")))
			}
			values.Set(tag.Get("query"), text)
		}
		return values, nil
	}
}

// flagHelp writes a description of the API as the help of a flag.
func flagHelp(doc string) string {
	runes := []rune(strings.TrimSuffix(doc, "."))
	if len(runes) > 0 {
		runes[0] = unicode.ToLower(runes[0])
	}
	return string(runes)
}

// alternatives joins names: "a, b or c".
func alternatives(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// showing is a command that prints one resource of the API, a document D, found by its id.
type showing[D any] struct {
	use, short, path string
	// others is the command that lists such resources.
	others string
	print  func(context.Context, *client, *D) error
}

func showCommand[D any](p *program, s showing[D]) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: s.use, Short: s.short, Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			doc := new(D)
			raw, err := c.one(ctx, s.path, args[0], doc)
			if err != nil {
				return pointingTo(s.others, err)
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			return s.print(ctx, c, doc)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

// acting is a command that has the API do something to one thing.
type acting struct {
	use, short   string
	method, path string // "{id}" in the path is the argument
	// done is printed when it was done, others is the command that names those there are.
	done, others string
}

func (p *program) actCommand(a acting) *cobra.Command {
	cmd := &cobra.Command{
		Use: a.use, Short: a.short, Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			res, err := c.send(ctx, a.method, strings.ReplaceAll(a.path, "{id}", url.PathEscape(args[0])), nil, nil, nil)
			if err != nil {
				return pointingTo(a.others, err)
			}
			if a.done != "" {
				fmt.Fprintf(p.Stdout, "%s: %s\n", clean(args[0]), a.done)
			}
			return res.Body.Close()
		}),
	}
	p.clientFlags(cmd)
	return cmd
}

// pointingTo names the command that lists what there is, where something is not there.
func pointingTo(others string, err error) error {
	if e, ok := errors.AsType[*apiError](err); ok && e.status == http.StatusNotFound {
		e.next = `"` + others + `" names those there are`
	}
	return err
}
