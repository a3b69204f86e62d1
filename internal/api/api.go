// Package api is the HTTP API: JSON resources below /api/v1/, the webhook-logs collection of
// Payload CMS, and streams of changes. routes.go is its table of contents. The documents are
// those of internal/wire; the OpenAPI document is generated from both.
package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/access"
	"gaff/internal/manifest"
	"gaff/internal/scoped"
	"gaff/internal/wire"
)

// Role and Identity are those of access.
type (
	Role     = access.Role
	Identity = access.Identity
)

// Roles: see access.
const (
	NoRole   = access.NoRole
	Viewer   = access.Viewer
	Operator = access.Operator
	Admin    = access.Admin
)

// Authorizer identifies the caller of a request; ok is false for an unknown one. It is called for
// every request, and again while a stream is open.
type Authorizer interface {
	Authorize(r *http.Request) (id Identity, ok bool)
}

// StaticToken is an Authorizer with one admin token.
type StaticToken string

// Authorize compares in constant time.
func (t StaticToken) Authorize(r *http.Request) (Identity, bool) {
	scheme, sent, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if t == "" || !strings.EqualFold(scheme, "Bearer") {
		return Identity{}, false
	}
	// Hashes have one length, so that not even the token's length can be measured.
	a, b := sha256.Sum256([]byte(t)), sha256.Sum256([]byte(strings.TrimSpace(sent)))
	return Identity{Name: "admin", Role: Admin, Via: access.ViaToken}, subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Store is the reading part of a store.
type Store = scoped.Store

// Gateway has the operations on events and deliveries; a *gaff.Gateway implements it.
type Gateway interface {
	RetryNow(ctx context.Context, eventID string) error
	Retry(ctx context.Context, eventOrDelivery string) ([]string, error)
	Replay(ctx context.Context, eventID string) ([]string, error)
	Cancel(ctx context.Context, deliveryID string) error
	Publish(ctx context.Context, ps []gaff.Publication) ([]gaff.Publication, error)
	ChangeScheduled(ctx context.Context, id string, change func(*gaff.Publication) error) (*gaff.Publication, error)
	Sources() []gaff.SourceInfo
}

// SourceRecords has the sources that users create, and the state of all.
type SourceRecords interface {
	State(name string) wire.SourceState
	Create(ctx context.Context, spec wire.SourceSpec) (secret string, err error)
	Update(ctx context.Context, name string, patch []byte) error
	SetPaused(ctx context.Context, name, reason string) error
	Rotate(ctx context.Context, name string, in wire.SourceRotation) (secret string, err error)
	manifest.Sources
}

// Options of the API. Store, Gateway, Authorizer and Log are required.
type Options struct {
	Store      Store
	Gateway    Gateway
	Authorizer Authorizer
	Log        *slog.Logger
	// Address returns the URL for a source's sender; nil for the path alone.
	Address func(source string) string
	// Storage measures the database and the disk of the data folder; nil if unknown.
	Storage func(ctx context.Context) (databaseBytes int64, disk *wire.Disk)
	// Handlers returns the queues and the last hour of the handlers; nil: unknown.
	Handlers func(ctx context.Context) ([]wire.HandlerHealth, error)
	// Commit is that of the binary.
	Commit string
	// Version is the version in the OpenAPI document; empty means "dev".
	Version string
	// Reload reads the sources' configuration again. changed are the sources that changed,
	// restart the changes that need a restart. Nil: not possible.
	Reload func(ctx context.Context) (changed, restart []string, err error)
	// HandedKey returns the key that a source's sender handed over in a handshake, empty
	// without one; RemoveKey removes it. Nil: no source has such a key.
	HandedKey func(ctx context.Context, source string) (string, error)
	RemoveKey func(ctx context.Context, source string) error
	// OpenKey lets a source accept a key from the sender's handshake for a while. Nil: not possible.
	OpenKey func(ctx context.Context, source string, takes time.Duration) (until time.Time, err error)
	// Workflows starts runs and changes them; nil without workflows.
	Workflows Workflows
	// Definitions has the workflows of files, and writes those of users; nil without workflows.
	Definitions Definitions
	// Media serves stored files; nil if files are not stored.
	Media MediaFiles
	// Guard has the keys, sessions and the audit log; nil without them.
	Guard *access.Guard
	// Forwarding has the destinations; nil without them.
	Forwarding *destination.Manager
	// Alerts has the alerts and their channels; nil without them.
	Alerts Alerts
	// Jobs submits and cancels jobs; nil if this gateway only records the jobs of webhooks.
	Jobs Jobs
	// Replays sends stored events again; nil: not possible.
	Replays Replays
	// SourceRecords creates and changes sources; nil: not possible.
	SourceRecords SourceRecords
	// TestSource sends a signed sample of a type to a source; nil without samples. Its
	// errors are gaff.ErrNotFound and gaff.ErrInvalid with what to do.
	TestSource func(ctx context.Context, source, eventType string) (wire.SampleSent, error)
	// Eraser deletes data; nil: not possible.
	Eraser Eraser
	// Secrets counts and encrypts the secrets in the database; without functions: not possible.
	Secrets Secrets
	// Compact gives the free space of the database back; it returns the sizes in bytes, and a note
	// for people. Nil: not possible.
	Compact func(ctx context.Context, full bool) (before, after int64, note string, err error)
	// Ready returns nil if a webhook could be stored now; nil: it always can.
	Ready func(context.Context) error
	// Damaged is the number of events that were found with a damaged body; may be nil.
	Damaged func() int64
	// Origins are the origins of pages in browsers (such as https://app.example.com) that may read
	// the API with a token. Empty: no page of another origin.
	Origins []string
	// Settings are the settings in force, with secrets masked.
	Settings []wire.Setting
	// Background runs a function beside requests, with a context that ends when the gateway
	// stops; the gateway waits for it. Nil: nothing ends it or waits for it.
	Background func(func(context.Context))
}

// maxBody bounds the bodies of requests, in bytes, unless a route says otherwise.
const maxBody = 64 << 10

type server struct {
	o       Options
	streams slots
	changes changeCache
	bulks   bulks
	began   time.Time
}

// New returns the handler of everything below /api/ except the receiving addresses.
func New(o Options) http.Handler {
	if o.Address == nil {
		o.Address = func(source string) string { return gaff.PathPrefix + source }
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Background == nil {
		o.Background = func(fn func(context.Context)) { go fn(context.Background()) }
	}
	s := &server{o: o, began: time.Now()}
	mux := http.NewServeMux()
	doc := s.mount(mux)
	// The document is written when it is first asked for: it would take longer than the rest of a start.
	serve := func(path, contentType string, write func() ([]byte, error)) {
		body := sync.OnceValue(func() []byte {
			text, err := write()
			if err != nil {
				panic("api: " + path + ": " + err.Error()) // generated from our own types alone
			}
			return text
		})
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			text := body()
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(text)
		})
	}
	serve("/api/openapi.json", "application/openapi+json", func() ([]byte, error) { return json.Marshal(doc) })
	serve("/api/openapi.yaml", "application/openapi+yaml", doc.YAML)
	mux.HandleFunc("GET /api/docs", docs(doc))
	mountReference(mux)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) { notFound(mux, w, r) })
	return s.shared(s.guard(mux))
}
