package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
)

// Rescuer verifies a refused request again and keeps it if it is authentic; a
// *gaff.Gateway is one.
type Rescuer interface {
	Rescue(ctx context.Context, rejectionID string) (gaff.Rescued, error)
}

type rescuedDoc struct {
	EventID   string `json:"eventId" doc:"The event that it is now; the first one where it brought several; empty where it brought none."`
	Events    int    `json:"events" doc:"How many events it brought."`
	Duplicate bool   `json:"duplicate" doc:"All of them were known: it was rescued before, or its sender had sent it again."`
}

type handedDoc struct {
	Key string `json:"key" doc:"Some senders want it back, in a dialog of theirs."`
}

type reloadedDoc struct {
	Changed      []string `json:"changed" nullable:"false" doc:"Sources that have something new."`
	NeedsRestart []string `json:"needsRestart" nullable:"false" doc:"What only a restart brings into force."`
}

// keyUseDoc is a key by which a source's requests were proven.
type keyUseDoc struct {
	KeyID       string  `json:"keyId" doc:"A fingerprint; never the key."`
	FirstUsedAt *string `json:"firstUsedAt" format:"date-time"`
	LastUsedAt  *string `json:"lastUsedAt" format:"date-time" doc:"Exact to the minute."`
}

type openKeyInput struct {
	Name string `path:"name"`
	Body struct {
		Seconds int64 `json:"seconds,omitempty" minimum:"1" maximum:"3600" default:"600" doc:"For how long the source takes a key."`
	}
}

type openedDoc struct {
	Until string `json:"until" format:"date-time" doc:"Until when the source takes the first key that a handshake brings."`
}

// describeOpenKey is the operation that lets a sender hand over its key. Without it anyone who
// knows the address could be the first to do so.
func (s *server) describeOpenKey(api huma.API) {
	if s.o.OpenKey == nil {
		return
	}
	huma.Register(api, operation(http.MethodPost, "/api/v1/sources/{name}/key", "open-source-key",
		"Take the key that the source's next handshake brings, for a while", Admin),
		func(ctx context.Context, in *openKeyInput) (*output[openedDoc], error) {
			until, err := s.o.OpenKey(ctx, in.Name, time.Duration(in.Body.Seconds)*time.Second)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[openedDoc]{openedDoc{until.Format(time.RFC3339)}}, nil
		})
}

func (s *server) describeQuarantine(api huma.API) {
	rescuer, ok := s.o.Gateway.(Rescuer)
	if ok {
		huma.Register(api, operation(http.MethodPost, "/api/v1/rejections/{id}/rescue", "rescue-rejection",
			"Verify a refused request again, by the source as it is now and at its own time, and keep it if it is authentic", Operator),
			func(ctx context.Context, in *idInput) (*output[rescuedDoc], error) {
				out, err := rescuer.Rescue(ctx, in.ID)
				if errors.Is(err, gaff.ErrUnverifiable) {
					return nil, huma.Error503ServiceUnavailable(err.Error())
				}
				if err != nil {
					return nil, s.failure(err)
				}
				return &output[rescuedDoc]{rescuedDoc(out)}, nil
			})
	}
	huma.Register(api, operation(http.MethodPost, "/api/v1/sources/reload", "reload-sources",
		"Read the configuration again: secrets, verifiers and limits of the sources", Admin),
		func(ctx context.Context, _ *struct{}) (*output[reloadedDoc], error) {
			if s.o.Reload == nil {
				return nil, huma.Error501NotImplemented("this gateway has no configuration to read again")
			}
			changed, restart, err := s.o.Reload(ctx)
			if err != nil {
				return nil, huma.Error409Conflict(fmt.Sprintf("the old configuration stays in force: %v", err))
			}
			return &output[reloadedDoc]{reloadedDoc{append([]string{}, changed...), append([]string{}, restart...)}}, nil
		})
	s.describeOpenKey(api)
	if s.o.HandedKey == nil || s.o.RemoveKey == nil {
		return
	}
	huma.Register(api, operation(http.MethodGet, "/api/v1/sources/{name}/key", "get-source-key",
		"The key that the source's sender handed over in a handshake", Admin),
		func(ctx context.Context, in *nameInput) (*output[handedDoc], error) {
			key, err := s.o.HandedKey(ctx, in.Name)
			if err != nil {
				return nil, s.failure(err)
			}
			if key == "" {
				return nil, huma.Error404NotFound("source " + in.Name + ": no key was handed over")
			}
			return &output[handedDoc]{handedDoc{key}}, nil
		})
	huma.Register(api, operation(http.MethodDelete, "/api/v1/sources/{name}/key", "forget-source-key",
		"Forget the key that the source's sender handed over", Admin),
		func(ctx context.Context, in *nameInput) (*struct{}, error) {
			if err := s.o.RemoveKey(ctx, in.Name); err != nil {
				return nil, s.failure(err)
			}
			return nil, nil
		})
}
