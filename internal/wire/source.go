package wire

import "gaff"

// Source is a configured source.
type Source struct {
	Name         string            `json:"name"`
	Address      string            `json:"address" doc:"The URL for the sender."`
	Path         string            `json:"path"`
	Quiet        Text              `json:"quiet" doc:"Why it rejects every request; null if it does not."`
	About        map[string]string `json:"about"`
	MaxBodyBytes int64             `json:"maxBodyBytes"`
	Handlers     []Handler         `json:"handlers" nullable:"false"`
	Counts       *SourceStats      `json:"counts" doc:"Null until the source received a request."`
	Keys         []KeyUse          `json:"keys" nullable:"false" doc:"The keys that verified its requests, the last used first."`

	Managed       bool           `json:"managed" doc:"The configuration, or gaff itself, defines it: it is changed there."`
	Paused        Text           `json:"paused" doc:"Why it is paused; null if it is not. Senders are answered 503."`
	Spec          *SourceSpec    `json:"spec" doc:"The description of a source that was created by the API; of its secrets only the last characters."`
	FormerSecrets []FormerSecret `json:"formerSecrets" nullable:"false" doc:"Secrets that were replaced, and are still accepted."`
	UpdatedAt     Time           `json:"updatedAt"`
}

// Handler is a handler of a source's events.
type Handler struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Type   string `json:"type"`
}

// KeyUse is a key that verified a source's requests.
type KeyUse struct {
	KeyID       string `json:"keyId" doc:"A fingerprint; never the key."`
	FirstUsedAt Time   `json:"firstUsedAt"`
	LastUsedAt  Time   `json:"lastUsedAt" doc:"To the minute."`
}

// SourceStats is how many requests a source received, by outcome.
type SourceStats struct {
	Source         string `json:"source" doc:"Empty for requests to unknown sources."`
	Pending        int64  `json:"pending"`
	Success        int64  `json:"success"`
	Error          int64  `json:"error"`
	Rejected       int64  `json:"rejected"`
	LastReceivedAt Time   `json:"lastReceivedAt"`
}

// NewSourceStats makes the document of a source's counts.
func NewSourceStats(c gaff.SourceCount) SourceStats {
	return SourceStats{c.Source, c.Pending, c.Success, c.Error, c.Rejected, Time{c.LastReceivedAt}}
}

// NewSource makes the document of a source; counts are those of all sources.
func NewSource(info gaff.SourceInfo, address string, uses []gaff.KeyUse, counts []gaff.SourceCount) Source {
	doc := Source{
		Name: info.Name, Address: address, Path: info.Path, Quiet: Text(info.DisabledReason), About: info.About,
		MaxBodyBytes: info.MaxBodyBytes, Handlers: []Handler{}, Keys: []KeyUse{}, Managed: true, Paused: Text(info.Paused), FormerSecrets: []FormerSecret{},
	}
	for _, u := range uses {
		doc.Keys = append(doc.Keys, KeyUse{u.KeyID, Time{u.FirstUsedAt}, Time{u.LastUsedAt}})
	}
	for _, h := range info.Handlers {
		doc.Handlers = append(doc.Handlers, Handler(h))
	}
	for _, c := range counts {
		if c.Source == info.Name {
			doc.Counts = new(NewSourceStats(c))
		}
	}
	return doc
}

// SourceKey is the key that a sender handed over in a handshake.
type SourceKey struct {
	Key string `json:"key" doc:"Some senders ask for it again in a form of their own."`
}

// SourceKeyRequest opens a source for the key of a handshake.
type SourceKeyRequest struct {
	Seconds int64 `json:"seconds,omitempty" minimum:"1" maximum:"3600" default:"600" doc:"How long the source accepts a key."`
}

// SourceKeyOpened says how long a source accepts a key.
type SourceKeyOpened struct {
	Until string `json:"until" format:"date-time" doc:"Until when the source accepts the first key that a handshake brings."`
}

// Reloaded is the result of reading the configuration again.
type Reloaded struct {
	Changed      []string `json:"changed" nullable:"false" doc:"The sources that changed."`
	NeedsRestart []string `json:"needsRestart" nullable:"false" doc:"The changes that need a restart."`
}

// NewReloaded makes the document of a reload.
func NewReloaded(changed, restart []string) Reloaded { return Reloaded{texts(changed), texts(restart)} }

// SampleRequest chooses a sample to send.
type SampleRequest struct {
	Type string `json:"type,omitempty" doc:"A type that the source has samples of; empty for the first."`
}

// SampleSent is the answer to a sample.
type SampleSent struct {
	Status   int    `json:"status"`
	Response string `json:"response"`
	EventID  string `json:"eventId,omitempty" doc:"The event that the sample became."`
}

// Setting is a setting in force. Secrets are masked by the caller.
type Setting struct {
	Name   string `json:"name" example:"GAFF_DATA_DIR"`
	Value  string `json:"value"`
	Origin string `json:"origin" doc:"Where the value comes from."`
	Help   string `json:"help"`
}
