package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

// One call imports so many documents, or bytes of them.
const (
	importBatch = 200
	importBytes = 4 << 20
	// maxShownFaults bounds the faults of --json.
	maxShownFaults = 1000
)

func (p *program) importCommand() *cobra.Command {
	var asJSON bool
	logs := &cobra.Command{
		Use: "webhook-logs FILE", Short: "Import a webhook-logs collection, as JSON, as history",
		Long: `Import the documents of a webhook-logs collection (webhookId, source, type, status, data, error,
retryCount, processedAt). FILE is a JSON list, an answer of Payload's API ({"docs": [...]}), or
one document a line, such as of mongoexport; - is the standard input. The events can be listed,
searched and read as others. Nothing processes them: no handler, no destination, no job. The
command can be repeated: each document is stored once.`,
		Example: "  gaff import webhook-logs webhook-logs.json",
		Args:    arguments(1, 1, "one FILE"),
		RunE: work(func(ctx context.Context, args []string) error {
			in := p.Stdin
			if args[0] != "-" {
				f, err := os.Open(p.path(args[0]))
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			i := &importing{p: p, c: c, ctx: ctx}
			if err := eachDocument(in, i.add); err != nil {
				return fmt.Errorf("%s: %w (%d documents before are imported; the command can be repeated)", args[0], err, i.total.Added+i.total.Known)
			}
			if err := i.flush(); err != nil {
				return err
			}
			return i.sumUp(asJSON)
		}),
	}
	logs.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(logs)
	return group("import", "Import data of other systems as history", logs)
}

// importing sends documents in batches.
type importing struct {
	p     *program
	c     *client
	ctx   context.Context //nolint:containedctx // of the command
	docs  []wire.JSON
	bytes int
	first int // the number of the first document of the batch
	total wire.LogImported
	// rejected is how many documents were rejected.
	rejected int
}

func (i *importing) add(doc json.RawMessage) error {
	i.docs, i.bytes = append(i.docs, wire.JSON(doc)), i.bytes+len(doc)
	if len(i.docs) < importBatch && i.bytes < importBytes {
		return nil
	}
	return i.flush()
}

func (i *importing) flush() error {
	if len(i.docs) == 0 {
		return nil
	}
	res, _, err := decodeCall[wire.LogImported](i.ctx, i.c, apiCall{method: http.MethodPost, path: "/api/v1/imports/webhook-logs", body: wire.LogImport{Docs: i.docs}})
	if err != nil {
		return err
	}
	i.total.Added += res.Added
	i.total.Known += res.Known
	for _, fault := range res.Rejected {
		fault.Index += i.first
		fmt.Fprintf(i.p.Stderr, "document %d: %s\n", fault.Index+1, clean(fault.Error))
		if len(i.total.Rejected) < maxShownFaults {
			i.total.Rejected = append(i.total.Rejected, fault)
		}
		i.rejected++
	}
	i.first += len(i.docs)
	i.docs, i.bytes = nil, 0
	return nil
}

func (i *importing) sumUp(asJSON bool) error {
	var err error
	if asJSON {
		if i.total.Rejected == nil {
			i.total.Rejected = []wire.LogFault{}
		}
		err = writeJSON(i.p.Stdout, i.total)
	} else {
		_, err = fmt.Fprintf(i.p.Stdout, "%s imported, %d known, %d rejected\n", counted(i.total.Added, "document"), i.total.Known, i.rejected)
	}
	if err == nil && i.rejected > 0 {
		return errReported
	}
	return err
}

// eachDocument calls f for each document of a list, of an object with the list docs, or of a sequence
// of documents. It holds one document at a time.
func eachDocument(r io.Reader, f func(json.RawMessage) error) error {
	buffered := bufio.NewReaderSize(r, 64<<10)
	dec := json.NewDecoder(buffered)
	first, err := dec.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	case first == json.Delim('['):
		return eachElement(dec, f)
	case first != json.Delim('{'):
		return errors.New("neither a JSON list nor JSON documents")
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		if name == "docs" {
			if start, err := dec.Token(); err != nil || start != json.Delim('[') {
				return errors.New("docs is not a list")
			}
			return eachElement(dec, f)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		members[fmt.Sprint(name)] = value
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	doc, err := json.Marshal(members)
	if err == nil {
		err = f(doc)
	}
	for err == nil {
		var next json.RawMessage
		if err = dec.Decode(&next); err == nil {
			err = f(next)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func eachElement(dec *json.Decoder, f func(json.RawMessage) error) error {
	for dec.More() {
		var doc json.RawMessage
		if err := dec.Decode(&doc); err != nil {
			return err
		}
		if err := f(doc); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return errors.New("the file ends within the list")
	}
	return err
}
