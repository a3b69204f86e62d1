// Package issue groups failures: the dead deliveries and the rejected requests of one source,
// destination, status and error are one issue, which a person acknowledges, resolves or ignores.
package issue

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"regexp"
	"strings"
	"time"

	"gaff"
)

// Kind is what failed.
type Kind int

const (
	// Delivery issues group dead deliveries.
	Delivery Kind = iota
	// Rejection issues group rejected requests.
	Rejection
)

var kindNames = [...]string{"delivery", "rejection"}

// Kinds are the names of all kinds.
func Kinds() []string { return kindNames[:] }

// String returns "delivery" or "rejection".
func (k Kind) String() string { return name(kindNames[:], int(k)) }

// ParseKind is the reverse of [Kind.String].
func ParseKind(text string) (Kind, bool) {
	i, ok := index(kindNames[:], text)
	return Kind(i), ok
}

// State is what people think of an issue.
type State int

const (
	// Open issues raise alerts.
	Open State = iota
	// Acknowledged issues are being looked at: no alert is repeated.
	Acknowledged
	// Resolved issues open again at the next failure.
	Resolved
	// Ignored issues stay ignored if they fail again.
	Ignored
)

var stateNames = [...]string{"open", "acknowledged", "resolved", "ignored"}

// States are the names of all states.
func States() []string { return stateNames[:] }

// String returns the state's name in lower case.
func (s State) String() string { return name(stateNames[:], int(s)) }

// ParseState is the reverse of [State.String].
func ParseState(text string) (State, bool) {
	i, ok := index(stateNames[:], text)
	return State(i), ok
}

func name(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return "unknown"
	}
	return names[i]
}

func index(names []string, text string) (int, bool) {
	for i, n := range names {
		if n == text {
			return i, true
		}
	}
	return 0, false
}

// Issue is a group of failures.
type Issue struct {
	ID   string // iss_...
	Kind Kind
	// Source is the event's, or the one that rejected. Empty for unknown sources.
	Source string
	// Handler is the handler or destination of dead deliveries.
	Handler string
	// Status is the HTTP status that the receiver answered, or that a sender was answered; 0
	// for none.
	Status int
	// Error is the newest error, without parts that may quote a payload.
	Error string
	State State
	// Muted is set if the issue raises no alert: operational events were not delivered.
	Muted bool
	// Count is the number of failures since FirstAt.
	Count           int64
	FirstAt, LastAt time.Time
	// OpenedAt is when the issue was last opened: FirstAt, or the first failure after it was
	// resolved.
	OpenedAt time.Time
	// ChangedAt and ChangedBy say when its state was last changed, and by whom; zero if never.
	ChangedAt time.Time
	ChangedBy string
	// LastRef is the id of the newest delivery or rejection.
	LastRef string
}

// Filter chooses issues. Zero fields choose all.
type Filter struct {
	Kind            *Kind
	State           *State
	Source, Handler string
	gaff.Cursor
}

// Store stores issues. Stores add failures to them in the transaction that records the failure.
type Store interface {
	// Issues returns a page of issues, the one that failed last first.
	Issues(ctx context.Context, f Filter) (gaff.Page[Issue], error)
	// Issue returns one issue; gaff.ErrNotFound if it is unknown.
	Issue(ctx context.Context, id string) (*Issue, error)
	// SetIssueState changes the state of an issue on behalf of by, and returns the issue.
	SetIssueState(ctx context.Context, id string, to State, by string) (*Issue, error)
	// IssueDeliveries returns the ids of the dead deliveries of an issue, at most limit, oldest
	// event first.
	IssueDeliveries(ctx context.Context, id string, limit int) ([]string, error)
	// ResolveIssues resolves the delivery issues that have no dead or open delivery any more, and
	// the rejection issues without a rejection since quiet. It returns how many it resolved.
	ResolveIssues(ctx context.Context, quiet time.Time) (int, error)
	// IssueCounts counts the issues by state.
	IssueCounts(ctx context.Context) (map[State]int, error)
}

// Group is what failures have in common that are one issue.
type Group struct {
	Kind            Kind
	Source, Handler string
	Status          int
	Error           string
	Muted           bool
}

// OfDelivery returns the group of a dead delivery of an event of a source.
func OfDelivery(source string, f *gaff.Failure) Group {
	return Group{Kind: Delivery, Source: source, Handler: f.Handler, Status: f.Status, Error: f.Cause, Muted: f.Operational}
}

// OfRejection returns the group of a rejected request. The fault of an unreadable payload
// may quote it, and unknown sources are named by untrusted clients: neither is part of the group.
func OfRejection(source string, status int, reason string) Group {
	switch status {
	case 400:
		reason = "unreadable payload"
	case 404:
		source, reason = "", "unknown source"
	}
	return Group{Kind: Rejection, Source: source, Status: status, Error: reason}
}

// prefix begins the ids of issues.
const prefix = "iss_"

var encoding = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// ID is the same for all failures of the group, so that it needs no look-up.
func (g Group) ID() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%q\n%q\n%d\n%q\n%v", g.Kind, g.Source, g.Handler, g.Status, Shape(g.Error), g.Muted))
	return prefix + encoding.EncodeToString(sum[:])[:26]
}

// maxShape bounds a shape, in bytes.
const maxShape = 200

var (
	quoted  = regexp.MustCompile("\"[^\"]*\"|'[^']*'|`[^`]*`|“[^”]*”")
	links   = regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^\s"']+`)
	ids     = regexp.MustCompile(`\b[a-z]{2,6}_[0-9A-Za-z]{8,}\b|\b[0-9a-fA-F][0-9a-fA-F:-]{7,}\b`)
	numbers = regexp.MustCompile(`[0-9]+`)
	spaces  = regexp.MustCompile(`\s+`)
)

// Shape reduces an error to what it has in common with others of its kind: without quoted
// text, URLs, ids and numbers.
func Shape(text string) string {
	text = text[:min(len(text), 8*maxShape)]
	text = quoted.ReplaceAllString(text, `"…"`)
	text = links.ReplaceAllString(text, "URL")
	text = ids.ReplaceAllStringFunc(text, func(found string) string {
		if strings.ContainsAny(found, "abcdefABCDEF_") {
			return "ID"
		}
		return found
	})
	text = numbers.ReplaceAllString(text, "N")
	text = strings.TrimSpace(spaces.ReplaceAllString(strings.ToValidUTF8(text, ""), " "))
	if len(text) > maxShape {
		text = strings.ToValidUTF8(text[:maxShape], "")
	}
	return text
}

// Title describes the issue in one line.
func (i *Issue) Title() string {
	if i.Kind == Rejection {
		source := i.Source
		if source == "" {
			source = "an unknown source"
		}
		return fmt.Sprintf("Requests for %s are rejected with %d: %s", source, i.Status, i.Error)
	}
	return fmt.Sprintf("Deliveries of %s to %s are dead: %s", i.Source, i.Handler, i.Error)
}
