package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/wire"
)

const (
	// maxImport bounds the documents of one call, maxImportBody their bytes.
	maxImport     = 500
	maxImportBody = 16 << 20
)

// importRoutes are for credentials without a limit: documents may be of any source.
func (s *server) importRoutes() []route {
	return []route{
		post("/api/v1/imports/webhook-logs", "import-webhook-logs", Admin, "Store documents of another application's webhook-logs collection as history, each once; nothing processes them", s.importLogs, accepts(maxImportBody), fails(http.StatusBadRequest)),
	}
}

type importInput struct{ Body wire.LogImport }

func (s *server) importLogs(ctx context.Context, in *importInput) (none wire.LogImported, err error) {
	store, ok := s.o.Store.(gaff.Importer)
	if !ok {
		return none, huma.Error404NotFound("this gateway imports nothing")
	}
	if len(in.Body.Docs) > maxImport {
		return none, huma.Error400BadRequest(fmt.Sprintf("docs: %d documents; one call takes up to %d", len(in.Body.Docs), maxImport))
	}
	out := wire.LogImported{Rejected: []wire.LogFault{}}
	var logs []gaff.Log
	now := time.Now()
	for i, doc := range in.Body.Docs {
		l, err := wire.NewImportedLog(doc, now)
		if err != nil {
			out.Rejected = append(out.Rejected, wire.LogFault{Index: i, Error: err.Error()})
			continue
		}
		logs = append(logs, l)
	}
	if out.Added, err = store.ImportLogs(ctx, logs); err != nil {
		return none, err
	}
	out.Known = len(logs) - out.Added
	remark(ctx, "webhook-logs", map[string]any{"added": out.Added, "known": out.Known, "rejected": len(out.Rejected)})
	return out, nil
}
