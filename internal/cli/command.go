package cli

import (
	"cmp"
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
	// single lists come in one page and take no parameters: the command has no --limit.
	single bool
	none   string // printed if the list is empty; empty for "none found"
	whole  bool   // the list is short: without --limit, all of it is shown
}

func listCommand[D any](p *program, l listing[D]) *cobra.Command {
	var asJSON, whole bool
	var columns []string
	var limit int
	cmd := &cobra.Command{Use: l.use, Short: l.short, Args: arguments(0, 0, ""), Annotations: map[string]string{apiPath: l.path}}
	if l.values == nil {
		l.values = queryFlags(cmd.Flags(), l.query)
	}
	cmd.RunE = work(func(ctx context.Context, _ []string) error {
		query, err := l.values()
		if err == nil {
			err = localTimes(query, p.now())
		}
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
		each := func(f func(json.RawMessage) error) (bool, error) { return c.list(ctx, l.path, query, limit, f) }
		if l.single {
			each = func(f func(json.RawMessage) error) (bool, error) { return false, c.listOnce(ctx, l.path, f) }
		}
		if asJSON {
			_, err := each(func(doc json.RawMessage) error { return writeRawJSON(p.Stdout, doc) })
			return err
		}
		s := sheet{heads: l.heads}
		if err := s.check(columns); err != nil {
			return err
		}
		if err := readList(p, l, &s, each); err != nil {
			return err
		}
		if len(s.rows) == 0 {
			return nil
		}
		return p.showList(&s, columns, whole)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	cmd.Flags().StringSliceVar(&columns, "columns", nil, "show these columns, such as id,status")
	cmd.Flags().BoolVar(&whole, "no-trunc", false, "on a terminal: do not shorten lines, and show all columns and exact times")
	most := 50
	if l.whole {
		most = 0
	}
	if !l.single {
		cmd.Flags().IntVar(&limit, "limit", most, "how many to show; 0 for all")
	}
	p.clientFlags(cmd)
	return cmd
}

// readList adds the documents that each passes to its function to a sheet. It says on the error stream
// if the list is empty, or has more.
func readList[D any](p *program, l listing[D], s *sheet, each func(func(json.RawMessage) error) (more bool, err error)) error {
	more, err := each(func(doc json.RawMessage) error {
		var d D
		if err := json.Unmarshal(doc, &d); err != nil {
			return fmt.Errorf("read %s: %w", l.path, err)
		}
		s.row(l.cells(d)...)
		return nil
	})
	if len(s.rows) == 0 && err == nil {
		fmt.Fprintln(p.Stderr, cmp.Or(l.none, "none found"))
	}
	if more {
		fmt.Fprintf(p.Stderr, "showing the newest %d; --limit 0 shows all\n", len(s.rows))
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
		tag := v.Type().Field(i).Tag
		name := tag.Get("flag")
		if name == "" {
			continue
		}
		switch field := v.Field(i).Addr().Interface().(type) {
		case *bool:
			flags.BoolVar(field, name, false, flagHelp(tag.Get("doc")))
		case *string:
			flags.StringVar(field, name, "", flagHelp(tag.Get("doc")))
		}
		if allowed := tag.Get("enum"); allowed != "" {
			annotateEnum(flags, name, strings.Split(allowed, ",")...)
		}
		_ = flags.SetAnnotation(name, apiParameter, []string{tag.Get("query")}) // the flag exists
	}
	return func() (url.Values, error) {
		values := url.Values{}
		for i := range v.NumField() {
			tag, text := v.Type().Field(i).Tag, fmt.Sprint(v.Field(i).Interface())
			if tag.Get("flag") == "" || text == "" || text == "false" && v.Field(i).Kind() == reflect.Bool {
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

// apiParameter annotates a flag with the API's parameter that it sets; apiPath a list command with the
// API's path.
const (
	apiParameter = "gaff_api_parameter"
	apiPath      = "gaff_api_path"
)

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

// apiCall is one request to the API.
type apiCall struct {
	method, path string
	query        url.Values
	body         any // nil for none
	// others is the command that lists the valid ids and names; an error of 404 points to it.
	others string
}

// decodeCall makes a call and decodes the document D of the response.
func decodeCall[D any](ctx context.Context, c *client, r apiCall) (doc *D, raw json.RawMessage, err error) {
	raw, err = c.call(ctx, r.method, r.path, r.query, r.body)
	if err != nil {
		return nil, nil, pointingTo(r.others, err)
	}
	doc = new(D)
	if err := json.Unmarshal(raw, doc); err != nil {
		return nil, nil, fmt.Errorf("read the response of %s %s: %w", r.method, r.path, err)
	}
	return doc, raw, nil
}

// orRaw returns err, or prints the JSON of a response if err is nil.
func orRaw(p *program, raw json.RawMessage, err error) error {
	if err != nil {
		return err
	}
	return writeRawJSON(p.Stdout, raw)
}

// calling is a command that makes one call and prints the document D of the response.
type calling[D any] struct {
	use, short, long, example string
	args                      cobra.PositionalArgs
	// jsonHelp is the help of --json; empty for "print JSON".
	jsonHelp string
	call     func(args []string) (apiCall, error)
	print    func(ctx context.Context, c *client, doc *D) error
	// failed reports whether the document is one of a failure, for the exit code. nil means never.
	failed func(*D) bool
}

func callCommand[D any](p *program, s calling[D]) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: s.use, Short: s.short, Long: s.long, Example: s.example, Args: s.args}
	cmd.RunE = work(func(ctx context.Context, args []string) error {
		r, err := s.call(args)
		if err != nil {
			return err
		}
		c, err := p.dial()
		if err != nil {
			return err
		}
		doc, raw, err := decodeCall[D](ctx, c, r)
		if err != nil {
			return err
		}
		if asJSON {
			err = writeRawJSON(p.Stdout, raw)
		} else {
			err = s.print(ctx, c, doc)
		}
		if err == nil && s.failed != nil && s.failed(doc) {
			return errReported
		}
		return err
	})
	if s.jsonHelp == "" {
		s.jsonHelp = "print JSON"
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, s.jsonHelp)
	p.clientFlags(cmd)
	return cmd
}

// showing is a command that prints one resource of the API, a document D, found by its id or name.
type showing[D any] struct {
	use, short, path string
	// others is the command that lists such resources.
	others string
	print  func(context.Context, *client, *D) error
}

func showCommand[D any](p *program, s showing[D]) *cobra.Command {
	_, argument, _ := strings.Cut(s.use, " ")
	return callCommand(p, calling[D]{
		use: s.use, short: s.short, args: arguments(1, 1, "one "+argument), print: s.print,
		call: func(args []string) (apiCall, error) {
			return apiCall{method: http.MethodGet, path: s.path + "/" + url.PathEscape(args[0]), others: s.others}, nil
		},
	})
}

// acting is a command that changes one resource and prints a line when it is done.
type acting struct {
	use, short   string
	method, path string // "{id}" in the path is the argument
	// done is the printed word; empty prints nothing. others is the command that lists the ids.
	done, others string
}

func (p *program) actCommand(a acting) *cobra.Command {
	_, argument, _ := strings.Cut(a.use, " ")
	cmd := &cobra.Command{
		Use: a.use, Short: a.short, Args: arguments(1, 1, "one "+argument),
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

// lists are the commands that list the resources that an error of 404 begins with.
var lists = map[string]string{
	"budget": "gaff budgets list", "delivery": "gaff deliveries list", "destination": "gaff destinations list", "event": "gaff events list",
	"job": "gaff jobs list", "replay": "gaff replay list", "run": "gaff runs list", "source": "gaff sources list", "workflow": "gaff workflows list",
}

// pointingTo adds to an error of 404 the command that lists what exists; others may be empty.
func pointingTo(others string, err error) error {
	if e, ok := errors.AsType[*apiError](err); ok && e.status == http.StatusNotFound && others != "" {
		if noun, _, ok := strings.Cut(e.detail, " "); ok && lists[noun] != "" {
			others = lists[noun] // another resource than that of the command
		}
		e.next = `"` + others + `" lists the known ones`
	}
	return err
}

// flagError returns the error of a flag's value in words of the command line, not of Go's strconv.
func flagError(err error) error {
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return usageError{err}
	}
	want := map[string]string{
		"bool": "true or false", "int": "a whole number", "int64": "a whole number", "uint": "a whole number", "uint16": "a whole number",
		"float64": "a number", "duration": "a duration such as 30s or 5m",
	}[wrong.GetFlag().Value.Type()]
	if want == "" {
		return usageError{err}
	}
	return usagef("--%s %q: want %s", wrong.GetFlag().Name, wrong.GetValue(), want)
}
